package strict

import (
	"encoding"
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"
)

// Problem is one thing that is wrong with a source.
type Problem struct {
	Path    string // health.http.port; "" is the whole
	Message string // what is wrong and what is allowed
	Value   any    // what was given, when that helps
	At      Position
	// Meant is the path that was likely meant by an unknown one.
	Meant string
	// More is how many problems this one stands for, see Limit; 0 is itself.
	More int
}

// Most problems that are worth telling at once.
const Most = 100

// Limit keeps Most of the problems, and one that says how many more there are.
func Limit(problems []Problem) []Problem {
	if len(problems) <= Most {
		return problems
	}
	more := Problem{Message: fmt.Sprintf("and %d more problems", len(problems)-Most), More: len(problems) - Most}
	return append(problems[:Most:Most], more)
}

// Place is where a value came from.
type Place struct {
	Key, Value Position
	// Zero says that the value is its type's zero: it was given, and reads as if
	// it had not been.
	Zero bool
	// Entry says that the name was the author's to choose.
	Entry bool
}

// Places holds the place of every value that was given, by path.
type Places map[string]Place

// Of returns the position to show about the value at path: its own, or for one
// that was not given that of the key of what it belongs in.
func (p Places) Of(path string) Position {
	if place, ok := p[path]; ok {
		if place.Entry {
			return place.Key
		}
		return place.Value
	}
	for path != "" {
		path = Parent(path)
		if place, ok := p[path]; ok {
			return place.Key
		}
	}
	return p[""].Key
}

// Decode reads tree into the struct that into points to, whose fields are named
// by the struct tag key ("json", "yaml"). It goes on after a problem, leaves
// what it concerns at its zero, and returns all, in the order of the source.
//
// Types that implement encoding.TextUnmarshaler take strings and numbers.
// Strings take plain scalars as they were written. A slice type with a method
// OneForList takes one scalar for a list of it. A null that was written out
// in JSON is the same as an absent field; in YAML, where a forgotten value
// reads as null, it is a problem.
func Decode(tree *Node, into any, key string) (Places, []Problem) {
	v := reflect.ValueOf(into).Elem()
	d := &decoder{key: key, root: v.Type(), places: Places{}}
	d.places[""] = Place{Key: tree.At, Value: tree.At}
	d.value(tree, v, "")
	return d.places, d.problems
}

type decoder struct {
	key      string
	root     reflect.Type
	places   Places
	problems []Problem
}

func (d *decoder) fail(n *Node, path, format string, args ...any) {
	p := Problem{Path: path, Message: fmt.Sprintf(format, args...), At: n.At}
	if n.Scalar() {
		p.Value = Shorten(n.Text)
	}
	d.problems = append(d.problems, p)
}

// want reports that n is not what belongs at path.
func (d *decoder) want(n *Node, path, wanted string) {
	if n.Kind == Null && n.Plain {
		d.fail(n, path, "is empty: it wants %s; leave it out if it is not needed", wanted)
		return
	}
	d.fail(n, path, "wants %s, not %s", wanted, n.Describe())
}

func (d *decoder) value(n *Node, v reflect.Value, path string) {
	if v.Kind() == reflect.Pointer {
		p := reflect.New(v.Type().Elem())
		before := len(d.problems)
		d.value(n, p.Elem(), path)
		if len(d.problems) == before || p.Elem().Kind() == reflect.Struct {
			v.Set(p)
		}
		return
	}
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		d.text(n, u, path)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.fields(n, v, path)
	case reflect.Map:
		d.entries(n, v, path)
	case reflect.Slice:
		d.items(n, v, path)
	default:
		d.scalar(n, v, path)
	}
}

func (d *decoder) text(n *Node, u encoding.TextUnmarshaler, path string) {
	given := n.Text
	switch n.Kind {
	case Null:
		d.want(n, path, "a value")
		return
	case Bool, List, Map:
		given = n.Describe() // is refused, with what is allowed
	}
	if err := u.UnmarshalText([]byte(given)); err != nil {
		d.fail(n, path, "%v", err)
	}
}

var (
	wholeNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)$`)
	anyNumber   = regexp.MustCompile(`^[-+]?[0-9]*\.?[0-9]+([eE][-+]?[0-9]+)?$`)
)

func (d *decoder) scalar(n *Node, v reflect.Value, path string) {
	switch v.Kind() {
	case reflect.String:
		if n.Kind != String && (!n.Plain || n.Kind == Null || !n.Scalar()) {
			d.want(n, path, "a string")
			return
		}
		v.SetString(n.Text)
	case reflect.Bool:
		if n.Kind != Bool {
			d.want(n, path, "true or false")
			return
		}
		v.SetBool(strings.EqualFold(n.Text, "true"))
	case reflect.Int:
		i, err := strconv.ParseInt(n.Text, 10, 64)
		if (n.Kind != Number && !(n.Plain && n.Kind == String)) || err != nil || !wholeNumber.MatchString(n.Text) {
			d.want(n, path, "a whole number")
			return
		}
		v.SetInt(i)
	case reflect.Uint32:
		u, err := strconv.ParseUint(n.Text, 10, 32)
		if (n.Kind != Number && !(n.Plain && n.Kind == String)) || err != nil || !wholeNumber.MatchString(n.Text) {
			d.want(n, path, "a whole number from 0")
			return
		}
		v.SetUint(u)
	case reflect.Float64:
		f, err := strconv.ParseFloat(n.Text, 64)
		if (n.Kind != Number && !(n.Plain && n.Kind == String)) || err != nil || !anyNumber.MatchString(n.Text) {
			d.want(n, path, "a number")
			return
		}
		v.SetFloat(f)
	default:
		panic("strict: no reading of " + v.Type().String())
	}
}

func (d *decoder) items(n *Node, v reflect.Value, path string) {
	if _, one := v.Interface().(interface{ OneForList() }); one && n.Scalar() && n.Kind != Null {
		n = &Node{Kind: List, At: n.At, Items: []*Node{n}}
	}
	if n.Kind != List {
		d.want(n, path, "a list")
		return
	}
	list := reflect.MakeSlice(v.Type(), len(n.Items), len(n.Items))
	for i, item := range n.Items {
		p := Index(path, i)
		d.value(item, list.Index(i), p)
		d.places[p] = Place{Key: item.At, Value: item.At, Zero: list.Index(i).IsZero()}
	}
	v.Set(list)
}

func (d *decoder) entries(n *Node, v reflect.Value, path string) {
	if n.Kind != Map {
		d.want(n, path, "a map")
		return
	}
	m := reflect.MakeMapWithSize(v.Type(), len(n.Fields))
	for _, f := range n.Fields {
		p, e := Join(path, f.Name), reflect.New(v.Type().Elem()).Elem()
		if f.Removed || d.repeated(f, p) {
			continue
		}
		d.value(f.Value, e, p)
		d.places[p] = Place{Key: f.At, Value: f.Value.At, Zero: e.IsZero(), Entry: true}
		m.SetMapIndex(reflect.ValueOf(f.Name), e)
	}
	v.Set(m)
}

func (d *decoder) repeated(f Field, path string) bool {
	first, is := d.places[path]
	if is {
		d.problems = append(d.problems, Problem{Path: path, At: f.At,
			Message: fmt.Sprintf("is given twice: it is on line %d already", first.Key.Line)})
	}
	return is
}

func (d *decoder) fields(n *Node, v reflect.Value, path string) {
	if n.Kind != Map {
		d.want(n, path, "a map with "+enumerate(Names(v.Type(), d.key)))
		return
	}
	for _, f := range n.Fields {
		p := Join(path, f.Name)
		index := fieldIndex(v.Type(), d.key, f.Name)
		if index == nil {
			d.unknown(f, v.Type(), path)
			continue
		}
		if f.Removed || d.repeated(f, p) {
			continue
		}
		if f.Value.Kind == Null && !f.Value.Plain {
			continue
		}
		field := v.FieldByIndex(index)
		d.value(f.Value, field, p)
		d.places[p] = Place{Key: f.At, Value: f.Value.At, Zero: field.IsZero()}
	}
}

// unknown reports a field that the struct type t at path does not have.
func (d *decoder) unknown(f Field, t reflect.Type, path string) {
	p := Problem{Path: Join(path, f.Name), At: f.At}
	names := Names(t, d.key)
	var near, at string
	if len(d.problems) < Most { // looking further would only take time
		near, at = Nearest(f.Name, names), elsewhere(d.root, d.key, f.Name)
	}
	switch known := fmt.Sprintf("unknown field %q", Shorten(f.Name)); {
	case at != "":
		p.Message = fmt.Sprintf("%s: did you mean %q?", known, at)
		p.Meant = at
	case near != "":
		p.Message = fmt.Sprintf("%s: did you mean %q?", known, near)
		p.Meant = Join(path, near)
	default:
		p.Message = fmt.Sprintf("%s; known here: %s", known, enumerate(names))
	}
	d.problems = append(d.problems, p)
}

// Names returns the names of the fields of the struct type t, in order. Those
// of a struct that is embedded without a name are its own.
func Names(t reflect.Type, key string) []string {
	var names []string
	for _, f := range reflect.VisibleFields(t) {
		if name := tagName(f, key); name != "" {
			names = append(names, name)
		}
	}
	return names
}

func tagName(f reflect.StructField, key string) string {
	name, _, _ := strings.Cut(f.Tag.Get(key), ",")
	return name
}

// fieldIndex is for reflect.Value.FieldByIndex, nil where there is no such field.
func fieldIndex(t reflect.Type, key, name string) []int {
	for i := range t.NumField() {
		switch f := t.Field(i); {
		case name != "" && tagName(f, key) == name:
			return f.Index
		case f.Anonymous && tagName(f, key) == "" && f.Type.Kind() == reflect.Struct:
			if index := fieldIndex(f.Type, key, name); index != nil {
				return append([]int{i}, index...)
			}
		}
	}
	return nil
}

// elsewhere returns the path of the one field called name inside the structs
// that t's fields are, "" when there is none or more than one.
func elsewhere(t reflect.Type, key, name string) string {
	var found []string
	var search func(t reflect.Type, path string)
	search = func(t reflect.Type, path string) {
		for t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		if t.Kind() != reflect.Struct {
			return
		}
		for i := range t.NumField() {
			n := tagName(t.Field(i), key)
			if n == "" {
				continue
			}
			if n == name {
				found = append(found, Join(path, n))
			}
			search(t.Field(i).Type, Join(path, n))
		}
	}
	search(t, "")
	if len(found) != 1 {
		return ""
	}
	return found[0]
}

// enumerate writes "a, b and c".
func enumerate(names []string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}
