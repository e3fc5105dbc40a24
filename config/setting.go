package config

import (
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/strict"
)

// setting is one leaf of Server.
type setting struct {
	path  string // mesos.failover_timeout
	field reflect.StructField
	index []int // from Server
}

func (s setting) env() string {
	return "PERIGEE_" + strings.ToUpper(strings.ReplaceAll(s.path, ".", "_"))
}

func (s setting) flag() string {
	return strings.NewReplacer(".", "-", "_", "-").Replace(s.path)
}

func (s setting) def() string   { return s.field.Tag.Get("default") }
func (s setting) help() string  { return s.field.Tag.Get("help") }
func (s setting) unset() string { return s.field.Tag.Get("unset") }

// printable is a value as it may be printed: without what is secret in it.
func (s setting) printable(value string) string {
	switch tag := s.field.Tag.Get("secret"); {
	case tag == "" || value == "":
		return value
	case tag == "password":
		return withoutPassword(value)
	}
	return "***"
}

// withoutPassword is a URL whose password is not told, wherever it has one.
func withoutPassword(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "***"
	}
	if query := u.Query(); query.Has("password") {
		query.Set("password", "***")
		u.RawQuery = query.Encode()
	}
	if _, has := u.User.Password(); has {
		u.User = url.User(u.User.Username() + ":***")
	}
	return strings.NewReplacer("%3A%2A%2A%2A", ":***", "%2A%2A%2A", "***").Replace(u.String())
}

// kind is the word for what a value is.
func (s setting) kind() string {
	switch s.field.Type {
	case reflect.TypeFor[api.Duration]():
		return "duration"
	case reflect.TypeFor[api.Bytes]():
		return "bytes"
	}
	switch s.field.Type.Kind() {
	case reflect.Bool:
		return "bool"
	case reflect.Int:
		return "int"
	case reflect.Float64:
		return "number"
	}
	return "string"
}

// of returns where server keeps the setting.
func (s setting) of(server *Server) reflect.Value {
	return reflect.ValueOf(server).Elem().FieldByIndex(s.index)
}

// format writes the value that server has, as set takes it.
func (s setting) format(server *Server) string {
	return fmt.Sprint(s.of(server).Interface())
}

// set reads text into server; the message says what is wrong with it.
func (s setting) set(server *Server, text string) (wrong string) {
	kind := strict.String
	if b := strings.ToLower(text); s.kind() == "bool" && (b == "true" || b == "false") {
		kind = strict.Bool
	}
	// A struct of this one field gives Decode's checks and messages.
	one := reflect.New(reflect.StructOf([]reflect.StructField{{Name: s.field.Name, Type: s.field.Type, Tag: `yaml:"value"`}}))
	value := &strict.Node{Kind: kind, Text: text, Plain: true}
	_, problems := strict.Decode(&strict.Node{Kind: strict.Map, Fields: []strict.Field{{Name: "value", Value: value}}}, one.Interface(), "yaml")
	if len(problems) > 0 {
		return problems[0].Message
	}
	s.of(server).Set(one.Elem().Field(0))
	return ""
}

// settings of Server, in its order.
var settings = leaves(reflect.TypeFor[Server](), "", nil)

func leaves(t reflect.Type, path string, index []int) []setting {
	var all []setting
	for i := range t.NumField() {
		f := t.Field(i)
		p, at := strict.Join(path, f.Tag.Get("yaml")), append(index[:len(index):len(index)], f.Index...)
		if f.Type.Kind() == reflect.Struct {
			all = append(all, leaves(f.Type, p, at)...)
			continue
		}
		all = append(all, setting{path: p, field: f, index: at})
	}
	return all
}

// AddServerFlags adds a flag for every setting; for those of some sections alone
// when any are named, such as "journal".
func AddServerFlags(fs *pflag.FlagSet, sections ...string) {
	for _, s := range settings {
		if section, _, _ := strings.Cut(s.path, "."); len(sections) > 0 && !slices.Contains(sections, section) {
			continue
		}
		f := fs.VarPF(&flagValue{setting: s, text: s.def()}, s.flag(), "", usage(s))
		if s.kind() == "bool" {
			f.NoOptDefVal = "true"
		}
	}
}

// usage is the first sentence of the help, as flags write it.
func usage(s setting) string {
	text, _, _ := strings.Cut(s.help(), ": ")
	text, _, _ = strings.Cut(text, "; ")
	return strings.TrimSuffix(text, ".")
}

// flagValue keeps what a flag was given; LoadServer reads it.
type flagValue struct {
	setting setting
	text    string
}

func (v *flagValue) String() string { return v.text }
func (v *flagValue) Type() string   { return v.setting.kind() }

func (v *flagValue) Set(text string) error {
	if wrong := v.setting.set(new(Server), text); wrong != "" {
		return errors.New(wrong)
	}
	v.text = text
	return nil
}
