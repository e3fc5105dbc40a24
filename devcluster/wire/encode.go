package wire

import (
	"encoding/base64"
	"encoding/json"
	"reflect"
)

// Object is a message as JSON, for callers that add what mesos-go's messages
// have no field for.
type Object = map[string]any

// Encode returns a message as a JSON value: what is not set is left out, and so
// are lists without elements and enum values without a name.
func Encode(message any) Object {
	return encodeStruct(reflect.Indirect(reflect.ValueOf(message)))
}

// Marshal returns a message as JSON text.
func Marshal(message any) ([]byte, error) { return json.Marshal(Encode(message)) }

func encodeStruct(v reflect.Value) Object {
	out := Object{}
	for _, f := range fieldsOf(v.Type()) {
		if value, ok := encodeField(v.Field(f.index), f); ok {
			out[f.name] = value
		}
	}
	return out
}

func encodeField(v reflect.Value, f field) (any, bool) {
	switch {
	case f.isMap:
		return encodeMap(v)
	case v.Kind() == reflect.Pointer && v.IsNil():
		return nil, false
	case f.repeated:
		return encodeList(v, f)
	case v.Kind() == reflect.Slice: // bytes
		return base64.StdEncoding.EncodeToString(v.Bytes()), !v.IsNil() || f.required
	case v.Kind() != reflect.Pointer && !f.required && v.IsZero():
		return nil, false // optional, and mesos-go does not tell zero from not set
	}
	return encodeValue(reflect.Indirect(v), f)
}

func encodeMap(v reflect.Value) (any, bool) {
	out := Object{}
	for it := v.MapRange(); it.Next(); {
		if value, ok := encodeValue(reflect.Indirect(it.Value()), field{}); ok {
			out[it.Key().String()] = value
		}
	}
	return out, len(out) > 0
}

func encodeList(v reflect.Value, f field) (any, bool) {
	out := make([]any, 0, v.Len())
	for i := range v.Len() {
		e := v.Index(i)
		if e.Kind() == reflect.Slice {
			out = append(out, base64.StdEncoding.EncodeToString(e.Bytes()))
		} else if value, ok := encodeValue(reflect.Indirect(e), f); ok {
			out = append(out, value)
		}
	}
	return out, len(out) > 0
}

func encodeValue(v reflect.Value, f field) (any, bool) {
	switch {
	case v.Kind() == reflect.Struct:
		return encodeStruct(v), true
	case f.enum != nil:
		name, ok := f.enum.names[int32(v.Int())]
		return name, ok
	}
	return v.Interface(), true
}
