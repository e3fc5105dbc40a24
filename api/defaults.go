package api

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
)

// What a spec that does not say gets.
const (
	DefaultHealthInterval = Duration(5 * time.Second)
	DefaultHealthTimeout  = Duration(5 * time.Second)
	DefaultHealthStartup  = Duration(60 * time.Second)
	DefaultHealthFailures = 3
	DefaultReadyAfter     = Duration(5 * time.Second) // without a health check
	DefaultRestartMin     = Duration(time.Second)
	DefaultRestartMax     = Duration(5 * time.Minute)
	DefaultRestartReset   = Duration(5 * time.Minute)
	DefaultStopGrace      = Duration(10 * time.Second)
	DefaultUpdateDeadline = Duration(10 * time.Minute)
	DefaultUpdateKeep     = Duration(5 * time.Minute) // of blue-green
	DefaultUpdateRetries  = 2
	DefaultGateInterval   = Duration(10 * time.Second)
	DefaultGateDeadline   = Duration(10 * time.Minute)
	DefaultLogSize        = 16 * MiB
	DefaultLogKeep        = 4
	DefaultCronDeadline   = Duration(time.Minute)
	DefaultCronMax        = 10 // MaxRuns, MaxMissed
)

// WithDefaults returns a copy of s in which everything that was left out is
// filled in, except User and Unreachable, which a scheduler's configuration has
// defaults for. The copy shares nothing with s that WithDefaults sets; it still
// shares, for reading, what that leaves alone (environment, labels, lists of
// strings). It is idempotent.
func (s Spec) WithDefaults() Spec {
	s.Artifacts = slices.Clone(s.Artifacts)
	for i := range s.Artifacts {
		s.Artifacts[i].fill()
	}
	s.Health = s.Health.filled()
	s.Stop = orNew(s.Stop)
	s.Stop.Grace = or(s.Stop.Grace, DefaultStopGrace)
	s.Logs = orNew(s.Logs)
	fill(&s.Logs.Size, DefaultLogSize)
	fill(&s.Logs.Keep, DefaultLogKeep)
	if s.Kind == KindService {
		s.fillService()
	}
	s.Schedule = s.Schedule.filled()
	s.Parameters = maps.Clone(s.Parameters)
	for name, p := range s.Parameters {
		fill(&p.Type, ParameterString)
		s.Parameters[name] = p
	}
	return s
}

func (s *Spec) fillService() {
	s.Instances = or(s.Instances, 1)
	s.Ready = orNew(s.Ready)
	if s.Health != nil {
		fill(&s.Ready.Successes, 1)
		s.Ready.After = or(s.Ready.After, 0)
	} else {
		s.Ready.After = or(s.Ready.After, DefaultReadyAfter)
	}
	s.Restart = orNew(s.Restart)
	fill(&s.Restart.Min, min(DefaultRestartMin, cmp.Or(s.Restart.Max, DefaultRestartMin)))
	fill(&s.Restart.Max, max(DefaultRestartMax, s.Restart.Min))
	fill(&s.Restart.Reset, DefaultRestartReset)
	s.Update = s.Update.filled()
}

func (h *Health) filled() *Health {
	if h == nil {
		return nil
	}
	h = orNew(h)
	if h.HTTP != nil {
		h.HTTP = orNew(h.HTTP)
		fill(&h.HTTP.Path, "/healthz")
		fill(&h.HTTP.Scheme, "http")
	}
	fill(&h.Interval, DefaultHealthInterval)
	fill(&h.Timeout, DefaultHealthTimeout)
	fill(&h.Startup, DefaultHealthStartup)
	fill(&h.Failures, DefaultHealthFailures)
	return h
}

func (s *Schedule) filled() *Schedule {
	if s == nil {
		return nil
	}
	s = orNew(s)
	fill(&s.Zone, "UTC")
	fill(&s.Overlap, OverlapForbid)
	fill(&s.Missed, MissedSkip)
	fill(&s.Deadline, DefaultCronDeadline)
	fill(&s.MaxRuns, DefaultCronMax)
	fill(&s.MaxMissed, DefaultCronMax)
	return s
}

func (a *Artifact) fill() {
	a.SHA256 = strings.ToLower(a.SHA256)
	a.Name = a.FileName()
	a.Unpack = or(a.Unpack, a.Archive())
	a.Executable = or(a.Executable, !*a.Unpack)
}

// notZero names the fields where a 0 that is written out would silently be
// replaced by a default, with that default.
var notZero = map[string]any{
	"health.interval":           DefaultHealthInterval,
	"health.timeout":            DefaultHealthTimeout,
	"health.startup":            DefaultHealthStartup,
	"health.failures":           DefaultHealthFailures,
	"ready.successes":           1,
	"restart.min":               DefaultRestartMin,
	"restart.max":               DefaultRestartMax,
	"restart.reset":             DefaultRestartReset,
	"update.deadline":           DefaultUpdateDeadline,
	"logs.size":                 DefaultLogSize,
	"logs.keep":                 DefaultLogKeep,
	"unreachable.replace_after": "the scheduler's",
	"schedule.deadline":         DefaultCronDeadline,
	"schedule.max_runs":         DefaultCronMax,
	"schedule.max_missed":       DefaultCronMax,
}

// fill sets v to a default if it is zero.
func fill[T comparable](v *T, def T) { *v = cmp.Or(*v, def) }

// or returns p, or a pointer to a default.
func or[T any](p *T, def T) *T {
	if p == nil {
		return &def
	}
	return p
}

// orNew returns a pointer to a copy of what p points to, or to a zero T.
func orNew[T any](p *T) *T {
	c := new(T)
	if p != nil {
		*c = *p
	}
	return c
}
