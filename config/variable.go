package config

import (
	"fmt"
	"math"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/strict"
)

// variableType is a variable's.
type variableType string

// The types of variables.
const (
	stringVariable variableType = "string"
	intVariable    variableType = "int"
	floatVariable  variableType = "float"
	boolVariable   variableType = "bool"
	listVariable   variableType = "list" // of strings
)

var variableTypes = []string{"string", "int", "float", "bool", "list"}

// declared is how a variable is declared.
type declared struct {
	// Type of the value: string, int, float, bool or list. Without one it is the
	// default's, or string.
	Type variableType `yaml:"type"`
	// Required says that there is no default: a value has to be given.
	Required bool `yaml:"required"`
	// Default is the value when none is given.
	Default anyValue `yaml:"default"`
	// Pattern is a regular expression (RE2) that the whole value has to match.
	Pattern string `yaml:"pattern"`
	// Values are those that are allowed; any when empty.
	Values []string `yaml:"values"`
	// Description is told when a value is missing.
	Description string `yaml:"description"`
}

// anyValue takes every scalar and list; its node is read later.
type anyValue struct{}

func (*anyValue) UnmarshalText([]byte) error { return nil }

// builtIns are filled in from the job's name; uri is that of the artifact whose
// sha256_from it is in.
var builtIns = []string{"team", "stage", "name", "uri"}

func (c *shape) variables(n *strict.Node, path string) {
	if removes(n) {
		return
	}
	if n.Kind != strict.Map {
		c.want(n, path, "a map of variables")
		return
	}
	if len(n.Fields) > 200 {
		c.fail(n.At, path, "has %d entries: at most 200 are allowed", len(n.Fields))
		return
	}
	for _, f := range n.Fields {
		at := strict.Join(path, f.Name)
		switch {
		case slices.Contains(builtIns, f.Name):
			c.fail(f.At, at, "%s is Perigee's to set, as are %s: choose another name", f.Name, strings.Join(builtIns, ", "))
		case !variableName.MatchString(f.Name):
			c.fail(f.At, at, "%q is not a variable's name: it must be a lower-case letter, then up to 62 lower-case letters, digits and _", strict.Shorten(f.Name))
		}
		switch {
		case f.Value.Kind == strict.Map:
			c.declaration(f, at)
		case f.Value.Kind == strict.Null && !removes(f.Value):
			c.want(f.Value, at, "a value, or a map with type, default and the like")
		}
	}
}

func (c *shape) declaration(f strict.Field, path string) {
	var d declared
	_, problems := strict.Decode(f.Value, &d, "yaml")
	for _, p := range problems {
		c.fail(p.At, path+"."+p.Path, "%s", p.Message)
	}
	at := func(name string) strict.Position { return f.Value.Field(name).At }
	if d.Type != "" && !slices.Contains(variableTypes, string(d.Type)) {
		c.fail(at("type"), path+".type", "%q is not a type%s", strict.Shorten(string(d.Type)), choices(string(d.Type), variableTypes))
	}
	if _, err := regexp.Compile(d.Pattern); err != nil {
		c.fail(at("pattern"), path+".pattern", "is not a regular expression: %s", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	def := f.Value.Field("default")
	if def != nil && def.Kind == strict.Map {
		c.want(def, path+".default", "a value or a list")
	}
	if def != nil && d.Required {
		c.fail(def.At, path+".default", "contradicts required: true, which asks for a value to be given; leave out one of them")
	}
}

// variable of a job.
type variable struct {
	declared
	name  string
	at    strict.Position
	def   *strict.Node // nil when there is none
	state int          // new, busy, done
	// result is nil when there is none, which was told.
	result *strict.Node
	origin string // of the result, for people; "" is obvious
	dir    string // what relative paths in it start from
}

const (
	busy = 1 + iota
	done
)

func builtIn(name, value string) *variable {
	return &variable{name: name, state: done, result: &strict.Node{Kind: strict.String, Text: value}}
}

// declare takes a job's variables.
func (b *builder) declare(n *strict.Node) {
	b.vars = map[string]*variable{}
	for _, name := range builtIns {
		b.known[name] = true
	}
	if n == nil {
		return
	}
	for _, f := range n.Fields {
		if f.Removed {
			continue
		}
		v := &variable{name: f.Name, at: f.At, def: field(f.Value, "default")}
		strict.Decode(f.Value, &v.declared, "yaml") // problems were told: see shape
		b.vars[f.Name] = v
		b.names = append(b.names, f.Name)
		b.known[f.Name] = true
	}
}

// variable returns the variable called name, with its result, or nil.
func (b *builder) variable(name string) *variable {
	v := b.vars[name]
	if v == nil || v.state == done {
		return v
	}
	path := strict.Join("variables", name)
	if v.state == busy {
		circle := append(b.open[slices.Index(b.open, name):len(b.open):len(b.open)], name)
		b.fail(v.at, path, "refers to itself: %s", strings.Join(circle, " → "))
		v.state = done
		return v
	}
	v.state = busy
	b.open = append(b.open, name)
	defer func() { b.open = b.open[:len(b.open)-1] }()
	given, isGiven := b.given.of[name]
	var value *strict.Node
	if v.def != nil && (v.Type == "" || !isGiven) {
		value = b.expand(v.def, &place{parent: &place{name: "variables"}, name: name})
		if v.state == done || b.spoiled[value.At] {
			v.state = done
			return v
		}
		if v.Type == "" {
			v.Type = typeOf(value)
		}
		v.origin, v.dir = fmt.Sprintf("%s:%d", v.def.At.File, v.def.At.Line), filepath.Dir(v.def.At.File)
	}
	v.state = done
	at := v.at
	if v.def != nil {
		at = v.def.At
	}
	if isGiven {
		value, at, v.origin, v.dir = given.node, given.node.At, given.origin, given.dir
	}
	if value == nil {
		about := ""
		if v.Description != "" {
			about = " (" + v.Description + ")"
		}
		b.fail(at, path, "has no value: give it one with --set %s=…%s", name, about)
		return v
	}
	result, wrong := v.check(value)
	if wrong != "" {
		t := b.fail(at, path, "%s", wrong)
		if t.where = given.said; isGiven {
			t.context = []string{fmt.Sprintf("declared in %s:%d", v.at.File, v.at.Line)}
		}
		return v
	}
	v.result = result
	return v
}

// typeOf is the type of a variable that says none.
func typeOf(n *strict.Node) variableType {
	switch {
	case n.Kind == strict.List:
		return listVariable
	case n.Kind == strict.Bool:
		return boolVariable
	case n.Kind == strict.Number && wholeNumber.MatchString(n.Text):
		return intVariable
	case n.Kind == strict.Number && anyNumber.MatchString(n.Text):
		return floatVariable
	}
	return stringVariable
}

var (
	wholeNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)$`)
	anyNumber   = regexp.MustCompile(`^[-+]?[0-9]*\.?[0-9]+([eE][-+]?[0-9]+)?$`)
)

// check returns n as a value of v's type, or what is wrong with it.
func (v *variable) check(n *strict.Node) (result *strict.Node, wrong string) {
	if n.Kind == strict.String && n.Plain && v.Type == listVariable { // given as text
		list := &strict.Node{Kind: strict.List, At: n.At}
		for _, item := range strings.Split(n.Text, ",") {
			if n.Text != "" {
				list.Items = append(list.Items, &strict.Node{Kind: strict.String, Text: item, At: n.At})
			}
		}
		n = list
	}
	if v.Type == listVariable {
		if n.Kind != strict.List {
			return nil, "wants a list, not " + n.Describe()
		}
		out := &strict.Node{Kind: strict.List, At: n.At}
		for _, item := range n.Items {
			i, wrong := v.one(item, stringVariable)
			if wrong != "" {
				return nil, wrong
			}
			out.Items = append(out.Items, i)
		}
		return out, ""
	}
	return v.one(n, v.Type)
}

// one checks a scalar.
func (v *variable) one(n *strict.Node, typ variableType) (*strict.Node, string) {
	if !n.Scalar() {
		return nil, fmt.Sprintf("wants %s, not %s", wanted[typ], n.Describe())
	}
	out := &strict.Node{Kind: strict.String, Text: n.Text, At: n.At}
	bare := n.Plain && n.Kind == strict.String
	good := true
	switch typ {
	case intVariable:
		_, err := strconv.ParseInt(n.Text, 10, 64)
		good = (n.Kind == strict.Number || bare) && wholeNumber.MatchString(n.Text) && err == nil
		out.Kind, out.Plain = strict.Number, true
	case floatVariable:
		f, err := strconv.ParseFloat(n.Text, 64)
		good = (n.Kind == strict.Number || bare) && anyNumber.MatchString(n.Text) && err == nil && !math.IsInf(f, 0)
		out.Kind, out.Plain = strict.Number, true
	case boolVariable:
		good = n.Kind == strict.Bool || bare && (n.Text == "true" || n.Text == "false")
		out.Kind, out.Plain = strict.Bool, true
	}
	switch {
	case !good:
		return nil, fmt.Sprintf("%s is not %s", shown(n), wanted[typ])
	case len(n.Text) > api.MaxSpec:
		return nil, fmt.Sprintf("is %d bytes long: at most %d are allowed", len(n.Text), api.MaxSpec)
	case len(v.Values) > 0 && !slices.Contains(v.Values, n.Text):
		return nil, fmt.Sprintf("%s is not allowed%s", shown(n), choices(n.Text, v.Values))
	case v.Pattern != "":
		if whole, err := regexp.Compile(`^(?:` + v.Pattern + `)$`); err == nil && !whole.MatchString(n.Text) {
			return nil, fmt.Sprintf("%s does not match the pattern %s", shown(n), v.Pattern)
		}
	}
	return out, ""
}

var wanted = map[variableType]string{
	stringVariable: "a string",
	intVariable:    "an int: it must be a whole number",
	floatVariable:  "a float: it must be a number such as 0.5",
	boolVariable:   "a bool: it must be true or false",
	listVariable:   "a list",
}

func shown(n *strict.Node) string { return strconv.Quote(strict.Shorten(n.Text)) }
