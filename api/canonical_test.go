package api_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
)

func TestDecodeSpecIsStrict(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ body, want string }{
		{``, `the body at line 1, column 1: ends in the middle of a JSON value`},
		{`{"job":`, `the body at line 1, column 8: ends in the middle of a JSON value`},
		{"{\n  \"job\": nope}", `the body at line 2, column 10: is not JSON: invalid character 'o' in literal null (expecting 'u')`},
		{`{"job" 1}`, `the body at line 1, column 8: is not JSON: invalid character '1' after object key`},
		{`{"job":1,}`, `the body at line 1, column 10: is not JSON: invalid character '}' looking for beginning of object key string`},
		{service + `{}`, `the body at line 3, column 38: something follows after the end of the value`},
		{"\"\xff\"", `the body is not valid UTF-8`},
		{strings.Repeat(`[`, 100), `the body at line 1, column 66: is nested more than 64 levels deep`},
		{`[]`, `wants a map with job, kind, artifacts, setup, command, user, env, resources, ports, instances, priority, health, ready, restart, stop, update, logs, constraints, limits, spread, unreachable, schedule, parameters, retries, timeout, owners and labels, not a list`},
		{strings.Replace(service, `"command"`, `"comand"`, 1), `comand: unknown field "comand": did you mean "command"?`},
		{strings.Replace(service, `"kind"`, `"Kind"`, 1), `Kind: unknown field "Kind": did you mean "kind"?`},
		{strings.Replace(service, `"memory"`, `"mem"`, 1), `resources.mem: unknown field "mem": did you mean "memory"?`},
		{strings.Replace(service, `"ports":["http"]`, `"port":["http"]`, 1), `port: unknown field "port": did you mean "ports"?`},
		{strings.Replace(service, `"port":"http"`, `"port":"http","startup":"5s"`, 1), `health.http.startup: unknown field "startup": did you mean "health.startup"?`},
		{strings.Replace(service, `"port":"http"`, `"port":"http","qqq":1`, 1), `health.http.qqq: unknown field "qqq"; known here: port, path, scheme and fail_at_once`},
		{strings.Replace(service, `"kind"`, `"job":"a/b/c","kind"`, 1), `job: is given twice: it is on line 1 already`},
		{strings.Replace(service, `["http"]`, `"http"`, 1), `ports: wants a list, not the string "http"`},
		{strings.Replace(service, `["http"]`, `["http",7,null]`, 1), "ports[1]: wants a string, not 7\nports[2]: wants a string, not nothing"},
		{strings.Replace(service, `0.1`, `"0.1"`, 1), `resources.cpus: wants a number, not the string "0.1"`},
		{strings.Replace(service, `"64MiB"`, `["64MiB"]`, 1), `resources.memory: "a list" is not an amount of bytes: write it as 64MiB, 2GiB or 500MB`},
		{strings.Replace(service, `"kind"`, `"instances":1.5,"kind"`, 1), `instances: wants a whole number, not 1.5`},
		{strings.Replace(service, `"kind"`, `"instances":99999999999999999999,"kind"`, 1), `instances: wants a whole number, not 99999999999999999999`},
		{strings.Replace(service, `"kind"`, `"update":{"stop_first":"yes"},"kind"`, 1), `update.stop_first: wants true or false, not the string "yes"`},
		{strings.Replace(service, `"kind"`, `"health":[],"kind"`, 1), "health: wants a map with http, tcp, command, interval, timeout, startup and failures, not a list\nhealth: is given twice: it is on line 1 already"},
	} {
		_, err := api.DecodeSpec([]byte(c.body))
		require.EqualError(t, err, c.want, c.body)
	}
}

func TestEveryProblemIsToldAtOnce(t *testing.T) {
	t.Parallel()
	_, err := api.DecodeSpec([]byte(`{"job":"hello","kind":"service","comand":"x","ports":["a","a"],
		"resources":{"cpus":"lots","memory":1}}`))
	require.EqualError(t, err, `job: "hello" is not a job: it is written team/stage/name, for example web/devel/hello
comand: unknown field "comand": did you mean "command"?
ports[1]: "a" is given twice
resources.cpus: wants a number, not the string "lots"
resources.memory: is 1B: it must be from 1MiB to 64TiB`)
}

func TestCanonicalIsWhatTheUserSaid(t *testing.T) {
	t.Parallel()
	s, err := api.DecodeSpec([]byte(`{"command":"a < b && c","kind":"batch","labels":{"z":"1","a":"2"},
		"resources":{"memory":1048576,"cpus":1.50},"job":"a/b/c","timeout":90}`))
	require.NoError(t, err)
	canonical, err := s.Canonical()
	require.NoError(t, err)
	require.Equal(t, `{"job":"a/b/c","kind":"batch","command":"a < b && c","resources":{"cpus":1.5,"memory":"1MiB"},"timeout":"1m30s","labels":{"a":"2","z":"1"}}`, string(canonical))
	require.Equal(t, "cbe7", api.Digest(canonical)[:4])
	again, err := api.ParseSpec(canonical)
	require.NoError(t, err)
	require.Equal(t, s, again)
	newer, err := api.ParseSpec([]byte(`{"job":"a/b/c","field_of_a_newer_version":1}`))
	require.NoError(t, err)
	require.Equal(t, "a/b/c", newer.Job)
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	s, err := api.DecodeSpec([]byte(service))
	require.NoError(t, err)
	before, err := s.Canonical()
	require.NoError(t, err)
	filled := s.WithDefaults()
	got, err := filled.Canonical()
	require.NoError(t, err)
	require.JSONEq(t, `{"job":"web/devel/hello","kind":"service","command":"./hello --port $PORT_HTTP",
		"artifacts":[{"uri":"file:///srv/hello.pex","name":"hello.pex","unpack":false,"executable":true}],
		"resources":{"cpus":0.1,"memory":"64MiB"},"ports":["http"],"instances":1,
		"health":{"http":{"port":"http","path":"/healthz","scheme":"http"},"interval":"5s","timeout":"5s","startup":"1m","failures":3},
		"ready":{"successes":1,"after":"0s"},"restart":{"min":"1s","max":"5m","reset":"5m"},"stop":{"grace":"10s"},
		"update":{"strategy":"rolling","batch":["1","25%"],"deadline":"10m","retries":2,"failures":"0","on_failure":"rollback"},"logs":{"size":"16MiB","keep":4}}`, string(got))
	after, err := s.Canonical()
	require.NoError(t, err)
	require.Equal(t, string(before), string(after), "the original is left alone")

	c, err := api.DecodeSpec([]byte(cronJob))
	require.NoError(t, err)
	filled = c.WithDefaults()
	got, err = json.Marshal(filled.Schedule)
	require.NoError(t, err)
	require.JSONEq(t, `{"cron":"*/5 * * * *","zone":"Europe/Berlin","overlap":"forbid","missed":"skip","deadline":"1m","max_runs":10,"max_missed":10}`, string(got))
	require.Nil(t, filled.Restart, "of services")

	s.Health = nil
	require.Equal(t, 5*time.Second, s.WithDefaults().Ready.After.Std(), "without a health check")
	s.Artifacts = []api.Artifact{{URI: "https://x/App.TGZ?v=1", SHA256: strings.Repeat("AB", 32)}}
	a := s.WithDefaults().Artifacts[0]
	require.Equal(t, "App.TGZ", a.Name)
	require.True(t, *a.Unpack)
	require.False(t, *a.Executable)
	require.Equal(t, strings.Repeat("ab", 32), a.SHA256)
}

// FuzzDecodeSpec: nothing panics; a spec that is accepted stays what it is
// through its canonical form and its defaults, which are accepted too.
func FuzzDecodeSpec(f *testing.F) {
	for _, body := range []string{service, cronJob, batch, `{}`, `[]`, `{"a":[{"b":null}]}`} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		s, err := api.DecodeSpec(body)
		if err != nil {
			require.NotEmpty(t, err.Error())
			return
		}
		require.Empty(t, s.Validate())
		canonical := requireStable(t, *s)
		filled := s.WithDefaults()
		require.Empty(t, filled.Validate(), "with defaults")
		require.Equal(t, filled, filled.WithDefaults())
		requireStable(t, filled)
		after, err := s.Canonical()
		require.NoError(t, err)
		require.Equal(t, string(canonical), string(after), "filling in defaults changed the original")
	})
}

// requireStable returns the canonical form of s, once it gave itself.
func requireStable(t *testing.T, s api.Spec) []byte {
	canonical, err := s.Canonical()
	require.NoError(t, err)
	strict, err := api.DecodeSpec(canonical)
	require.NoError(t, err, "the canonical form %s", canonical)
	lenient, err := api.ParseSpec(canonical)
	require.NoError(t, err)
	for _, again := range []*api.Spec{strict, lenient} {
		b, err := again.Canonical()
		require.NoError(t, err)
		require.Equal(t, string(canonical), string(b))
	}
	return canonical
}
