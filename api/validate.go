package api

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/perigee-sched/perigee/api/constraint"
	"github.com/perigee-sched/perigee/api/cron"
	"github.com/perigee-sched/perigee/api/strict"
)

const (
	// MaxSpec is the most bytes of a spec's canonical form.
	MaxSpec = 128 << 10
	// MaxInstances of a job; a scheduler's own limit is usually lower.
	MaxInstances = 100_000

	maxCommand = 64 << 10
	shortest   = Duration(100 * time.Millisecond) // of most durations
	hour       = Duration(time.Hour)
	day        = 24 * hour
	week       = 7 * day
)

var (
	portName  = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,31}$`)
	userName  = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,31}$`)
	envName   = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,254}$`)
	attribute = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$`)
)

// Validate returns everything that is wrong with s, in the order of its fields;
// nothing when it may be deployed. Locations are paths in the spec, such as
// "health.http.port".
func (s Spec) Validate() []ProblemField {
	p := new(problems)
	p.kind(s)
	p.artifacts(s.Artifacts)
	p.count("setup", len(s.Setup), 100)
	for i, c := range s.Setup {
		p.line(strict.Index("setup", i), c, maxCommand)
	}
	p.line("command", s.Command, maxCommand)
	if s.User != "" && !userName.MatchString(s.User) {
		p.add("user", s.User, "%q is not a user's name: it must be up to 32 letters, digits, _, . and -, and not begin with a digit, . or -", strict.Shorten(s.User))
	}
	p.env(s.Env)
	p.resources(s.Resources)
	p.ports(s.Ports)
	if s.Instances != nil {
		p.number("instances", *s.Instances, 0, MaxInstances)
	}
	p.number("priority", s.Priority, -1000, 1000)
	p.health(s)
	p.service(s)
	p.placement(s)
	p.schedule(s)
	p.parameters(s)
	p.number("retries", s.Retries, 0, 1000)
	p.duration("timeout", s.Timeout, shortest, 365*day)
	p.notes(s)
	p.size(s)
	return *p
}

// kind checks the identity, and refuses what does not apply to the kind.
func (p *problems) kind(s Spec) {
	if s.Job == "" {
		p.add("job", nil, "is missing: it is written team/stage/name, for example web/devel/hello")
	} else if _, _, _, err := ParseJobKey(s.Job); err != nil {
		p.add("job", s.Job, "%v", err)
	}
	switch s.Kind {
	case KindService:
		p.inapplicable(s.Schedule != nil, "schedule", "a service is kept running: only a cron has a schedule")
		p.inapplicable(s.Parameters != nil, "parameters", "a service has no runs to give parameters to: only crons and batch jobs have")
		p.inapplicable(s.Retries != 0, "retries", "a service is restarted for as long as it is wanted: only crons and batch jobs have retries; see restart")
		p.inapplicable(s.Timeout != 0, "timeout", "a service runs until it is stopped: only crons and batch jobs have a timeout")
	case KindCron, KindBatch:
		p.run(s)
	case "":
		p.add("kind", nil, "is missing: it must be service, cron or batch")
	default:
		p.choice("kind", string(s.Kind), string(KindService), string(KindCron), string(KindBatch))
	}
}

// run refuses what only services have.
func (p *problems) run(s Spec) {
	a := "a " + string(s.Kind) + "'s runs "
	p.inapplicable(s.Instances != nil, "instances", a+"are one task each: only a service has instances")
	p.inapplicable(s.Ready != nil, "ready", a+"serve nobody: only a service's instances become ready")
	p.inapplicable(s.Restart != nil, "restart", a+"end: only a service is restarted; see retries")
	p.inapplicable(s.Update != nil, "update", a+"are left alone by a deploy: only a service is updated")
	p.inapplicable(s.Spread != "", "spread", a+"are placed one by one: only a service's instances are spread")
	switch {
	case s.Kind == KindCron && s.Schedule == nil:
		p.add("schedule", nil, "is missing: a cron needs one, for example {cron: \"*/5 * * * *\"}")
	case s.Kind == KindBatch && s.Schedule != nil:
		p.add("schedule", nil, "does not apply: a batch job runs when it is asked to; make it kind: cron to have it scheduled")
	}
}

func (p *problems) inapplicable(given bool, path, why string) {
	if given {
		p.add(path, nil, "does not apply: %s", why)
	}
}

func (p *problems) env(env map[string]string) {
	p.count("env", len(env), 1000)
	for _, name := range slices.Sorted(maps.Keys(env)) {
		at := strict.Join("env", name)
		switch {
		case !envName.MatchString(name):
			p.add(at, name, "%q is not a variable's name: it must be letters, digits and _, and not begin with a digit", strict.Shorten(name))
		case name == "PORT", name == "MESOS_SANDBOX", strings.HasPrefix(name, "PORT_"), strings.HasPrefix(name, "PARAM_"), strings.HasPrefix(name, "PERIGEE_"):
			p.add(at, name, "%s is Perigee's to set, as are PORT, PORT_*, PARAM_* and PERIGEE_*: choose another name", strict.Shorten(name))
		}
		p.text(at, env[name], 32<<10)
	}
}

func (p *problems) resources(r Resources) {
	const least, most = 0.01, 1024
	switch thousandths := r.CPUs * 1000; {
	case r.CPUs == 0:
		p.add("resources.cpus", nil, "is missing: it must be from %v to %d", least, most)
	case !(r.CPUs >= least && r.CPUs <= most): // so that NaN is refused too
		p.add("resources.cpus", nil, "is %v: it must be from %v to %d", r.CPUs, least, most)
	case math.Abs(thousandths-math.Round(thousandths)) > 1e-6:
		p.add("resources.cpus", r.CPUs, "is %v: Mesos counts thousandths; write %v", r.CPUs, math.Ceil(thousandths)/1000)
	}
	if r.Memory == 0 {
		p.add("resources.memory", nil, "is missing: write it as 64MiB or 2GiB")
	} else {
		p.bytes("resources.memory", r.Memory, MiB, 64*TiB)
	}
	p.bytes("resources.disk", r.Disk, 0, 1024*TiB)
}

func (p *problems) ports(ports []string) {
	p.count("ports", len(ports), 100)
	paths := make([]string, len(ports))
	for i, name := range ports {
		paths[i] = strict.Index("ports", i)
		if !portName.MatchString(name) {
			p.add(paths[i], name, "%q is not a port's name: it must be a lower-case letter, then up to 31 lower-case letters, digits, - and _ (the number is Perigee's to choose)", strict.Shorten(name))
		}
	}
	p.sameVariable(paths, ports, "PORT_")
}

// placement checks where tasks may run.
func (p *problems) placement(s Spec) {
	p.count("constraints", len(s.Constraints), 100)
	for i, c := range s.Constraints {
		at := strict.Index("constraints", i)
		if !p.line(at, c, 4096) {
			continue
		}
		if _, err := constraint.Parse(c); err != nil {
			p.add(at, c, "%v", err)
		}
	}
	p.count("limits", len(s.Limits), 16)
	for _, name := range slices.Sorted(maps.Keys(s.Limits)) {
		at := strict.Join("limits", name)
		p.attribute(at, name)
		p.number(at, s.Limits[name], 1, MaxInstances)
	}
	if s.Spread != "" {
		p.attribute("spread", s.Spread)
	}
	if u := s.Unreachable; u != nil {
		p.duration("unreachable.replace_after", u.ReplaceAfter, shortest, 365*day)
		if u.Never && u.ReplaceAfter != 0 {
			p.add("unreachable.replace_after", u.ReplaceAfter.String(), "contradicts never: true; leave out one of them")
		}
	}
}

func (p *problems) attribute(at, name string) {
	if !attribute.MatchString(name) {
		p.add(at, name, "%q is not an attribute's name: host, or up to 64 letters, digits, _, . and -", strict.Shorten(name))
	}
}

func (p *problems) schedule(s Spec) {
	c := s.Schedule
	if c == nil {
		return
	}
	if _, err := cron.Parse("@daily", c.Zone); err != nil {
		p.add("schedule.zone", c.Zone, "%v", err)
	}
	if p.line("schedule.cron", c.Cron, 1024) {
		if _, err := cron.Parse(c.Cron, ""); err != nil {
			p.add("schedule.cron", c.Cron, "%v", err)
		}
	}
	p.choice("schedule.overlap", string(c.Overlap), "forbid", "replace", "allow", "queue")
	p.choice("schedule.missed", string(c.Missed), "skip", "once", "all")
	p.duration("schedule.deadline", c.Deadline, shortest, week)
	p.optional("schedule.max_runs", c.MaxRuns, 1, 1000)
	p.optional("schedule.max_missed", c.MaxMissed, 1, 1000)
}

// notes checks what is there for people.
func (p *problems) notes(s Spec) {
	p.count("owners", len(s.Owners), 32)
	for i, o := range s.Owners {
		p.line(strict.Index("owners", i), o, 256)
	}
	p.count("labels", len(s.Labels), 64)
	for _, name := range slices.Sorted(maps.Keys(s.Labels)) {
		at := strict.Join("labels", name)
		if p.line(at, name, 128) {
			p.text(at, s.Labels[name], 1024)
		}
	}
}

func (p *problems) size(s Spec) {
	if len(*p) > 0 {
		return // what is too big was told, and canonical JSON may not exist
	}
	canonical, err := s.Canonical()
	switch {
	case err != nil:
		p.add("", nil, "%v", err)
	case len(canonical) > MaxSpec:
		p.add("", nil, "the spec is %d bytes as canonical JSON: at most %d are allowed; the most of it is %s: move what is big into an artifact",
			len(canonical), MaxSpec, biggest(canonical))
	}
}

// biggest names the fields of a spec that take the most bytes, at most three.
func biggest(canonical []byte) string {
	fields := map[string]json.RawMessage{}
	if json.Unmarshal(canonical, &fields) != nil {
		return "not known"
	}
	names := slices.SortedFunc(maps.Keys(fields), func(a, b string) int {
		return cmp.Or(cmp.Compare(len(fields[b]), len(fields[a])), cmp.Compare(a, b))
	})
	var told []string
	for _, name := range names[:min(len(names), 3)] {
		if len(fields[name]) > len(canonical)/10 {
			told = append(told, fmt.Sprintf("%s (%d bytes)", name, len(fields[name])))
		}
	}
	return strings.Join(told, ", ")
}
