package webhook

import (
	"path"
	"slices"
	"strings"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// matcher says which events a webhook is told of.
type matcher struct {
	team  string // with the slash behind it; "": all events
	job   pattern
	types []pattern // none: all
}

func newMatcher(w *record.Webhook) matcher {
	m := matcher{job: newPattern(w.Job)}
	if w.Team != api.AllTeams {
		m.team = w.Team + "/"
	}
	for _, t := range w.Types {
		m.types = append(m.types, newPattern(t))
	}
	return m
}

func (m *matcher) matches(job, typ string) bool {
	if !m.ofJob(job) {
		return false
	}
	audit := typ == api.AuditType
	if len(m.types) == 0 {
		return !audit
	}
	return slices.ContainsFunc(m.types, func(p pattern) bool { return p.matches(typ) && (!audit || api.AsksForAudit(p.text)) })
}

func (m *matcher) ofJob(job string) bool {
	return strings.HasPrefix(job, m.team) && (m.job.text == "" || m.job.matches(job))
}

// pattern of names, where * stands for anything within one part.
type pattern struct {
	text string
	wild bool
}

func newPattern(text string) pattern { return pattern{text, strings.ContainsAny(text, `*?[\`)} }

func (p pattern) matches(s string) bool {
	if !p.wild {
		return s == p.text
	}
	ok, _ := path.Match(p.text, s) // a pattern that is none matches nothing
	return ok
}

// index finds the subscriptions that are told of an event. What it found is kept:
// events of the same job and type come again and again.
type index struct {
	teams map[string][]*subscription // by their team
	found map[about][]*subscription
}

// about is all that who is told of an event depends on.
type about struct{ job, typ string }

// foundMost bounds what an index keeps.
const foundMost = 50_000

func newIndex(subs map[string]*subscription) *index {
	x := &index{teams: map[string][]*subscription{}, found: map[about][]*subscription{}}
	for _, s := range subs {
		x.teams[s.hook.Team] = append(x.teams[s.hook.Team], s)
	}
	return x
}

// of returns the subscriptions that are told of an event.
func (x *index) of(e *record.Event) []*subscription {
	key := about{e.Job, e.Type}
	found, ok := x.found[key]
	if !ok {
		team, _, _ := strings.Cut(e.Job, "/")
		for _, list := range [][]*subscription{x.teams[api.AllTeams], x.teams[team]} {
			for _, s := range list {
				if s.wants.matches(e.Job, e.Type) {
					found = append(found, s)
				}
			}
		}
		if len(x.found) >= foundMost {
			clear(x.found)
		}
		x.found[key] = found
	}
	return found
}
