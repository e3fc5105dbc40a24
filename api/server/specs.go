package server

import (
	"sync"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/cron"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// specs remembers specs that were read, by digest, since they never change and
// every job of a list needs its own.
type specs struct {
	mu     sync.RWMutex
	parsed map[string]*parsedSpec
}

// parsedSpec is a spec with defaults filled in, and its schedule if it has one.
type parsedSpec struct {
	spec     api.Spec
	schedule *cron.Schedule
}

// maxSpecs bounds the memory that is used; all go when there are more.
const maxSpecs = 20_000

func newSpecs() *specs { return &specs{parsed: map[string]*parsedSpec{}} }

// of returns the spec of a deploy, nil when there is none or a newer version
// wrote it so that it cannot be read.
func (s *specs) of(d *record.Deploy) *parsedSpec {
	if d == nil {
		return nil
	}
	s.mu.RLock()
	p, known := s.parsed[d.Digest]
	s.mu.RUnlock()
	if known {
		return p
	}
	if spec, err := api.ParseSpec(d.Spec); err == nil {
		p = &parsedSpec{spec: spec.WithDefaults()}
		if sch := p.spec.Schedule; sch != nil {
			p.schedule, _ = cron.Parse(sch.Cron, sch.Zone)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.parsed) >= maxSpecs {
		clear(s.parsed)
	}
	s.parsed[d.Digest] = p
	return p
}
