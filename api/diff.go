package api

import (
	"cmp"
	"encoding"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/perigee-sched/perigee/api/strict"
)

// Diff returns the fields in which two specs differ, defaults filled in on both
// sides, in the order of Spec's fields, those of maps by name. Values are as
// they would be written, nil where a field is not set. What holds parts is told
// part by part where both sides have it (resources.memory, env.DB_URL,
// artifacts[0].uri), as a whole where one does not; so are lists of plain values.
func Diff(old, new Spec) []SpecChange {
	old, new = old.WithDefaults(), new.WithDefaults()
	d := diff{replaces: old.Kind == KindService && new.Kind == KindService}
	d.compare("", reflect.ValueOf(old), reflect.ValueOf(new))
	return d.changes
}

// inPlace are the fields of a service's spec that no task notices, with all
// that is in them.
var inPlace = []string{"instances", "update", "owners"}

// diff collects what differs.
type diff struct {
	replaces bool // a change may need tasks to be replaced
	changes  []SpecChange
}

func (d *diff) compare(path string, a, b reflect.Value) {
	switch kind := a.Kind(); {
	case reflect.DeepEqual(a.Interface(), b.Interface()):
	case kind == reflect.Pointer && !a.IsNil() && !b.IsNil():
		if a.Elem().Kind() == reflect.Struct {
			d.compare(path, a.Elem(), b.Elem())
		} else {
			d.addOne(path, a, b) // a 0 that is not a default
		}
	case kind == reflect.Struct && !isText(a.Type()):
		d.fields(path, a, b)
	case kind == reflect.Map:
		d.entries(path, a, b)
	case kind == reflect.Slice && a.Type().Elem().Kind() == reflect.Struct && a.Len() > 0 && b.Len() > 0:
		d.items(path, a, b)
	default:
		d.add(path, a, b)
	}
}

func (d *diff) fields(path string, a, b reflect.Value) {
	for i := range a.NumField() {
		name, _, _ := strings.Cut(a.Type().Field(i).Tag.Get("json"), ",")
		d.compare(strict.Join(path, name), a.Field(i), b.Field(i))
	}
}

func (d *diff) entries(path string, a, b reflect.Value) {
	names := map[string]bool{}
	for _, m := range []reflect.Value{a, b} {
		for _, k := range m.MapKeys() {
			names[k.String()] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		at, x, y := strict.Join(path, name), a.MapIndex(reflect.ValueOf(name)), b.MapIndex(reflect.ValueOf(name))
		if x.IsValid() && y.IsValid() {
			d.compare(at, x, y)
		} else {
			d.addOne(at, x, y)
		}
	}
}

func (d *diff) items(path string, a, b reflect.Value) {
	for i := range max(a.Len(), b.Len()) {
		switch at := strict.Index(path, i); {
		case i >= a.Len():
			d.addOne(at, reflect.Value{}, b.Index(i))
		case i >= b.Len():
			d.addOne(at, a.Index(i), reflect.Value{})
		default:
			d.compare(at, a.Index(i), b.Index(i))
		}
	}
}

// add notes a field whose zero stands for not being set.
func (d *diff) add(path string, a, b reflect.Value) {
	c := SpecChange{Field: path, Restart: d.restarts(path)}
	if !a.IsZero() {
		c.Old = written(a)
	}
	if !b.IsZero() {
		c.New = written(b)
	}
	if c.Old == nil && c.New == nil {
		return // an empty list or map instead of none
	}
	d.changes = append(d.changes, c)
}

// addOne notes an entry that only one side has, whatever its value.
func (d *diff) addOne(path string, a, b reflect.Value) {
	d.changes = append(d.changes, SpecChange{Field: path, Old: written(a), New: written(b), Restart: d.restarts(path)})
}

func (d *diff) restarts(path string) bool {
	return d.replaces && !slices.ContainsFunc(inPlace, func(p string) bool { return strict.Within(path, p) })
}

// written is a value as JSON has it, nil for none.
func written(v reflect.Value) any {
	if !v.IsValid() || v.Kind() == reflect.Slice && v.Len() == 0 || v.Kind() == reflect.Map && v.Len() == 0 {
		return nil
	}
	b, err := json.Marshal(v.Interface())
	var out any
	if err := cmp.Or(err, json.Unmarshal(b, &out)); err != nil {
		return nil // a number that JSON does not have, which Validate refuses
	}
	return out
}

var textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()

func isText(t reflect.Type) bool { return t.Implements(textMarshaler) }
