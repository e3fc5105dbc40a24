package api

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const diffBase = `{"job":"web/prod/site","kind":"service","command":"./serve","resources":{"cpus":1,"memory":"64MiB"},
	"artifacts":[{"uri":"http://a/one","sha256":"` + zeros + `"}],"env":{"DB_URL":"one","SAME":"x"},"ports":["http"],
	"health":{"http":{"port":"http"}},"labels":{"a.b":"1"},"owners":["ann"],"update":{"batch":1}}`

const zeros = "0000000000000000000000000000000000000000000000000000000000000000"

// changed returns what differs, a line each, after a spec's JSON was edited.
func changed(t *testing.T, from, to string) []string {
	t.Helper()
	old, err := DecodeSpec([]byte(from))
	require.NoError(t, err)
	now, err := DecodeSpec([]byte(to))
	require.NoError(t, err)
	var lines []string
	for _, c := range Diff(*old, *now) {
		a, err := json.Marshal(c.Old)
		require.NoError(t, err)
		b, err := json.Marshal(c.New)
		require.NoError(t, err)
		line := fmt.Sprintf("%s %s -> %s", c.Field, a, b)
		if !c.Restart {
			line += " in place"
		}
		lines = append(lines, line)
	}
	return lines
}

func TestDiff(t *testing.T) {
	for _, c := range []struct {
		name, old, new string
		want           []string
	}{
		{"nothing", `"x"`, `"x"`, nil},
		{"a quantity is told as it is written", `"memory":"64MiB"`, `"memory":"2GiB"`, []string{`resources.memory "64MiB" -> "2GiB"`}},
		{"the same amount in other words", `"memory":"64MiB"`, `"memory":67108864`, nil},
		{"a default that is written out", `"owners"`, `"instances":1,"stop":{"grace":"10s"},"owners"`, nil},
		{"an entry of a map", `"DB_URL":"one"`, `"DB_URL":"two","NEW":""`, []string{`env.DB_URL "one" -> "two"`, `env.NEW null -> ""`}},
		{"all entries of a map go", `{"DB_URL":"one","SAME":"x"}`, `{}`, []string{`env.DB_URL "one" -> null`, `env.SAME "x" -> null`}},
		{"a name with a dot", `"a.b":"1"`, `"a.b":"2"`, []string{`labels["a.b"] "1" -> "2"`}},
		{"a part of an artifact", `http://a/one`, `http://a/two`, []string{`artifacts[0].uri "http://a/one" -> "http://a/two"`, `artifacts[0].name "one" -> "two"`}},
		{"one more artifact", `"}],"env"`, `"},{"uri":"file:///x"}],"env"`,
			[]string{`artifacts[1] null -> {"executable":true,"name":"x","unpack":false,"uri":"file:///x"}`}},
		{"one artifact less", `"artifacts":[{"uri":"http://a/one","sha256":"` + zeros + `"}],`, `"artifacts":[],`,
			[]string{`artifacts [{"executable":true,"name":"one","sha256":"` + zeros + `","unpack":false,"uri":"http://a/one"}] -> null`}},
		{"a list of names is one value", `["http"]`, `["http","admin"]`, []string{`ports ["http"] -> ["http","admin"]`}},
		{"a check goes, and readiness with it", `"health":{"http":{"port":"http"}},`, ``, []string{
			`health {"failures":3,"http":{"path":"/healthz","port":"http","scheme":"http"},"interval":"5s","startup":"1m","timeout":"5s"} -> null`,
			`ready.successes 1 -> null`, `ready.after "0s" -> "5s"`}},
		{"a field was not set", `"command"`, `"priority":5,"command"`, []string{`priority null -> 5`}},
		{"instances, owners and all of update need no restart", `"owners":["ann"],"update":{"batch":1}`,
			`"instances":3,"owners":["bob"],"update":{"batch":[1,"10%"],"deadline":"1h"}`,
			[]string{`instances 1 -> 3 in place`, `update.batch ["1"] -> ["1","10%"] in place`, `update.deadline "10m" -> "1h" in place`, `owners ["ann"] -> ["bob"] in place`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			require.Contains(t, diffBase+`"x"`, c.old)
			require.Equal(t, c.want, changed(t, diffBase, strings.Replace(diffBase, c.old, c.new, 1)))
		})
	}
}

func TestDiffOfCron(t *testing.T) {
	const cron = `{"job":"web/prod/tick","kind":"cron","command":"./tick","resources":{"cpus":1,"memory":"64MiB"},"schedule":{"cron":"0 3 * * *"},"parameters":{"n":{"type":"int","default":"1"}}}`
	require.Equal(t, []string{`schedule.zone "UTC" -> "Europe/Berlin" in place`, `parameters.n.default "1" -> "2" in place`},
		changed(t, cron, strings.NewReplacer(`* * *"`, `* * *","zone":"Europe/Berlin"`, `"default":"1"`, `"default":"2"`).Replace(cron)),
		"no task of a cron is replaced: the next run is told")
}

// TestDiffSeesEveryField: a field of the spec that a later version adds is
// compared too.
func TestDiffSeesEveryField(t *testing.T) {
	for i := range reflect.TypeFor[Spec]().NumField() {
		f := reflect.TypeFor[Spec]().Field(i)
		old, now := Spec{Job: "a/b/c", Kind: KindService}, Spec{Job: "a/b/c", Kind: KindService}
		set(reflect.ValueOf(&now).Elem().Field(i))
		changes := Diff(old, now)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		require.NotEmpty(t, changes, f.Name)
		for _, c := range changes {
			if name != "health" && name != "kind" { // which defaults follow
				require.True(t, strings.HasPrefix(c.Field, name), "%s for a change of %s", c.Field, name)
			}
		}
	}
}

// set gives a value another than its zero and its default.
func set(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		set(v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			set(v.Field(i))
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		set(v.Index(0))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		e := reflect.New(v.Type().Elem()).Elem()
		set(e)
		v.SetMapIndex(reflect.ValueOf("k"), e)
	case reflect.String:
		v.SetString("7")
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Float64:
		v.SetFloat(7)
	case reflect.Bool:
		v.SetBool(true)
	default:
		panic(v.Kind())
	}
}
