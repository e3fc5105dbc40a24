package core

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/perigee-sched/perigee/scheduler/record"
)

// auditText bounds each text that the audit trail tells of what was changed, in
// bytes. There are few of them, so that an event stays small whatever is written:
// of a spec, which is up to 128 KiB, it tells which deploy has it.
const auditText = 1024

// aspect is one thing that may be changed of a subject: a string, a bool, or an
// int64.
type aspect struct {
	name  string
	value any
}

// look tells all of a subject that a user may change, nil when there is none. It
// tells no secret, no hash, and of a spec only which it is.
func (c *Core) look(s subject) []aspect {
	switch {
	case s.task != nil:
		rec := s.task.rec
		return []aspect{{"state", StateName(rec.State)}, {"stop_reason", bounded(rec.StopReason)}, {"replace", rec.Replace}, {"not_before", moment(rec.NotBefore)}}
	case s.run != nil:
		rec := s.run.rec
		return []aspect{{"state", StateName(rec.State)}, {"cancelled", rec.Cancel || rec.State == record.RunState_RUN_STATE_CANCELLED}, {"reason", bounded(rec.Reason)}}
	case s.job != "":
		return c.lookAtJob(s.job)
	case s.group != "":
		return c.lookAtGroup(s.group)
	case s.webhook != "":
		return c.lookAtWebhook(s.webhook)
	case s.token != "":
		return c.lookAtToken(s.token)
	}
	return nil
}

func (c *Core) lookAtJob(key string) []aspect {
	j := c.jobs[key]
	if j == nil {
		return nil
	}
	digest := ""
	if d := j.target(); d != nil {
		digest = d.rec.Digest
	}
	all := []aspect{{"deploy", int64(j.rec.Deploy)}, {"digest", digest}, {"instances", int64(j.rec.Instances)}, {"paused", j.rec.Paused},
		{"pause_reason", bounded(j.rec.PauseReason)}, {"skip_health", j.rec.SkipHealth}, {"removing", j.rec.Removing}}
	for _, t := range j.rec.Timed {
		all = append(all, aspect{strings.ToLower(strings.TrimPrefix(t.Action.String(), "TIMED_ACTION_")) + "_until", moment(t.Until)})
	}
	if r := j.rollout; r != nil {
		all = append(all, aspect{"in_progress", int64(r.rec.Deploy)}, aspect{"deploy_paused", r.rec.Paused}, aspect{"step", int64(r.rec.Step) + 1},
			aspect{"promoted", r.rec.Promoted}, aspect{"promoted_fully", r.rec.PromotedFully},
			aspect{"returning", r.rec.Phase == phaseReturning}, aspect{"pulse_missed", r.rec.PulseMissed})
	}
	return all
}

func (c *Core) lookAtGroup(id string) []aspect {
	g := c.deployGroups.byID[id]
	if g == nil {
		return nil
	}
	jobs := make([]string, len(g.rec.Members))
	for i, m := range g.rec.Members {
		jobs[i] = m.Job
	}
	return []aspect{{"state", StateName(g.rec.State)}, {"reason", bounded(g.rec.Reason)}, {"jobs", bounded(strings.Join(jobs, " "))}}
}

func (c *Core) lookAtWebhook(id string) []aspect {
	w := c.webhooks[id]
	if w == nil {
		return nil
	}
	newest := int64(0)
	if len(w.rec.Secrets) > 0 {
		newest = w.rec.Secrets[0].CreatedAt
	}
	from := ""
	if w.rec.From != nil {
		from = fmt.Sprintf("%s-%d", w.rec.From.Incarnation, w.rec.From.Index)
	}
	return []aspect{{"team", w.rec.Team}, {"job", w.rec.Job}, {"types", bounded(strings.Join(w.rec.Types, ","))}, {"url", bounded(withoutSecrets(w.rec.Url))},
		{"description", bounded(w.rec.Description)}, {"disabled", w.rec.Disabled}, {"reason", bounded(w.rec.DisabledReason)}, {"begins_after", from},
		{"secret_made_at", moment(newest)}, {"secrets", int64(len(w.rec.Secrets))}, {"dead_letters", int64(len(w.dead))}}
}

// withoutSecrets is a URL as far as its host. What follows may be a secret, as it is
// of chat services: a part of its hash tells whether it was changed.
func withoutSecrets(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return ""
	}
	out := u.Scheme + "://" + u.Host
	if text != out && text != out+"/" {
		sum := sha256.Sum256([]byte(text))
		out += "/… (sha256 " + hex.EncodeToString(sum[:4]) + ")"
	}
	return out
}

func (c *Core) lookAtToken(id string) []aspect {
	t := c.tokens[id]
	if t == nil {
		return nil
	}
	return []aspect{{"team", t.Team}, {"role", t.Role}, {"stages", bounded(strings.Join(t.Stages, " "))}, {"description", bounded(t.Description)},
		{"expires_at", moment(t.ExpiresAt)}, {"revoked_at", moment(t.RevokedAt)}}
}

// asked adds what is asked for and shows in nothing that may be looked at.
func (c *Core) asked(is map[string]any, op Op, result Result) map[string]any {
	add := func(name string, value any) {
		if is == nil {
			is = map[string]any{}
		}
		is[name] = value
	}
	switch op := op.(type) {
	case RestartInstance:
		add("restarted_instance", op.Instance)
	case Redeliver:
		add("to_redeliver", result.Count)
	case SteerDeploy:
		if op.Action == SteerPulse {
			add("pulse_at", moment(c.now))
		}
	}
	return is
}

// moment is a time as people read it, "" for none.
func moment(ms int64) string {
	if ms == 0 {
		return ""
	}
	return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z07:00")
}

// bounded cuts a text that is long.
func bounded(s string) string {
	if len(s) <= auditText {
		return s
	}
	return firstBytes(s, auditText) + "…"
}

// started tells which runs were started, in few words.
func started(n int, ids []string) []byte {
	out := struct {
		Runs  int    `json:"runs"`
		First string `json:"first,omitempty"`
		Last  string `json:"last,omitempty"`
	}{Runs: n}
	if len(ids) > 0 {
		out.First = ids[0]
	}
	if len(ids) > 1 {
		out.Last = ids[len(ids)-1]
	}
	return encoded(out)
}

// differing is what differs. Either is nil where there was nothing, or is nothing
// any more; what has no value is told only where the other has one.
func differing(before, after []aspect) (was, is map[string]any) {
	was, is = valuesOf(before), valuesOf(after)
	for name, value := range was {
		now, still := is[name]
		switch {
		case still && now == value:
			delete(was, name)
			delete(is, name)
		case !still && none(value):
			delete(was, name)
		}
	}
	for name, value := range is {
		if _, before := was[name]; !before && none(value) {
			delete(is, name)
		}
	}
	return was, is
}

func valuesOf(all []aspect) map[string]any {
	if all == nil {
		return nil
	}
	out := make(map[string]any, len(all))
	for _, a := range all {
		out[a.name] = a.value
	}
	return out
}

func none(value any) bool { return value == "" || value == false || value == int64(0) }

// encoded is JSON, sorted by name, so that it is a function of what it is given;
// nothing for a nil map.
func encoded(values any) []byte {
	if m, ok := values.(map[string]any); ok && m == nil {
		return nil
	}
	b, err := json.Marshal(values)
	if err != nil {
		panic(err) // strings, numbers and booleans by name
	}
	return b
}
