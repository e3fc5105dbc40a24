package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/engine"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// past is a history: it has all events that ever became durable, up to behind, but
// for those up to gone.
type past struct {
	mu     sync.Mutex
	events []engine.Published
	gone   engine.EventID // what is up to it was dropped
	behind engine.EventID // what is after it is not there yet; none: all is
	err    error
	reads  int
}

func (p *past) Events(_ context.Context, after engine.EventID, limit int) ([]engine.Published, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reads++
	if p.err != nil {
		return nil, p.err
	}
	if after.Compare(p.gone) < 0 {
		return nil, &engine.GoneError{Oldest: p.gone.String()}
	}
	var found []engine.Published
	for _, e := range p.events {
		if e.ID.Incarnation == after.Incarnation && e.ID.Compare(after) > 0 && len(found) < limit &&
			(p.behind == engine.EventID{} || e.ID.Compare(p.behind) <= 0) {
			found = append(found, e)
		}
	}
	return found, nil
}

// Record implements engine.History.
func (p *past) Record(d engine.Durable) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range d.Events {
		if n := len(p.events); n == 0 || e.ID.Compare(p.events[n-1].ID) > 0 {
			p.events = append(p.events, e)
		}
	}
}

// Through implements engine.History.
func (p *past) Through() (uint64, bool) { return 0, false }

func (p *past) change(how func(*past)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	how(p)
}

// remember has history keep what the engine has now.
func (w *world) remember(p *past) {
	w.Helper()
	after := engine.EventID{Incarnation: "i1"}
	if n := len(p.events); n > 0 {
		after = p.events[n-1].ID
	}
	events, err := w.engine.After(after, 1<<30)
	require.NoError(w, err)
	p.change(func(p *past) { p.events = append(p.events, events...) })
}

// small keeps few events in the engine, and all in a history.
func (w *world) small() *past {
	p := new(past)
	w.keep = 40
	w.options = func(o *Options) { o.Backlog = p }
	return p
}

// busy has many events happen about a job, so that the engine keeps none from
// before.
func (w *world) busy(p *past, job string, n int) {
	w.Helper()
	for range n {
		w.tell(job, 1)
		w.remember(p)
	}
}

func ids(events []engine.Published, job string) []string {
	var all []string
	for _, p := range events {
		if p.Event.Job == job && (p.Event.Type == "job.paused" || p.Event.Type == "job.resumed") {
			all = append(all, p.ID.String())
		}
	}
	return all
}

func TestBacklog_IsReadFromHistory(t *testing.T) {
	inBubble(t, func(w *world) {
		p := w.small()
		c := w.consumer("consumer")
		w.start()
		w.job("web/prod/shop")
		w.remember(p)
		w.hook("http://consumer/", func(r *record.Webhook) { r.From = engine.EventID{Incarnation: "i1"}.Position() })
		w.busy(p, "web/prod/shop", 10)
		c.answers(status(http.StatusInternalServerError))
		w.busy(p, "web/prod/shop", windowMost+500) // more than it may hold
		w.crash()
		w.start()
		w.busy(p, "web/prod/shop", 200)
		c.answers(ok)
		w.pass(2 * time.Hour)
		require.Equal(w, ids(p.events, "web/prod/shop"), w.delivered(c)["web/prod/shop"])
		require.NotZero(w, p.reads)
	})
}

// jumped has a webhook told of runs by a scheduler that keeps few events, many more
// of which happen at once, and its history be behind; its consumer answers so.
func (w *world) jumped(answer func(http.ResponseWriter, *http.Request, *api.Event)) (*past, *consumer) {
	p := w.small()
	w.record = p
	c := w.consumer("consumer")
	c.answers(answer)
	w.start()
	spec := api.Spec{Job: "web/prod/load", Kind: api.KindBatch, Command: "./x", Resources: api.Resources{CPUs: 0.1, Memory: 64 * api.MiB}}
	canonical, err := spec.Canonical()
	require.NoError(w, err)
	w.do(core.PutJob{Spec: &spec, Canonical: canonical})
	w.hook("http://consumer/", func(r *record.Webhook) { r.Types = []string{"run.*"} })
	w.do(core.StartRuns{Job: "web/prod/load", Runs: make([]core.NewRun, 1)})
	w.pass(20 * time.Second) // it is saved that it is at the tail, but for the one
	p.change(func(p *past) { p.behind = w.engine.Newest() })
	w.do(core.StartRuns{Job: "web/prod/load", Runs: make([]core.NewRun, 200)})
	return p, c
}

// wantAll wants that a consumer is told of all runs once it takes any.
func (w *world) wantAll(p *past, c *consumer) {
	w.Helper()
	p.change(func(p *past) { p.behind = engine.EventID{} })
	c.answers(ok)
	w.pass(2 * time.Hour)
	var want []string
	for _, e := range p.events {
		if e.Event.Job == "web/prod/load" && strings.HasPrefix(e.Event.Type, "run.") {
			want = append(want, e.ID.String())
		}
	}
	require.Len(w, want, 201)
	require.Equal(w, want, w.delivered(c)["web/prod/load"])
}

// What came too fast is not skipped by the next leader.
func TestBacklog_WhatWasJumpedOverIsTold(t *testing.T) {
	inBubble(t, func(w *world) {
		p, c := w.jumped(status(http.StatusInternalServerError))
		w.end()
		w.start()
		w.wantAll(p, c)
	})
}

func TestBacklog_WhatWasJumpedOverIsToldAfterACrash(t *testing.T) {
	inBubble(t, func(w *world) {
		p, c := w.jumped(status(http.StatusInternalServerError))
		w.pass(30 * time.Second)
		w.crash()
		w.start()
		w.wantAll(p, c)
	})
}

// One that was at the tail, and is not any more when another begins to lead, is not
// skipped by the one after that.
func TestBacklog_WhatTheTailLeftBehindIsTold(t *testing.T) {
	inBubble(t, func(w *world) {
		p, c := w.jumped(ok)
		w.crash()
		w.start()
		w.pass(30 * time.Second)
		w.crash()
		w.start()
		w.wantAll(p, c)
	})
}

// While history cannot be read, or is behind, nothing is skipped, and it is said.
func TestBacklog_WaitsForHistory(t *testing.T) {
	inBubble(t, func(w *world) {
		p := w.small()
		c := w.consumer("consumer")
		w.start()
		w.job("web/prod/shop")
		w.remember(p)
		id := w.hook("http://consumer/")
		w.do(core.DisableWebhook{ID: id, Reason: "moves"})
		w.busy(p, "web/prod/shop", 100)
		p.change(func(p *past) { p.err = errors.New("disk on fire") })
		w.do(core.EnableWebhook{ID: id})
		w.remember(p)
		w.pass(10 * time.Second)
		require.Empty(w, c.all())
		require.Equal(w, "history cannot be read: disk on fire", w.deliveries(id).NotRead)
		p.change(func(p *past) { p.err, p.behind = nil, engine.EventID{Incarnation: "i1", Index: 1} })
		w.pass(10 * time.Second)
		require.Equal(w, "history has not got that far yet", w.deliveries(id).NotRead)
		p.change(func(p *past) { p.behind = engine.EventID{} })
		w.pass(10 * time.Second)
		require.Equal(w, ids(p.events, "web/prod/shop"), c.byJob()["web/prod/shop"])
		d := w.deliveries(id)
		require.Empty(w, d.NotRead)
		require.Empty(w, d.Reading)
		require.Empty(w, d.Gaps)
	})
}

// What nobody has any more is told of as such: where it was, never silently.
func TestBacklog_AGapIsTold(t *testing.T) {
	inBubble(t, func(w *world) {
		p := w.small()
		c := w.consumer("consumer")
		w.start()
		w.job("web/prod/shop")
		w.remember(p)
		id := w.hook("http://consumer/")
		w.do(core.DisableWebhook{ID: id, Reason: "moves"})
		w.busy(p, "web/prod/shop", 100)
		all := ids(p.events, "web/prod/shop")
		gone, err := engine.ParseEventID(all[29])
		require.NoError(w, err)
		p.change(func(p *past) { p.gone = gone })
		before := w.deliveries(id).Through
		w.do(core.EnableWebhook{ID: id})
		w.remember(p)
		w.pass(10 * time.Second)
		require.Equal(w, all[30:], c.byJob()["web/prod/shop"])
		d := w.deliveries(id)
		require.Len(w, d.Gaps, 1)
		require.Equal(w, before, d.Gaps[0].After)
		require.Equal(w, all[29], d.Gaps[0].Through)
		w.crash()
		w.start()
		w.pass(time.Second)
		require.Equal(w, d.Gaps, w.deliveries(id).Gaps, "it is not forgotten")
	})
}

// Without a history the engine's own log is all there is.
func TestBacklog_WithoutHistoryTheGapIsTold(t *testing.T) {
	inBubble(t, func(w *world) {
		w.keep = 40
		c := w.consumer("consumer")
		w.start()
		w.job("web/prod/shop")
		id := w.hook("http://consumer/")
		w.do(core.DisableWebhook{ID: id, Reason: "moves"})
		w.tell("web/prod/shop", 100)
		w.do(core.EnableWebhook{ID: id})
		w.pass(10 * time.Second)
		require.NotEmpty(w, c.all())
		require.Less(w, len(c.all()), 100)
		require.Len(w, w.deliveries(id).Gaps, 1)
	})
}

// A pending event whose content is gone is counted.
func TestBacklog_APendingEventThatIsGoneIsCounted(t *testing.T) {
	inBubble(t, func(w *world) {
		p := w.small()
		c := w.consumer("consumer")
		w.start()
		w.job("web/prod/shop")
		w.job("web/prod/other")
		w.remember(p)
		id := w.hook("http://consumer/")
		c.answers(func(rw http.ResponseWriter, _ *http.Request, e *api.Event) {
			if e.Data.Job == "web/prod/shop" {
				rw.WriteHeader(http.StatusInternalServerError)
			}
		})
		w.busy(p, "web/prod/shop", 1)
		w.busy(p, "web/prod/other", 100)
		w.pass(2 * time.Second)
		cursor, err := w.webhook(id)
		require.NoError(w, err)
		require.Len(w, cursor.Pending, 1)
		require.True(w, cursor.AtTail)
		w.crash()
		p.change(func(p *past) { p.gone = p.events[len(p.events)-50].ID })
		c.forget()
		w.start()
		w.pass(time.Hour)
		require.Empty(w, c.byJob()["web/prod/shop"])
		require.EqualValues(w, 1, w.deliveries(id).Untold)
		w.tell("web/prod/other", 1)
		require.Len(w, c.byJob()["web/prod/other"], 1, "it goes on")
	})
}

// The content of a dead letter comes from history, long after.
func TestRedelivery_ReadsHistory(t *testing.T) {
	inBubble(t, func(w *world) {
		p := w.small()
		w.options = func(o *Options) { o.Backlog, o.RetryFor = p, time.Minute }
		c := w.consumer("consumer")
		c.answers(status(http.StatusTeapot))
		w.start()
		w.job("web/prod/shop")
		w.job("web/prod/other")
		w.remember(p)
		id := w.hook("http://consumer/", func(r *record.Webhook) { r.Job = "web/prod/shop" })
		w.busy(p, "web/prod/shop", 2)
		w.pass(time.Hour)
		w.busy(p, "web/prod/other", 100)
		want := ids(p.events, "web/prod/shop")
		p.change(func(p *past) { p.gone = engine.IDAt(w.dead(id)[0].At) })
		c.answers(ok)
		c.forget()
		w.do(core.Redeliver{ID: id})
		w.pass(time.Minute)
		require.Equal(w, want[1:], c.byJob()["web/prod/shop"])
		dead := w.dead(id)
		require.Len(w, dead, 1)
		require.Equal(w, "its content is no longer kept", dead[0].Error)
		require.Zero(w, dead[0].RedeliverAt)
	})
}

// counting is a network without HTTP, for very many deliveries: it counts what
// comes, by host, and refuses connections of hosts that are dead.
type counting struct {
	mu   sync.Mutex
	dead map[string]bool
	got  map[string]map[string][]string // ids by host and job
}

func (c *counting) RoundTrip(r *http.Request) (*http.Response, error) {
	var e api.Event
	if err := json.NewDecoder(r.Body).Decode(&e); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead[r.Host] {
		return nil, errors.New("connection refused")
	}
	if c.got[r.Host] == nil {
		c.got[r.Host] = map[string][]string{}
	}
	c.got[r.Host][e.Data.Job] = append(c.got[r.Host][e.Data.Job], e.ID)
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Request: r}, nil
}

func (c *counting) die(host string, dead bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dead[host] = dead
}

// A dead consumer among many events takes bounded memory and bounded space in the
// journal, and changes nothing for another.
func TestBacklog_ADeadConsumerIsBounded(t *testing.T) {
	inBubble(t, func(w *world) {
		p := w.small()
		w.keep = 20_000
		c := &counting{dead: map[string]bool{"dead": true}, got: map[string]map[string][]string{}}
		w.options = func(o *Options) { o.Backlog, o.Transport = p, c }
		w.start()
		var jobs []string
		for i := range 50 {
			jobs = append(jobs, fmt.Sprint("web/prod/shop-", i))
			w.job(jobs[i])
		}
		dead, alive := w.hook("http://dead/"), w.hook("http://alive/", func(r *record.Webhook) { r.Job = jobs[7] })
		w.remember(p)
		const all = 100_000
		for n := 0; n < all; {
			var asked sync.WaitGroup
			for _, job := range jobs {
				asked.Go(func() {
					if _, _, err := w.engine.Do(w.Context(), core.Request{Actor: "ann", Op: w.event(job)}); err != nil {
						w.Error(err)
					}
				})
				n++
			}
			asked.Wait()
			if n%10_000 == 0 {
				w.remember(p)
				w.pass(time.Second)
				require.LessOrEqual(w, w.deliveries(dead).Waiting, windowMost)
				require.LessOrEqual(w, w.runner.Stats.Bytes.Load(), int64(windowBytes))
				require.EqualValues(w, n/len(jobs), w.deliveries(alive).Delivered)
			}
		}
		cursor, err := w.webhook(dead)
		require.NoError(w, err)
		require.Less(w, len(cursor.Pending), 50, "what was not tried is not named")
		w.Logf("a dead consumer and %d events: %d KiB held, %d pending in the journal", all, w.runner.Stats.Bytes.Load()>>10, len(cursor.Pending))
		c.die("dead", false)
		w.pass(2 * time.Hour)
		require.EqualValues(w, all, w.deliveries(dead).Delivered)
		for _, job := range jobs {
			require.Equal(w, ids(p.events, job), c.got["dead"][job])
		}
		require.Equal(w, map[string][]string{jobs[7]: ids(p.events, jobs[7])}, c.got["alive"])
	})
}
