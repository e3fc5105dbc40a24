package api_test

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
)

const (
	service = `{"job":"web/devel/hello","kind":"service","command":"./hello --port $PORT_HTTP",
		"artifacts":[{"uri":"file:///srv/hello.pex"}],"ports":["http"],"resources":{"cpus":0.1,"memory":"64MiB"},
		"health":{"http":{"port":"http"}}}`
	cronJob = `{"job":"web/devel/tick","kind":"cron","command":"date","resources":{"cpus":0.1,"memory":"8MiB"},
		"schedule":{"cron":"*/5 * * * *","zone":"Europe/Berlin"}}`
	batch = `{"job":"web/devel/sum","kind":"batch","command":"./sum","resources":{"cpus":1,"memory":"1GiB"},
		"parameters":{"count":{"type":"int","default":"3"},"mode":{"values":["fast","safe"]}},"retries":2}`
)

// patched applies a JSON merge patch (RFC 7386) to a spec.
func patched(t *testing.T, spec, patch string) []byte {
	t.Helper()
	var s, p map[string]any
	require.NoError(t, json.Unmarshal([]byte(spec), &s))
	require.NoError(t, json.Unmarshal([]byte(patch), &p), "the test's patch")
	b, err := json.Marshal(merge(s, p))
	require.NoError(t, err)
	return b
}

func merge(into, patch map[string]any) map[string]any {
	into = maps.Clone(into)
	if into == nil {
		into = map[string]any{}
	}
	for k, v := range patch {
		inner, isMap := v.(map[string]any)
		was, _ := into[k].(map[string]any)
		switch {
		case v == nil:
			delete(into, k)
		case isMap:
			into[k] = merge(was, inner)
		default:
			into[k] = v
		}
	}
	return into
}

func TestValidSpecs(t *testing.T) {
	t.Parallel()
	for _, body := range []string{service, cronJob, batch} {
		_, err := api.DecodeSpec([]byte(body))
		require.NoError(t, err)
	}
	for _, patch := range []string{
		`{"instances":0}`,
		`{"instances":100000,"priority":-1000}`,
		`{"resources":{"cpus":1024,"memory":"64TiB","disk":"1024TiB"}}`,
		`{"resources":{"cpus":0.333,"memory":67108864}}`,
		`{"artifacts":[{"uri":"https://x/y.tar.gz?token=a%20b","sha256":"` + strings.Repeat("aB", 32) + `"}]}`,
		`{"artifacts":[{"uri":"file://localhost/srv/a","name":"b"},{"uri":"file:///srv/a"}]}`,
		`{"health":{"http":null,"tcp":{"port":"http"}}}`,
		`{"health":{"http":null,"command":{"command":"true"},"startup":30,"interval":"1m30s"}}`,
		`{"stop":{"drain":"5s","grace":"0s","http":{"port":"http","path":"/quit?now=1"}}}`,
		`{"unreachable":{"never":true}}`,
		`{"limits":{"host":1,"rack":2},"spread":"rack","constraints":["rack in (r1, r2)"]}`,
		`{"env":{"FOO":"","_x9":"ü\n"},"labels":{"a.b/c d":"x"},"owners":["me@example.com"],"user":"www-data"}`,
		`{"user":null,"env":null}`,
	} {
		_, err := api.DecodeSpec(patched(t, service, patch))
		require.NoError(t, err, patch)
	}
	_, err := api.DecodeSpec(patched(t, cronJob, `{"health":{"command":{"command":"true"}},"limits":{"host":1},"timeout":"1h","retries":1}`))
	require.NoError(t, err, "what applies to runs too")
}

func TestBadInputIsAnsweredWithWhatIsWrongAndAllowed(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 70_000)
	for _, c := range []struct{ spec, patch, want string }{
		// Identity and kind.
		{service, `{"job":null}`, `job: is missing: it is written team/stage/name, for example web/devel/hello`},
		{service, `{"job":"hello"}`, `job: "hello" is not a job: it is written team/stage/name, for example web/devel/hello`},
		{service, `{"job":"web/Devel/hello"}`, `job: "web/Devel/hello" is not a job: the stage "Devel" must be 1 to 63 lower-case letters, digits and inner hyphens`},
		{service, `{"job":"web/devel/-x"}`, `job: "web/devel/-x" is not a job: the name "-x" must be 1 to 63 lower-case letters, digits and inner hyphens`},
		{service, `{"kind":null}`, `kind: is missing: it must be service, cron or batch`},
		{service, `{"kind":"servcie"}`, `kind: "servcie" is not known: it must be service, cron or batch; did you mean "service"?`},
		// What does not apply to a kind.
		{service, `{"schedule":{"cron":"@daily"}}`, `schedule: does not apply: a service is kept running: only a cron has a schedule`},
		{service, `{"timeout":"1h"}`, `timeout: does not apply: a service runs until it is stopped: only crons and batch jobs have a timeout`},
		{service, `{"retries":1}`, `retries: does not apply: a service is restarted for as long as it is wanted: only crons and batch jobs have retries; see restart`},
		{service, `{"parameters":{"a":{}}}`, `parameters: does not apply: a service has no runs to give parameters to: only crons and batch jobs have`},
		{batch, `{"instances":2}`, `instances: does not apply: a batch's runs are one task each: only a service has instances`},
		{batch, `{"spread":"rack"}`, `spread: does not apply: a batch's runs are placed one by one: only a service's instances are spread`},
		{batch, `{"schedule":{"cron":"@daily"}}`, `schedule: does not apply: a batch job runs when it is asked to; make it kind: cron to have it scheduled`},
		{cronJob, `{"schedule":null}`, `schedule: is missing: a cron needs one, for example {cron: "*/5 * * * *"}`},
		{cronJob, `{"update":{"stop_first":true}}`, `update: does not apply: a cron's runs are left alone by a deploy: only a service is updated`},
		// Resources.
		{service, `{"resources":null}`, "resources.cpus: is missing: it must be from 0.01 to 1024\nresources.memory: is missing: write it as 64MiB or 2GiB"},
		{service, `{"resources":{"cpus":-1}}`, `resources.cpus: is -1: it must be from 0.01 to 1024`},
		{service, `{"resources":{"cpus":100000}}`, `resources.cpus: is 100000: it must be from 0.01 to 1024`},
		{service, `{"resources":{"cpus":0.33333}}`, `resources.cpus: is 0.33333: Mesos counts thousandths; write 0.334`},
		{service, `{"resources":{"memory":"-5MiB"}}`, `resources.memory: is -5MiB: it must be from 1MiB to 64TiB`},
		{service, `{"resources":{"memory":64}}`, `resources.memory: is 64B: it must be from 1MiB to 64TiB`},
		{service, `{"resources":{"disk":"-1B"}}`, `resources.disk: is -1B: it must be from 0B to 1024TiB`},
		{service, `{"resources":{"memory":"64 megs"}}`, `resources.memory: "64 megs" is not an amount of bytes: write it as 64MiB, 2GiB or 500MB`},
		// Ports.
		{service, `{"ports":["http","http"]}`, `ports[1]: "http" is given twice`},
		{service, `{"ports":["http","a-b","a_b"]}`, `ports[2]: "a-b" and "a_b" would both be PORT_A_B in the environment: rename one`},
		{service, `{"ports":["http","8080"]}`, `ports[1]: "8080" is not a port's name: it must be a lower-case letter, then up to 31 lower-case letters, digits, - and _ (the number is Perigee's to choose)`},
		// Health.
		{service, `{"health":{"http":null}}`, `health: says not what to check: give one of http, tcp and command`},
		{service, `{"health":{"tcp":{"port":"http"}}}`, `health: has 2 checks: give exactly one of http, tcp and command`},
		{service, `{"health":{"http":{"port":"htp"}}}`, `health.http.port: "htp" is not declared: the ports are http; did you mean "http"?`},
		{service, `{"ports":null}`, `health.http.port: needs a port, and none is declared: add one to ports, for example ports: [http]`},
		{service, `{"health":{"http":{"path":"healthz"}}}`, `health.http.path: "healthz" must begin with /`},
		{service, `{"health":{"http":{"scheme":"htps"}}}`, `health.http.scheme: "htps" is not known: it must be http or https; did you mean "https"?`},
		{service, `{"health":{"http":{"fail_at_once":[404,200,999]}}}`, "health.http.fail_at_once[1]: 200 is a success: a check succeeds with 200 to 399\nhealth.http.fail_at_once[2]: 999 is not an HTTP status: they are 100 to 599"},
		{service, `{"health":{"interval":"-1s"}}`, `health.interval: is -1s: it must be from 100ms to 1h`},
		{service, `{"health":{"timeout":"9999h"}}`, `health.timeout: is 9999h: it must be from 10ms to 1h`},
		{service, `{"health":{"startup":"0s","failures":0}}`, "health.failures: must be more than 0; leave it out for the default (3)\nhealth.startup: must be more than 0; leave it out for the default (1m)"},
		{service, `{"health":{"interval":"often"}}`, `health.interval: "often" is not a duration: write it as 30s, 5m or 1h30m`},
		{service, `{"health":null,"ready":{"successes":2}}`, `ready.successes: counts successes of the health check, and there is none: add health`},
		// Restart, stop, update.
		{service, `{"restart":{"min":"1h","max":"1m"}}`, `restart.max: is 1m, less than restart.min, 1h`},
		{service, `{"stop":{"http":{"port":"http","path":""}}}`, `stop.http.path: is missing: it must begin with /`},
		{service, `{"stop":{"grace":"-1s"}}`, `stop.grace: is -1s: it must be from 1ms to 1h`},
		{service, `{"unreachable":{"never":true,"replace_after":"1m"}}`, `unreachable.replace_after: contradicts never: true; leave out one of them`},
		{service, `{"logs":{"size":"1B"}}`, `logs.size: is 1B: it must be from 64KiB to 64GiB`},
		{service, `{"update":{"strategy":"canaries","on_failure":"panic"}}`, "update.on_failure: \"panic\" is not known: it must be rollback, pause or stop\nupdate.strategy: \"canaries\" is not known: it must be rolling, canary or blue-green"},
		{service, `{"update":{"batch":0}}`, `update.batch[0]: is 0: it must be from 1 to 100000`},
		{service, `{"update":{"batch":["1","101%","0%"]}}`, "update.batch[1]: is 101%: a percentage must be from 1% to 100%\nupdate.batch[2]: is 0%: a percentage must be from 1% to 100%"},
		{service, `{"update":{"batch":1.5}}`, `update.batch[0]: "1.5" is not a portion: write a count, 3, or a percentage, 10%`},
		{service, `{"update":{"strategy":"canary"}}`, `update.steps: is missing: a canary needs at least one, for example [{instances: 1, bake: 10m}]`},
		{service, `{"update":{"strategy":"canary","steps":[{"instances":"50%"},{"instances":"10%","checks":{"gate":{"url":"gate"}}}]}}`, "update.steps[1].checks.gate.url: \"gate\" is not a URL to ask: write it as https://checks.example.com/gate\nupdate.steps[1].instances: is 10%: the step before has 50% already; steps are of all that have moved"},
		{service, `{"update":{"steps":[{"instances":1}],"keep":"5m"}}`, "update.keep: does not apply: only strategy: blue-green keeps the old set\nupdate.steps: does not apply: only strategy: canary takes steps; a rolling deploy takes batches"},
		{service, `{"update":{"strategy":"blue-green","stop_first":true,"batch":2}}`, "update.batch: does not apply: a blue-green deploy starts its whole set at once\nupdate.stop_first: does not apply: a blue-green deploy starts its whole set beside the old one"},
		{service, `{"update":{"stop_first":true,"max_unavailable":0}}`, `update.max_unavailable: is 0: with stop_first at least one instance at a time does not serve; leave it out, or make it 1 or more`},
		// Placement.
		{service, `{"limits":{"host":0}}`, `limits.host: is 0: it must be from 1 to 100000`},
		{service, `{"instances":-1}`, `instances: is -1: it must be from 0 to 100000`},
		{service, `{"priority":1001}`, `priority: is 1001: it must be from -1000 to 1000`},
		{service, `{"spread":"ra ck"}`, `spread: "ra ck" is not an attribute's name: host, or up to 64 letters, digits, _, . and -`},
		// Environment and command.
		{service, `{"env":{"PORT":"1","PERIGEE_JOB":"x"}}`, "env.PERIGEE_JOB: PERIGEE_JOB is Perigee's to set, as are PORT, PORT_*, PARAM_* and PERIGEE_*: choose another name\nenv.PORT: PORT is Perigee's to set, as are PORT, PORT_*, PARAM_* and PERIGEE_*: choose another name"},
		{service, `{"env":{"A=B":"1"}}`, `env["A=B"]: "A=B" is not a variable's name: it must be letters, digits and _, and not begin with a digit`},
		{service, `{"env":{"A":"x\u0000y"}}`, `env.A: has a NUL character`},
		{service, `{"command":" "}`, `command: is missing or blank`},
		{service, `{"command":"a\u0000"}`, `command: has a NUL character`},
		{service, `{"command":"` + long + `"}`, `command: is 70000 bytes long: at most 65536 are allowed`},
		{service, `{"setup":["true",""]}`, `setup[1]: is missing or blank`},
		{service, `{"user":"a b"}`, `user: "a b" is not a user's name: it must be up to 32 letters, digits, _, . and -, and not begin with a digit, . or -`},
		// Artifacts.
		{service, `{"artifacts":[{"uri":"s3://b/k"}]}`, `artifacts[0].uri: s3 cannot be fetched: http, https and file can`},
		{service, `{"artifacts":[{"uri":"hello.pex"}]}`, `artifacts[0].uri: has no scheme: begin it with http://, https:// or file://`},
		{service, `{"artifacts":[{"uri":"file://srv/hello.pex"}]}`, `artifacts[0].uri: names the host "srv": file:// takes an absolute path of the agent, with three slashes, as in file:///opt/app.pex`},
		{service, `{"artifacts":[{"uri":"file://./hello.pex"}]}`, `artifacts[0].uri: is relative, which only job files may be: file:// takes an absolute path of the agent, as in file:///opt/app.pex`},
		{service, `{"artifacts":[{"uri":"https://x/y"}]}`, `artifacts[0].sha256: is missing: an artifact that is fetched over the network is verified; sha256sum prints it`},
		{service, `{"artifacts":[{"uri":"file:///y","sha256":"abc"}]}`, `artifacts[0].sha256: is not a SHA-256: it has 3 characters, and must be 64 hexadecimal digits`},
		{service, `{"artifacts":[{"uri":"file:///a/y"},{"uri":"file:///b/y"}]}`, `artifacts[1].name: "y" is the name of artifacts[0] too: give one of them another name`},
		{service, `{"artifacts":[{"uri":"file:///a/y","name":"../y"}]}`, `artifacts[0].name: "../y" must be a file name, without slashes`},
		{service, `{"artifacts":[{"uri":"file:///a/.."}]}`, `artifacts[0].name: ".." must be a file name, without slashes`},
		{service, `{"artifacts":[{"uri":"file:///a/stdout.1"}]}`, `artifacts[0].name: "stdout.1" is taken: what Mesos and Perigee keep in the sandbox is called so`},
		{service, `{"artifacts":[{"uri":"file:///a/","sha256":""}]}`, `artifacts[0].name: is missing: the URI ends in no file name to take it from`},
		{service, `{"artifacts":[{"uri":"file:///a/y.pex","unpack":true}]}`, `artifacts[0].unpack: "y.pex" is not called like an archive (.tar.gz, .tgz, .tar or .zip): set a name that is`},
		// Crons.
		{cronJob, `{"schedule":{"overlap":"forbidden"}}`, `schedule.overlap: "forbidden" is not known: it must be forbid, replace, allow or queue; did you mean "forbid"?`},
		{cronJob, `{"schedule":{"missed":"al"}}`, `schedule.missed: "al" is not known: it must be skip, once or all; did you mean "all"?`},
		{cronJob, `{"schedule":{"max_runs":-1}}`, `schedule.max_runs: is -1: it must be from 1 to 1000`},
		{cronJob, `{"parameters":{"a":{"type":"int"}}}`, `parameters.a.default: is missing: nobody gives a cron's scheduled runs a value`},
		{service, `{"unreachable":{"replace_after":0}}`, `unreachable.replace_after: must be more than 0; leave it out for the default (the scheduler's)`},
		// Parameters.
		{batch, `{"parameters":{"count":{"default":"many"}}}`, `parameters.count.default: "many" is not an int: it must be a whole number of at most 64 bits`},
		{batch, `{"parameters":{"mode":{"default":"fats"}}}`, `parameters.mode.default: "fats" is not allowed: it must be fast or safe; did you mean "fast"?`},
		{batch, `{"parameters":{"mode":{"type":"itn"}}}`, `parameters.mode.type: "itn" is not known: it must be string, int, float or bool; did you mean "int"?`},
		{batch, `{"parameters":{"Count":{}}}`, "parameters.Count: \"Count\" is not a parameter's name: it must be a lower-case letter, then up to 62 lower-case letters, digits, - and _\nparameters.count: \"Count\" and \"count\" would both be PARAM_COUNT in the environment: rename one"},
		{batch, `{"parameters":{"count":{"values":["1","x"]}}}`, `parameters.count.values[1]: "x" is not an int: it must be a whole number of at most 64 bits`},
		{batch, `{"retries":-1}`, `retries: is -1: it must be from 0 to 1000`},
	} {
		_, err := api.DecodeSpec(patched(t, c.spec, c.patch))
		require.EqualError(t, err, c.want, c.patch)
	}
}

func TestBadCronAndZoneAreTold(t *testing.T) {
	t.Parallel()
	_, err := api.DecodeSpec(patched(t, cronJob, `{"schedule":{"cron":"61 * * * *","zone":"Europe/Berln"}}`))
	var invalid api.Invalid
	require.ErrorAs(t, err, &invalid)
	require.Len(t, invalid, 2, "%v", err)
	require.Equal(t, "schedule.cron", invalid[0].Location)
	require.Contains(t, invalid[0].Message, "61")
	require.Equal(t, "schedule.zone", invalid[1].Location)
	require.Contains(t, invalid[1].Message, "Europe/Berlin")
}

func TestBadConstraintIsTold(t *testing.T) {
	t.Parallel()
	_, err := api.DecodeSpec(patched(t, service, `{"constraints":["rack in (r1, r2)","rack ~~"]}`))
	var invalid api.Invalid
	require.ErrorAs(t, err, &invalid)
	require.Len(t, invalid, 1, "%v", err)
	require.Equal(t, "constraints[1]", invalid[0].Location)
	require.Contains(t, invalid[0].Message, "rack ~~")
}

func TestSpecOfTooManyBytesIsRefused(t *testing.T) {
	t.Parallel()
	env := map[string]string{}
	for _, n := range strings.Split("ABCDE", "") {
		env[n] = strings.Repeat("<", 30_000)
	}
	b, err := json.Marshal(map[string]any{"env": env})
	require.NoError(t, err)
	_, err = api.DecodeSpec(patched(t, service, string(b)))
	require.ErrorContains(t, err, "bytes as canonical JSON: at most 131072 are allowed")
}
