package webhook

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/engine"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// watched is an engine whose saves are counted, and may fail.
type watched struct {
	*engine.Engine
	mu    sync.Mutex
	saves []save
	fail  error
}

// save is one request that saves, and when it was made.
type save struct {
	at time.Time
	op core.SaveDeliveries
}

func (e *watched) Do(ctx context.Context, r core.Request) (core.Result, *engine.View, error) {
	if op, is := r.Op.(core.SaveDeliveries); is {
		e.mu.Lock()
		e.saves = append(e.saves, save{time.Now(), op})
		fail := e.fail
		e.mu.Unlock()
		if fail != nil {
			return core.Result{}, nil, fail
		}
	}
	return e.Engine.Do(ctx, r)
}

func (e *watched) all() []save {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]save(nil), e.saves...)
}

func (e *watched) failWith(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.fail = err
}

// watch has saves counted.
func (w *world) watch() *watched {
	e := new(watched)
	w.options = func(o *Options) {
		e.Engine = w.engine
		o.Engine = e
	}
	return e
}

// However much happens, all is saved in one request, at most once a second; and
// nothing when nothing happens.
func TestSave_IsMadeOnceASecond(t *testing.T) {
	inBubble(t, func(w *world) {
		e := w.watch()
		for _, host := range []string{"a", "b", "c"} {
			w.consumer(host)
		}
		w.consumers["c"].answers(status(http.StatusInternalServerError))
		w.start()
		for i := range 4 {
			w.job(fmt.Sprint("web/prod/shop-", i))
		}
		for _, host := range []string{"a", "b", "c"} {
			w.hook("http://" + host + "/")
		}
		for i := range 200 {
			w.tell(fmt.Sprint("web/prod/shop-", i%4), 1)
			w.pass(50 * time.Millisecond)
		}
		w.pass(2 * time.Second)
		saves := e.all()
		require.InDelta(w, 12, len(saves), 2, "10 s")
		bytes := 0
		for i, s := range saves {
			if i > 0 {
				require.GreaterOrEqual(w, s.at.Sub(saves[i-1].at), time.Second)
			}
			for _, d := range s.op.Webhooks {
				bytes += proto.Size(d.Cursor)
			}
		}
		w.Logf("%d saves of 3 webhooks, one of which fails, take %d bytes", len(saves), bytes)
		require.Less(w, bytes, 200*len(saves))
		w.pass(30 * time.Second)
		n := len(e.all())
		w.pass(20 * time.Second)
		require.Less(w, len(e.all())-n, 3, "only the dead one's attempts")
	})
}

// Of webhooks that are told of nothing, nothing is written but how far all are, now
// and then.
func TestSave_CostsNothingForWebhooksThatAreToldOfNothing(t *testing.T) {
	inBubble(t, func(w *world) {
		e := w.watch()
		w.start()
		w.job("web/prod/shop")
		for i := range 20 {
			w.hook(fmt.Sprintf("http://c%d/", i), func(r *record.Webhook) { r.Job = "web/prod/other" })
		}
		w.pass(time.Minute)
		n := len(e.all())
		for range 600 {
			w.tell("web/prod/shop", 1)
			w.pass(100 * time.Millisecond)
		}
		saves := e.all()[n:]
		require.LessOrEqual(w, len(saves), 7, "of a minute")
		for _, s := range saves {
			require.Empty(w, s.op.Webhooks)
			require.NotNil(w, s.op.Tail)
		}
		w.crash()
		w.start()
		w.pass(time.Second)
		require.Empty(w, w.deliveries(w.someHook()).Reading)
	})
}

// someHook is the id of a webhook.
func (w *world) someHook() string {
	id := ""
	w.engine.View().Webhooks("", func(r *record.Webhook) bool { id = r.Id; return false })
	return id
}

// A leader that is killed has its deliveries of the last second repeated, at most,
// and none lost, whenever that is.
func TestFailover_LosesNothingAndRepeatsASecond(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.consumer("consumer")
		w.start()
		var jobs []string
		for i := range 5 {
			jobs = append(jobs, fmt.Sprint("web/prod/shop-", i))
			w.job(jobs[i])
		}
		w.hook("http://consumer/")
		c.answers(func(rw http.ResponseWriter, _ *http.Request, e *api.Event) {
			time.Sleep(30 * time.Millisecond)
			if len(e.ID)%7 == 0 {
				rw.WriteHeader(http.StatusServiceUnavailable)
			}
		})
		for round := range 12 {
			for i := range 100 {
				w.tell(jobs[(i*i+round)%5], 1)
				w.pass(20 * time.Millisecond)
			}
			w.pass(time.Duration(round) * 130 * time.Millisecond)
			w.crash()
			w.start()
		}
		c.answers(ok)
		w.pass(3 * time.Hour)
		got, want := c.byJob(), w.happened("job.paused", "job.resumed")
		require.Equal(w, want, w.delivered(c), "none is lost, and all are in order")
		events, all := 0, len(c.all())
		for _, list := range got {
			events += len(list)
		}
		w.Logf("%d deliveries of %d events over 12 kills", all, events)
		require.Less(w, all-events, 12*70, "repeated")
	})
}

// A scheduler that hands over has nothing repeated.
func TestLeave_SavesAllBeforeItHandsOver(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.consumer("consumer")
		w.start()
		w.job("web/prod/shop")
		w.hook("http://consumer/")
		c.answers(func(http.ResponseWriter, *http.Request, *api.Event) { time.Sleep(100 * time.Millisecond) })
		w.tell("web/prod/shop", 6)
		w.pass(250 * time.Millisecond)
		begun := time.Now()
		w.end()
		require.LessOrEqual(w, time.Since(begun), leaveGrace)
		w.start()
		w.pass(10 * time.Second)
		require.Len(w, c.all(), 6)
		require.Equal(w, w.happened("job.paused", "job.resumed"), c.byJob())

		c.answers(func(_ http.ResponseWriter, r *http.Request, _ *api.Event) { <-r.Context().Done() })
		w.tell("web/prod/shop", 1)
		begun = time.Now()
		w.end()
		require.LessOrEqual(w, time.Since(begun), 2*leaveGrace, "nobody waits for a consumer that stalls")
		c.answers(ok)
		w.start()
		w.pass(time.Second)
		require.Len(w, c.byJob()["web/prod/shop"], 7)
	})
}

// What cannot be saved is delivered all the same, and saved later.
func TestSave_ThatFailsIsMadeAgain(t *testing.T) {
	inBubble(t, func(w *world) {
		e := w.watch()
		c := w.consumer("consumer")
		c.answers(status(http.StatusTeapot))
		retry := w.options
		w.options = func(o *Options) { retry(o); o.RetryFor = time.Minute }
		w.start()
		w.job("web/prod/shop")
		id := w.hook("http://consumer/")
		e.failWith(errors.New("disk on fire"))
		w.tell("web/prod/shop", 2)
		w.pass(time.Hour)
		require.Empty(w, w.dead(id))
		e.failWith(nil)
		w.pass(2 * time.Second)
		require.Len(w, w.dead(id), 2)
		cursor, err := w.webhook(id)
		require.NoError(w, err)
		require.Equal(w, "answered 418", cursor.LastError)
	})
}

// A save that crosses a user's change is made again, and takes nothing back.
func TestSave_ThatCrossesAChangeIsMadeAgain(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.consumer("consumer")
		c.answers(status(http.StatusTeapot))
		w.options = func(o *Options) { o.RetryFor = time.Minute }
		w.start()
		w.job("web/prod/shop")
		id := w.hook("http://consumer/")
		w.tell("web/prod/shop", 1)
		w.pass(61 * time.Second)
		for len(w.dead(id)) == 0 { // the dead letter is about to be saved
			_, _, err := w.engine.Do(w.Context(), core.Request{Actor: "ann", Op: core.RotateSecret{ID: id, Keep: 1000,
				Secret: api.WebhookSecretOf([]byte(time.Now().Format("2006-01-02T15:04:05.000000000")))}})
			require.NoError(w, err)
			w.pass(10 * time.Millisecond)
		}
		require.Len(w, w.dead(id), 1)
		require.Greater(w, w.engine.View().Webhook(id).Revision, uint64(1))
		w.do(core.UpdateWebhook{ID: id, URL: "http://consumer/other", Types: []string{"job.paused"}})
		w.pass(2 * time.Second)
		require.Equal(w, "http://consumer/other", w.engine.View().Webhook(id).Url)
	})
}

// After a restore from a backup the events are those of a new incarnation: what
// was pending is delivered if history has it.
func TestRestore_BeginsWithTheNewIncarnation(t *testing.T) {
	t.Parallel()
	p := &policy{retryFor: time.Hour, jitter: func() float64 { return 0.5 }, incarnation: "i2"}
	w := &record.Webhook{Id: "i1-00000a", Team: "web", Url: "http://consumer/"}
	s := newSubscription(p, w)
	old := engine.EventID{Incarnation: "i1", Index: 40, Ordinal: 2}
	s.restore(&record.WebhookCursor{Through: &record.Position{Incarnation: "i1", Index: 50}, Pending: []*record.PendingDelivery{
		{At: &record.Position{Index: 40, Ordinal: 2}, Attempts: 3, FirstAt: 7}}}, engine.EventID{Incarnation: "i2"})
	require.Equal(t, []pending{{id: old, attempts: 3, first: 7}}, s.reader.pending)
	fresh := engine.EventID{Incarnation: "i2", Index: 3}
	s.resume(s.reader.pending[0], &record.Event{Type: "job.paused", Job: "web/prod/shop"})
	s.reader.pending = nil
	s.push(&entry{id: fresh, event: &record.Event{Type: "job.resumed", Job: "web/prod/shop"}})
	c := s.cursor()
	require.Len(t, c.Pending, 1)
	require.Equal(t, "i1", c.Pending[0].At.Incarnation)
	require.Equal(t, fresh.Before(), engine.IDAt(c.Through))
	again := newSubscription(p, w)
	again.restore(c, engine.IDAt(c.Through))
	require.Equal(t, old, again.reader.pending[0].id)
}
