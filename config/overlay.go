package config

import (
	"errors"
	"os"
	"slices"

	"github.com/perigee-sched/perigee/api/strict"
)

// level says what a map of a job file is, since a few have rules of their own.
type level int

const (
	anything    level = iota // maps merge, all else replaces
	layer                    // a document, a template, a job in a list, a stage
	stages                   // layers by name
	variables                // declarations by name
	declaration              // of a variable
)

func (l level) of(name string) level {
	switch {
	case l == layer && name == "variables":
		return variables
	case l == layer && name == "stages":
		return stages
	case l == stages:
		return layer
	case l == variables:
		return declaration
	}
	return anything
}

// removes says whether n is a null that was written out, which takes away what
// is below it. A value that was forgotten is another null.
func removes(n *strict.Node) bool { return n.Kind == strict.Null && n.Text != "" }

// overlay returns over laid on base, which may be nil, and changes neither:
// maps merge field by field; lists and scalars replace; null removes.
func (s *session) overlay(base, over *strict.Node, l level) *strict.Node {
	s.visits++
	switch {
	case l == declaration && over.Kind != strict.Map: // a value alone
		over = &strict.Node{Kind: strict.Map, At: over.At, Fields: []strict.Field{{Name: "default", At: over.At, Value: over}}}
	case l == layer && over.Kind == strict.Null: // a stage without anything
		over = &strict.Node{Kind: strict.Map, At: over.At}
	case over.Kind == strict.List:
		out := *over
		out.Items = make([]*strict.Node, len(over.Items))
		for i, item := range over.Items {
			out.Items[i] = s.overlay(nil, item, anything)
		}
		return &out
	case over.Kind != strict.Map:
		return over
	}
	out := &strict.Node{Kind: strict.Map, At: over.At}
	if base != nil && base.Kind == strict.Map {
		out.Fields = append(make([]strict.Field, 0, len(base.Fields)+len(over.Fields)), base.Fields...)
	}
	places := newIndex(out.Fields, len(over.Fields))
	for _, f := range over.Fields {
		s.put(out, places, f, l)
	}
	if l == declaration {
		required(out, over)
	}
	return out
}

// put lays one field on out.
func (s *session) put(out *strict.Node, places index, f strict.Field, l level) {
	i := places.of(out.Fields, f.Name)
	var below *strict.Node
	if i >= 0 && !out.Fields[i].Removed {
		below = out.Fields[i].Value
	}
	f.Removed, f.Merged = removes(f.Value), false
	if !f.Removed {
		if below != nil && below.Kind == strict.Map && f.Value.Kind == strict.Map {
			s.laid[f.At], s.laid[f.Value.At] = below.At, below.At
		}
		f.Value = s.overlay(below, f.Value, l.of(f.Name))
	}
	if i >= 0 {
		if l == variables && !out.Fields[i].Removed && field(f.Value, "required") == nil {
			f.At = out.Fields[i].At // it is only given a value here
		}
		out.Fields[i] = f
		return
	}
	if places != nil {
		places[f.Name] = len(out.Fields)
	}
	out.Fields = append(out.Fields, f)
}

// required takes away the value that a variable had before a layer that
// requires one to be given.
func required(out, over *strict.Node) {
	if n := over.Field("required"); n != nil && n.Kind == strict.Bool && n.Text == "true" {
		*out = *without(out, "default")
	}
}

// without returns n without the fields of these names.
func without(n *strict.Node, names ...string) *strict.Node {
	out := *n
	out.Fields = slices.DeleteFunc(slices.Clone(n.Fields), func(f strict.Field) bool { return slices.Contains(names, f.Name) })
	return &out
}

// field returns the field of n called name; not one that was removed.
func field(n *strict.Node, name string) *strict.Node {
	for _, f := range n.Fields {
		if f.Name == name && !f.Removed {
			return f.Value
		}
	}
	return nil
}

// index finds fields by name; a few of them need none.
type index map[string]int

func newIndex(fields []strict.Field, more int) index {
	if len(fields)+more <= 16 {
		return nil
	}
	x := make(index, len(fields)+more)
	for i, f := range fields {
		x[f.Name] = i
	}
	return x
}

func (x index) of(fields []strict.Field, name string) int {
	if x != nil {
		if i, is := x[name]; is {
			return i
		}
		return -1
	}
	return slices.IndexFunc(fields, func(f strict.Field) bool { return f.Name == name })
}

// regular refuses what may block or never end, in a path that a file names.
func regular(path string) error {
	st, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case st.IsDir():
		return errors.New("it is a directory")
	case !st.Mode().IsRegular():
		return errors.New("it is not a file")
	}
	return nil
}
