package api

// Kind says when a job's tasks run.
type Kind string

// The kinds of jobs.
const (
	KindService Kind = "service" // kept running
	KindCron    Kind = "cron"    // run on a schedule
	KindBatch   Kind = "batch"   // run when asked, with parameters
)

// Spec is what a job should be. It is immutable once deployed: a change is a
// new deploy. Its canonical form is Canonical's.
type Spec struct {
	// Job is team/stage/name, e.g. payments/prod/checkout.
	Job  string `json:"job"`
	Kind Kind   `json:"kind"`

	// Artifacts are fetched into the sandbox, in order, before anything runs.
	Artifacts []Artifact `json:"artifacts,omitempty"`
	// Setup commands run one after the other, each to its end, before Command.
	Setup []string `json:"setup,omitempty"`
	// Command is the main process: a line for /bin/sh, run with exec.
	Command string `json:"command"`
	// User the task runs as; empty is the scheduler's configured default.
	User      string            `json:"user,omitempty"`
	Env       map[string]string `json:"env,omitempty"`
	Resources Resources         `json:"resources"`
	// Ports are names; each gets a port of the agent, told in PORT_<NAME>.
	Ports []string `json:"ports,omitempty"`

	// Instances a service keeps running, 1 by default.
	Instances *int `json:"instances,omitempty"`
	// Priority: higher is placed first; 0 by default, from -1000 to 1000.
	Priority int     `json:"priority,omitempty"`
	Health   *Health `json:"health,omitempty"`
	// Ready says when an instance counts as serving.
	Ready   *Ready   `json:"ready,omitempty"`
	Restart *Restart `json:"restart,omitempty"`
	Stop    *Stop    `json:"stop,omitempty"`
	Update  *Update  `json:"update,omitempty"`
	Logs    *Logs    `json:"logs,omitempty"`

	// Constraints are all met by an agent that runs a task; see api/constraint.
	Constraints []string `json:"constraints,omitempty"`
	// Limits is the most tasks of this job per value of an attribute, e.g.
	// {host: 1, rack: 2}.
	Limits map[string]int `json:"limits,omitempty"`
	// Spread is an attribute over whose values instances are spread evenly.
	Spread string `json:"spread,omitempty"`
	// Unreachable says when a task on a partitioned agent is replaced.
	Unreachable *Unreachable `json:"unreachable,omitempty"`

	// Schedule is a cron's.
	Schedule *Schedule `json:"schedule,omitempty"`
	// Parameters of a batch or cron job's runs, by name.
	Parameters map[string]Parameter `json:"parameters,omitempty"`
	// Retries is how many failures of a run are followed by another attempt.
	Retries int `json:"retries,omitempty"`
	// Timeout ends a run's task that runs for longer; 0 is never.
	Timeout Duration `json:"timeout,omitempty"`

	// Owners are told about, and asked about, this job: names or addresses.
	Owners []string `json:"owners,omitempty"`
	// Labels are the user's own; Perigee does not read them.
	Labels map[string]string `json:"labels,omitempty"`
}

// Artifact is a file that a task needs.
type Artifact struct {
	// URI is http(s):// or file:// (an absolute path on the agent).
	URI string `json:"uri"`
	// SHA256 is the file's checksum, 64 hexadecimal digits; nothing runs
	// unless it is right. Required except for file:// URIs.
	SHA256 string `json:"sha256,omitempty"`
	// Name is what it is called in the sandbox; the URI's last part by default.
	Name string `json:"name,omitempty"`
	// Unpack: archives (.tar.gz, .tgz, .tar, .zip) are unpacked by default.
	Unpack *bool `json:"unpack,omitempty"`
	// Executable: a file that is not unpacked is made executable by default.
	Executable *bool `json:"executable,omitempty"`
}

// Resources of one task, without its executor's.
type Resources struct {
	CPUs   float64 `json:"cpus"`
	Memory Bytes   `json:"memory"`
	Disk   Bytes   `json:"disk,omitempty"`
}

// Health is checked for as long as the task lives. Exactly one of HTTP, TCP
// and Command is given.
type Health struct {
	HTTP    *HTTPCheck    `json:"http,omitempty"`
	TCP     *TCPCheck     `json:"tcp,omitempty"`
	Command *CommandCheck `json:"command,omitempty"`

	// Interval from one check's end to the next one's start, 5s by default.
	Interval Duration `json:"interval,omitempty"`
	// Timeout of one check, 5s by default.
	Timeout Duration `json:"timeout,omitempty"`
	// Startup is how long after its start a task may fail checks without
	// consequence, 60s by default; the first success ends it. A task that had
	// no success when it is over failed.
	Startup Duration `json:"startup,omitempty"`
	// Failures in a row, after startup, that end the task; 3 by default.
	Failures int `json:"failures,omitempty"`
}

// HTTPCheck succeeds when a GET is answered 2xx or 3xx.
type HTTPCheck struct {
	Port string `json:"port"`           // a name among the spec's ports
	Path string `json:"path,omitempty"` // /healthz by default
	// Scheme is http (the default) or https; certificates are not verified,
	// since the check goes to the task's own host.
	Scheme string `json:"scheme,omitempty"`
	// FailAtOnce lists statuses that end the task at once, also during startup.
	FailAtOnce []int `json:"fail_at_once,omitempty"`
}

// TCPCheck succeeds when a connection is accepted.
type TCPCheck struct {
	Port string `json:"port"`
}

// CommandCheck succeeds when a command, run in the sandbox as the task's user,
// exits with 0.
type CommandCheck struct {
	Command string `json:"command"`
}

// Ready: an instance serves once both are met.
type Ready struct {
	// Successes of the health check in a row; 1 by default.
	Successes int `json:"successes,omitempty"`
	// After is the least time running; 0 with a health check, 5s without.
	After *Duration `json:"after,omitempty"`
}

// Restart is how a service's instance that keeps failing soon after its start
// waits: Min, doubled each time, at most Max. A task that ran for Reset starts
// over.
type Restart struct {
	Min   Duration `json:"min,omitempty"`   // 1s by default
	Max   Duration `json:"max,omitempty"`   // 5m by default
	Reset Duration `json:"reset,omitempty"` // 5m by default
}

// Stop is how a task ends when it is asked to: out of the endpoints, Drain,
// the HTTP call, SIGTERM, Grace, SIGKILL.
type Stop struct {
	Drain Duration  `json:"drain,omitempty"` // 0 by default
	HTTP  *HTTPCall `json:"http,omitempty"`
	Grace *Duration `json:"grace,omitempty"` // 10s by default
}

// HTTPCall is a POST to the task, given up after 5 s.
type HTTPCall struct {
	Port string `json:"port"`
	Path string `json:"path"`
}

// Logs bounds each of the files stdout and stderr and their rotated
// predecessors: Keep files of Size each.
type Logs struct {
	Size Bytes `json:"size,omitempty"` // 16MiB by default
	Keep int   `json:"keep,omitempty"` // 4 by default, the current one included
}

// Unreachable: what becomes of a task whose agent does not answer.
type Unreachable struct {
	// Never leaves it alone until the agent is back or known to be gone.
	Never bool `json:"never,omitempty"`
	// ReplaceAfter it was unreachable for so long; the scheduler's configured
	// default, 5m unless set, when empty.
	ReplaceAfter Duration `json:"replace_after,omitempty"`
}

// Overlap says what a cron does when an instant comes during a run.
type Overlap string

// The overlap policies.
const (
	OverlapForbid  Overlap = "forbid"  // skip the new one, and record that (the default)
	OverlapReplace Overlap = "replace" // kill the running one; start when it is gone
	OverlapAllow   Overlap = "allow"   // run both, up to MaxRuns
	OverlapQueue   Overlap = "queue"   // the new one waits
)

// Missed says what a cron does about instants that no scheduler was there for.
type Missed string

// The missed-run policies.
const (
	MissedSkip Missed = "skip" // record them as missed (the default)
	MissedOnce Missed = "once" // run the latest
	MissedAll  Missed = "all"  // run all, at most MaxMissed, the latest ones
)

// Schedule of a cron.
type Schedule struct {
	Cron    string  `json:"cron"`           // five fields or @daily; see api/cron
	Zone    string  `json:"zone,omitempty"` // IANA name, UTC by default
	Overlap Overlap `json:"overlap,omitempty"`
	Missed  Missed  `json:"missed,omitempty"`
	// Deadline: an instant decided later than this after its time was missed;
	// 1m by default.
	Deadline Duration `json:"deadline,omitempty"`
	// MaxRuns at once with overlap allow, waiting with queue; 10 by default.
	MaxRuns int `json:"max_runs,omitempty"`
	// MaxMissed runs that missed: all catches up on; 10 by default.
	MaxMissed int `json:"max_missed,omitempty"`
}

// ParameterType is a parameter's.
type ParameterType string

// The types of parameters.
const (
	ParameterString ParameterType = "string"
	ParameterInt    ParameterType = "int"
	ParameterFloat  ParameterType = "float"
	ParameterBool   ParameterType = "bool"
)

// Parameter of a run. The task finds it in its environment under its name in
// capitals, "-" as "_", after PARAM_.
type Parameter struct {
	Type        ParameterType `json:"type,omitempty"`    // string by default
	Default     *string       `json:"default,omitempty"` // required when absent
	Values      []string      `json:"values,omitempty"`  // those allowed; any when empty
	Description string        `json:"description,omitempty"`
}
