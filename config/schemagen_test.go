package config

import (
	"encoding"
	"encoding/json"
	"go/ast"
	"go/doc/comment"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/strict"
)

// object is a JSON object; encoding/json sorts its names.
type object = map[string]any

// schemaWriter makes the JSON Schema of job files of Go's types, their comments
// and constants, the defaults that WithDefaults fills in, and the bounds below.
type schemaWriter struct {
	words    *words
	defaults []object // specs with defaults filled in
	defs     object
}

// jobFileSchema returns the schema.
func jobFileSchema() ([]byte, error) {
	w := &schemaWriter{words: new(words), defs: object{}}
	for _, dir := range []string{"../api", "."} {
		if err := w.words.read(dir); err != nil {
			return nil, err
		}
	}
	if err := w.fillDefaults(); err != nil {
		return nil, err
	}
	spec := w.properties(reflect.TypeFor[api.Spec](), "json", "")
	own := w.properties(reflect.TypeFor[ownFields](), "yaml", "")
	all := object{}
	for _, m := range []object{spec, own} {
		for name, v := range m {
			all[name] = v
		}
	}
	layerWithout := func(description string, names ...string) object {
		m := object{}
		for name := range all {
			if !slices.Contains(names, name) {
				m[name] = object{"$ref": "#/properties/" + name}
			}
		}
		return object{"description": description, "type": []string{"object", "null"}, "properties": m, "additionalProperties": false}
	}
	w.defs["jobLayer"] = layerWithout("What is different in this job.", topOnly...)
	w.defs["stageLayer"] = layerWithout("What is different in this stage.", notInStage...)
	w.scalars()
	schema := object{
		"$schema": "https://json-schema.org/draft/2020-12/schema",
		"$id":     "urn:perigee:job-file",
		"title":   "A job file of Perigee",
		"description": "What a job should be, and how it differs by stage. A template, which other files extend, is written " +
			"the same way. docs/job-files.md explains it.",
		"type": "object", "properties": all, "additionalProperties": false, "$defs": w.defs,
		// A file that stands alone has to say what a job must. What is inherited is
		// not seen here.
		"if":   object{"required": []string{"job"}, "not": object{"anyOf": []object{{"required": []string{"extends"}}, {"required": []string{"jobs"}}, {"required": []string{"stages"}}, {"properties": object{"job": object{"pattern": `\$\{name\}`}}}}}},
		"then": object{"required": []string{"kind", "command", "resources"}},
	}
	b, err := json.MarshalIndent(schema, "", "  ")
	return append(b, '\n'), err
}

// A variable may stand for any value.
const variablePattern = `\$\{[a-z][a-z0-9_]*\}`

func (w *schemaWriter) scalars() {
	variable := object{"$ref": "#/$defs/variable"}
	w.defs["variable"] = object{"type": "string", "pattern": variablePattern}
	w.defs["text"] = object{"type": []string{"string", "number", "boolean"}}
	w.defs["flag"] = object{"anyOf": []object{{"type": "boolean"}, variable}}
	w.defs["duration"] = object{"anyOf": []object{{"type": "number"}, {"type": "string", "pattern": `^[-+]?([0-9.]+(ns|us|µs|ms|s|m|h)?)+$`}, variable}}
	w.defs["bytes"] = object{"anyOf": []object{{"type": "number"}, {"type": "string", "pattern": `^\s*[0-9.eE+]+\s*([KMGT]i?B|B)?\s*$`}, variable}}
	w.defs["portion"] = object{"anyOf": []object{{"type": "number", "minimum": 0}, {"type": "string", "pattern": `^\s*[0-9.]+\s*%?\s*$`}, variable}}
	w.defs["paths"] = object{"anyOf": []object{{"type": "string"}, {"type": "array", "items": object{"type": "string"}, "maxItems": 100}}}
}

// properties returns the schemas of a struct's fields.
func (w *schemaWriter) properties(t reflect.Type, key, path string) object {
	out := object{}
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get(key), ",")
		if name == "" {
			continue
		}
		at := strict.Join(path, name)
		s := w.value(f.Type, key, at)
		// A null takes away what is below it.
		s = object{"anyOf": append(forms(s), object{"type": "null"})}
		if text := w.words.field(t, f); text != "" {
			s["description"] = text
		}
		if def, is := w.defaultOf(at); is {
			s["default"] = def
		}
		out[name] = s
	}
	return out
}

// forms are the alternatives that a schema has.
func forms(s object) []object {
	if any, is := s["anyOf"].([]object); is && len(s) == 1 {
		return slices.Clone(any)
	}
	return []object{s}
}

func ref(name string) object { return object{"$ref": "#/$defs/" + name} }

var textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()

// value returns the schema of a type at a path of a job file.
func (w *schemaWriter) value(t reflect.Type, key, path string) object {
	if t.Kind() == reflect.Pointer {
		return w.value(t.Elem(), key, path)
	}
	switch t {
	case reflect.TypeFor[api.Duration]():
		return ref("duration")
	case reflect.TypeFor[api.Bytes]():
		return ref("bytes")
	case reflect.TypeFor[api.Portion]():
		return ref("portion")
	case reflect.TypeFor[filePaths]():
		return ref("paths")
	case reflect.TypeFor[jobLayer]():
		return ref("jobLayer")
	case reflect.TypeFor[stageLayer]():
		return ref("stageLayer")
	case reflect.TypeFor[anyValue]():
		return object{"type": []string{"string", "number", "boolean", "array"}}
	case reflect.TypeFor[declared]():
		return object{"anyOf": []object{{"type": []string{"string", "number", "boolean", "array", "null"}}, w.structure(t, "yaml", path)}}
	}
	if reflect.PointerTo(t).Implements(textUnmarshaler) {
		return ref("text")
	}
	switch t.Kind() {
	case reflect.Bool:
		return ref("flag")
	case reflect.Int, reflect.Float64:
		return w.number(t, path)
	case reflect.String:
		return w.string(t, path)
	case reflect.Slice:
		return w.list(t, key, path)
	case reflect.Map:
		return w.mapping(t, key, path)
	case reflect.Struct:
		return w.structure(t, key, path)
	}
	panic("no schema of " + t.String())
}

func (w *schemaWriter) number(t reflect.Type, path string) object {
	s := object{"type": "integer"}
	if t.Kind() == reflect.Float64 {
		s["type"] = "number"
	}
	if b, is := bounds[path]; is {
		s["minimum"], s["maximum"] = b.min, b.max
	}
	return object{"anyOf": []object{s, ref("variable")}}
}

func (w *schemaWriter) string(t reflect.Type, path string) object {
	values := w.words.values[t.Name()]
	if len(values) == 0 {
		values = choicesOf[path]
	}
	if len(values) > 0 {
		return object{"anyOf": []object{{"enum": values}, ref("variable")}}
	}
	if p := patterns[path]; p != "" {
		return object{"anyOf": []object{{"type": []string{"string", "number", "boolean"}, "pattern": p}, ref("variable")}}
	}
	return ref("text")
}

func (w *schemaWriter) list(t reflect.Type, key, path string) object {
	item := w.value(t.Elem(), key, path+"[]")
	s := object{"type": "array", "items": item}
	if most, is := mostEntries[path]; is {
		s["maxItems"] = most
	}
	forms := []object{s}
	if path != "jobs" {
		forms = append(forms, ref("variable"))
	}
	if t.Implements(reflect.TypeFor[interface{ OneForList() }]()) {
		forms = append(forms, item)
	}
	return object{"anyOf": forms}
}

func (w *schemaWriter) mapping(t reflect.Type, key, path string) object {
	s := object{"type": "object", "additionalProperties": object{"anyOf": []object{w.value(t.Elem(), key, path+".*"), {"type": "null"}}}}
	if p := namesIn[path]; p != "" {
		s["propertyNames"] = object{"pattern": p}
	}
	if most, is := mostEntries[path]; is {
		s["maxProperties"] = most
	}
	return s
}

// structure returns a reference to a struct's definition.
func (w *schemaWriter) structure(t reflect.Type, key, path string) object {
	if w.defs[t.Name()] != nil {
		return ref(t.Name())
	}
	w.defs[t.Name()] = object{} // for types that have themselves
	s := object{"type": "object", "properties": w.properties(t, key, path), "additionalProperties": false}
	if text := w.words.types[t.Name()]; text != "" {
		s["description"] = text
	}
	if t == reflect.TypeFor[api.Artifact]() {
		for name, v := range w.properties(reflect.TypeFor[ownArtifactFields](), "yaml", path) {
			s["properties"].(object)[name] = v
		}
		s["required"] = []string{"uri"}
	}
	w.defs[t.Name()] = s
	return ref(t.Name())
}

// fillDefaults makes specs in which every default shows.
func (w *schemaWriter) fillDefaults() error {
	for _, text := range []string{
		`{"job":"a/b/c","kind":"service","command":"x","ports":["p"],"resources":{"cpus":1,"memory":"1GiB"},"health":{"http":{"port":"p"}}}`,
		`{"job":"a/b/c","kind":"cron","command":"x","resources":{"cpus":1,"memory":"1GiB"},"schedule":{"cron":"@daily"}}`,
		`{"job":"a/b/c","kind":"service","command":"x","resources":{"cpus":1,"memory":"1GiB"},"update":{"strategy":"blue-green"}}`,
	} {
		s, err := api.DecodeSpec([]byte(text))
		if err != nil {
			return err
		}
		given, filled := object{}, object{}
		b, err := json.Marshal(s.WithDefaults())
		if err != nil {
			return err
		}
		if err := json.Unmarshal(b, &filled); err != nil {
			return err
		}
		if err := json.Unmarshal([]byte(text), &given); err != nil {
			return err
		}
		withoutGiven(filled, given)
		w.defaults = append(w.defaults, filled)
	}
	return nil
}

// withoutGiven takes what was given out of what was filled in.
func withoutGiven(filled, given object) {
	for name, v := range given {
		inner, isObject := v.(object)
		if f, both := filled[name].(object); both && isObject {
			withoutGiven(f, inner)
			continue
		}
		delete(filled, name)
	}
}

func (w *schemaWriter) defaultOf(path string) (any, bool) {
	for _, d := range w.defaults {
		v := at(d, path)
		if _, inner := v.(object); v != nil && !inner {
			return v, true
		}
	}
	return nil, false
}

// words are the comments and constants of Go's types.
type words struct {
	types  map[string]string            // by type
	fields map[string]map[string]string // by type and field
	values map[string][]string          // constants by type
}

func (w *words) read(dir string) error {
	fset := token.NewFileSet()
	packages, err := parser.ParseDir(fset, dir, func(f fs.FileInfo) bool { return !strings.HasSuffix(f.Name(), "_test.go") }, parser.ParseComments)
	if err != nil {
		return err
	}
	if w.types == nil {
		w.types, w.fields, w.values = map[string]string{}, map[string]map[string]string{}, map[string][]string{}
	}
	for _, p := range packages {
		for _, name := range slices.Sorted(maps.Keys(p.Files)) {
			for _, d := range p.Files[name].Decls {
				if g, is := d.(*ast.GenDecl); is {
					w.declaration(g)
				}
			}
		}
	}
	return nil
}

func (w *words) declaration(g *ast.GenDecl) {
	for _, s := range g.Specs {
		switch s := s.(type) {
		case *ast.TypeSpec:
			if st, is := s.Type.(*ast.StructType); is {
				w.structure(s.Name.Name, first(s.Doc, g.Doc), st)
			}
		case *ast.ValueSpec:
			typ, is := s.Type.(*ast.Ident)
			if g.Tok != token.CONST || !is {
				continue
			}
			for _, v := range s.Values {
				if lit, is := v.(*ast.BasicLit); is && lit.Kind == token.STRING {
					if text, err := strconv.Unquote(lit.Value); err == nil {
						w.values[typ.Name] = append(w.values[typ.Name], text)
					}
				}
			}
		}
	}
}

func first(groups ...*ast.CommentGroup) string {
	for _, g := range groups {
		if g != nil {
			return prose(g.Text())
		}
	}
	return ""
}

func (w *words) structure(name, text string, st *ast.StructType) {
	w.types[name] = text
	w.fields[name] = map[string]string{}
	for _, f := range st.Fields.List {
		for _, n := range f.Names {
			w.fields[name][n.Name] = first(f.Doc, f.Comment)
		}
	}
}

// field is what is said of a field, or of its type.
func (w *words) field(t reflect.Type, f reflect.StructField) string {
	if text := w.fields[t.Name()][f.Name]; text != "" {
		return text
	}
	ft := f.Type
	if ft.Kind() == reflect.Pointer {
		ft = ft.Elem()
	}
	return w.types[ft.Name()]
}

// prose is a comment as one line for each of its paragraphs.
func prose(text string) string {
	d := new(comment.Parser).Parse(text)
	var paragraphs []string
	for _, p := range strings.Split(string(new(comment.Printer).Text(d)), "\n\n") {
		paragraphs = append(paragraphs, strings.Join(strings.Fields(p), " "))
	}
	return strings.TrimSpace(strings.Join(paragraphs, "\n\n"))
}
