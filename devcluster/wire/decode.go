package wire

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
)

// SyntaxError says that input is no JSON.
type SyntaxError struct{ text string }

func (e *SyntaxError) Error() string { return e.text }

// Unmarshal reads a message from JSON text. A *SyntaxError says that it is no
// JSON; another error that it is not this message, in Mesos's words. Fields
// and enum values that nobody knows are ignored.
func Unmarshal(text []byte, message any) error {
	value, err := parse(text)
	if err != nil {
		return err
	}
	object, ok := value.(map[string]any)
	if !ok {
		return errors.New("Expecting a JSON object")
	}
	d := &decoder{}
	if err := d.message(object, reflect.ValueOf(message).Elem(), ""); err != nil {
		return err
	}
	if d.missing != nil {
		return fmt.Errorf("Missing required fields: %s", strings.Join(d.missing, ", "))
	}
	return nil
}

func parse(text []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var value any
	if err := d.Decode(&value); err != nil {
		at := len(text)
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) && !errors.Is(err, io.ErrUnexpectedEOF) && syntax.Offset > 0 {
			at = min(int(syntax.Offset)-1, len(text))
			if syntax.Error() == "unexpected end of JSON input" {
				at = len(text)
			}
		}
		near, _, _ := strings.Cut(string(text[at:]), "\n")
		return nil, &SyntaxError{fmt.Sprintf("syntax error at line %d near: %s", 1+bytes.Count(text[:at], []byte("\n")), near)}
	}
	if rest := text[d.InputOffset():]; len(bytes.TrimSpace(rest)) > 0 {
		return nil, &SyntaxError{"Parsed JSON included non-whitespace trailing characters: " + string(rest)}
	}
	return value, nil
}

type decoder struct{ missing []string }

func (d *decoder) message(object map[string]any, v reflect.Value, path string) error {
	fields := fieldsOf(v.Type())
	for _, f := range fields {
		if value, ok := object[f.name]; (!ok || value == nil) && f.required {
			d.missing = append(d.missing, path+f.name)
		}
	}
	for _, f := range fields {
		value, ok := object[f.name]
		if !ok || value == nil {
			continue
		}
		set, err := d.field(value, v.Field(f.index), f, path+f.name)
		if err != nil {
			return err
		}
		if f.required && !set {
			d.missing = append(d.missing, path+f.name)
		}
	}
	return nil
}

func (d *decoder) field(value any, v reflect.Value, f field, path string) (set bool, err error) {
	switch {
	case f.isMap:
		return true, d.mapping(value, v, f, path)
	case f.repeated:
		return true, d.list(value, v, f, path)
	}
	return d.value(value, v, f, path)
}

func (d *decoder) list(value any, v reflect.Value, f field, path string) error {
	list, ok := value.([]any)
	if !ok {
		list = []any{value}
	}
	for i, element := range list {
		e := reflect.New(v.Type().Elem()).Elem()
		set, err := d.value(element, e, f, fmt.Sprintf("%s[%d]", path, i))
		if err != nil {
			return err
		}
		if set {
			v.Set(reflect.Append(v, e))
		}
	}
	return nil
}

func (d *decoder) mapping(value any, v reflect.Value, f field, path string) error {
	object, ok := value.(map[string]any)
	if !ok {
		return unexpected(value, f)
	}
	v.Set(reflect.MakeMap(v.Type()))
	for key, element := range object {
		e := reflect.New(v.Type().Elem()).Elem()
		if _, err := d.value(element, e, f, path+"["+key+"]"); err != nil {
			return err
		}
		v.SetMapIndex(reflect.ValueOf(key), e)
	}
	return nil
}

// value sets one value and says whether there was one to set: an enum value
// without a name is as good as not there.
func (d *decoder) value(value any, v reflect.Value, f field, path string) (bool, error) {
	if v.Kind() == reflect.Pointer {
		target := reflect.New(v.Type().Elem())
		set, err := d.value(value, target.Elem(), f, path)
		if set {
			v.Set(target)
		}
		return set, err
	}
	switch x := value.(type) {
	case map[string]any:
		if v.Kind() == reflect.Struct {
			return true, d.message(x, v, path+".")
		}
	case string:
		return setString(x, v, f)
	case json.Number:
		return setNumber(x, v, f)
	case bool:
		if v.Kind() == reflect.Bool {
			v.SetBool(x)
			return true, nil
		}
	}
	return false, unexpected(value, f)
}

func setString(x string, v reflect.Value, f field) (bool, error) {
	switch {
	case v.Kind() == reflect.String:
		v.SetString(x)
		return true, nil
	case v.Kind() == reflect.Slice:
		b, err := decodeBase64(x)
		if err != nil {
			return false, fmt.Errorf("Failed to base64 decode bytes field '%s': %w", f.name, err)
		}
		v.SetBytes(b)
		return true, nil
	case f.enum != nil:
		n, ok := f.enum.values[x]
		if ok {
			v.SetInt(int64(n))
		}
		return ok, nil
	case v.Kind() == reflect.Struct || v.Kind() == reflect.Bool:
		return false, unexpected(x, f)
	}
	if _, err := strconv.ParseFloat(x, 64); err != nil {
		return false, fmt.Errorf("Failed to parse '%s' as a JSON number for field '%s'", x, f.name)
	}
	return setNumber(json.Number(x), v, f)
}

func decodeBase64(s string) ([]byte, error) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
	for _, r := range s {
		if !strings.ContainsRune(alphabet, r) {
			return nil, fmt.Errorf("Invalid character '%c'", r)
		}
	}
	return base64.StdEncoding.DecodeString(s)
}

func setNumber(x json.Number, v reflect.Value, f field) (bool, error) {
	switch v.Kind() {
	case reflect.Float32, reflect.Float64:
		n, err := x.Float64()
		v.SetFloat(n)
		return true, err
	case reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(x.String(), 10, 64)
		if err != nil {
			var real float64
			real, err = x.Float64()
			n = int64(real)
		}
		v.SetInt(n)
		return true, err
	case reflect.Uint32, reflect.Uint64:
		n, err := strconv.ParseUint(x.String(), 10, 64)
		if err != nil {
			var real float64
			real, err = x.Float64()
			n = uint64(max(real, 0))
		}
		v.SetUint(n)
		return true, err
	}
	return false, unexpected(x, f)
}

func unexpected(value any, f field) error {
	kind := "null"
	switch value.(type) {
	case map[string]any:
		kind = "object"
	case []any:
		kind = "array"
	case string:
		kind = "string"
	case json.Number:
		kind = "number"
	case bool:
		kind = "boolean"
	}
	return fmt.Errorf("Not expecting a JSON %s for field '%s'", kind, f.name)
}
