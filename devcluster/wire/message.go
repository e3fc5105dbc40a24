// Package wire is the encoding of Mesos's v1 HTTP APIs: JSON as Mesos writes
// and reads its Protocol Buffers messages, with its error texts, and the
// framing of event streams. Protocol Buffers themselves are mesos-go's matter.
//
// mesos-go's own JSON differs where a client can tell: it writes fields that
// are not set, and says other things of input it cannot read.
package wire

import (
	"reflect"
	"strings"
	"sync"

	"github.com/gogo/protobuf/proto"
)

// field is one field of a message, as its struct tag has it.
type field struct {
	index    int
	name     string
	required bool
	repeated bool
	isMap    bool
	enum     *enum
}

// enum holds the names of a Protocol Buffers enum, of those with numbers that
// mesos-go lacks too.
type enum struct {
	names  map[int32]string
	values map[string]int32
}

// newer are enum values of the modelled Mesos that mesos-go does not have.
var newer = map[string]map[string]int32{
	"mesos.MasterInfo_Capability_Type": {"QUOTA_V2": 3},
}

var fieldCache sync.Map // reflect.Type: []field

// fieldsOf lists the fields of a message struct in the order of its numbers.
func fieldsOf(t reflect.Type) []field {
	if cached, ok := fieldCache.Load(t); ok {
		return cached.([]field)
	}
	var out []field
	for i := range t.NumField() {
		tag, ok := t.Field(i).Tag.Lookup("protobuf")
		if !ok {
			continue
		}
		f := field{index: i, isMap: t.Field(i).Type.Kind() == reflect.Map}
		for _, part := range strings.Split(tag, ",") {
			switch {
			case part == "req":
				f.required = true
			case part == "rep":
				f.repeated = true
			case strings.HasPrefix(part, "name="):
				f.name = part[len("name="):]
			case strings.HasPrefix(part, "enum="):
				f.enum = enumOf(part[len("enum="):])
			}
		}
		out = append(out, f)
	}
	fieldCache.Store(t, out)
	return out
}

func enumOf(name string) *enum {
	e := &enum{names: map[int32]string{}, values: map[string]int32{}}
	add := func(values map[string]int32) {
		for text, n := range values {
			e.names[n], e.values[text] = text, n
		}
	}
	add(proto.EnumValueMap(name))
	add(newer[name])
	return e
}
