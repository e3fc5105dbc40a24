package webhook

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/record"
)

func TestBackoff_GrowsToAnHour(t *testing.T) {
	t.Parallel()
	for failures, want := range map[uint32]time.Duration{1: time.Second, 2: 2 * time.Second, 5: 16 * time.Second, 12: 2048 * time.Second,
		13: time.Hour, 14: time.Hour, 1 << 31: time.Hour} {
		require.Equal(t, want, backoff(failures, 0.5), "%d", failures)
		require.Equal(t, want*8/10, backoff(failures, 0))
		require.Equal(t, want*12/10, backoff(failures, 1))
	}
}

// since are when deliveries came, after the first.
func since(all []got) []time.Duration {
	var out []time.Duration
	for _, g := range all[1:] {
		out = append(out, g.at.Sub(all[0].at))
	}
	return out
}

func TestRetry_WaitsEverLongerForDaysThenTheEventIsADeadLetter(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.consumer("consumer")
		w.start()
		w.job("web/prod/shop")
		id := w.hook("http://consumer/")
		c.answers(func(rw http.ResponseWriter, _ *http.Request, _ *api.Event) {
			http.Error(rw, "no\n disk", http.StatusInternalServerError)
		})
		w.tell("web/prod/shop", 3)
		w.pass(time.Minute)
		require.Equal(w, []time.Duration{1 * time.Second, 3 * time.Second, 7 * time.Second, 15 * time.Second, 31 * time.Second}, since(c.all()))
		first := c.all()[0]
		for _, g := range c.all() {
			require.Equal(w, first.event.ID, g.event.ID, "the first is told before any other")
			require.Equal(w, first.body, g.body)
		}
		h, err := w.webhook(id)
		require.NoError(w, err)
		require.Equal(w, `answered 500: "no disk"`, h.GetLastError())
		w.pass(71 * time.Hour)
		require.Empty(w, w.dead(id))
		w.pass(2 * time.Hour)
		dead := w.dead(id)
		require.Len(w, dead, 3, "what waited behind it for as long was tried once")
		require.Equal(w, "job.paused", dead[0].Type)
		require.Equal(w, "web/prod/shop", dead[0].Job)
		require.Equal(w, `answered 500: "no disk"`, dead[0].Error)
		require.Greater(w, dead[0].Attempts, uint32(70))
		require.Equal(w, uint32(1), dead[1].Attempts)
		require.Equal(w, first.at.UnixMilli(), dead[0].FirstAt)
		d := w.deliveries(id)
		require.Zero(w, d.Waiting)
		require.Equal(w, api.WebhookFailing, d.State)

		// By hand, once the consumer works.
		c.answers(ok)
		c.forget()
		require.Equal(w, 3, w.do(core.Redeliver{ID: id}).Count)
		w.pass(2 * time.Second)
		require.Equal(w, w.happened("job.paused", "job.resumed"), c.byJob())
		require.Empty(w, w.dead(id))
		require.Equal(w, api.WebhookActive, w.deliveries(id).State)
	})
}

// A job whose event fails is held up, and no other.
func TestRetry_HoldsUpTheEventsOfItsJobAlone(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.consumer("consumer")
		w.start()
		for _, job := range []string{"web/prod/bad", "web/prod/good"} {
			w.job(job)
		}
		id := w.hook("http://consumer/")
		c.answers(func(rw http.ResponseWriter, r *http.Request, e *api.Event) {
			if strings.Contains(e.Data.Job, "bad") {
				rw.WriteHeader(http.StatusBadRequest)
			}
		})
		for range 50 {
			w.tell("web/prod/bad", 1)
			w.tell("web/prod/good", 1)
		}
		w.pass(10 * time.Second)
		happened := w.happened("job.paused", "job.resumed")
		got := c.byJob()
		require.Equal(w, happened["web/prod/good"], got["web/prod/good"])
		require.Equal(w, happened["web/prod/bad"][:1], got["web/prod/bad"])
		d := w.deliveries(id)
		require.Equal(w, 50, d.Waiting)
		require.Len(w, d.Held, 1)
		require.Equal(w, "web/prod/bad", d.Held[0].Job)
		require.Equal(w, happened["web/prod/bad"][0], d.Held[0].Event)
		require.Equal(w, "answered 400", d.Held[0].Error)
		c.answers(ok)
		w.pass(time.Minute)
		require.Equal(w, happened, c.byJob())
		require.Empty(w, w.deliveries(id).Held)
	})
}

// A consumer that takes nothing is tried with one event at a time, of whichever
// job; when it is back, all is told at once.
func TestRetry_AConsumerThatIsAwayIsProbed(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.consumer("consumer")
		w.start()
		for i := range 20 {
			w.job(fmt.Sprint("web/prod/shop-", i))
		}
		id := w.hook("http://consumer/")
		c.answers(status(http.StatusBadGateway))
		for i := range 20 {
			w.tell(fmt.Sprint("web/prod/shop-", i), 2)
		}
		w.pass(3 * time.Hour)
		attempts := len(c.all())
		require.Less(w, attempts, 25, "1 s, 2 s, … 1 h: for all jobs together")
		jobs := map[string]bool{}
		for _, g := range c.all() {
			jobs[g.event.Data.Job] = true
		}
		require.Greater(w, len(jobs), 10, "an event that nobody could take keeps no other from being tried")
		d := w.deliveries(id)
		require.NotNil(w, d.RetryAt)
		require.NotNil(w, d.FailingSince)
		c.answers(ok)
		w.pass(time.Hour + time.Hour/4)
		require.Equal(w, w.happened("job.paused", "job.resumed"), w.delivered(c))
		require.Zero(w, w.deliveries(id).Waiting)
	})
}

func TestRetry_AConsumerThatRestartsIsToldSoon(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.consumer("consumer")
		w.start()
		w.job("web/prod/shop")
		w.hook("http://consumer/")
		w.tell("web/prod/shop", 1)
		c.goAway(true)
		c.server.SetKeepAlivesEnabled(false)
		w.pass(time.Second)
		w.runner.sender.client.CloseIdleConnections()
		w.tell("web/prod/shop", 2)
		w.pass(5 * time.Second)
		require.Len(w, c.all(), 1)
		c.goAway(false)
		w.pass(8 * time.Second)
		require.Equal(w, w.happened("job.paused", "job.resumed"), c.byJob())
	})
}

// 429 and 503 say when to come again; nothing at all is sent before.
func TestRetry_AfterIsHeeded(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.consumer("consumer")
		w.start()
		w.job("web/prod/shop")
		w.job("web/prod/other")
		w.hook("http://consumer/")
		asks := func(code int, wait string) {
			c.answers(func(rw http.ResponseWriter, _ *http.Request, _ *api.Event) {
				rw.Header().Set("Retry-After", wait)
				rw.WriteHeader(code)
			})
		}
		asks(http.StatusTooManyRequests, "90")
		w.tell("web/prod/shop", 1)
		w.tell("web/prod/other", 1)
		w.pass(80 * time.Second)
		require.Len(w, c.all(), 1)
		asks(http.StatusServiceUnavailable, time.Now().Add(50*time.Second).UTC().Format(http.TimeFormat))
		w.pass(11 * time.Second)
		require.Len(w, c.all(), 3, "the events of both jobs")
		w.pass(20 * time.Second)
		require.Len(w, c.all(), 3)
		asks(http.StatusServiceUnavailable, "99999999") // no consumer has us wait for ever
		w.pass(20 * time.Second)
		require.Len(w, c.all(), 5)
		c.answers(ok)
		w.pass(time.Hour)
		require.Equal(w, w.happened("job.paused", "job.resumed"), w.delivered(c))
	})
}

func TestRetry_AConsumerThatStallsIsGivenUpAfterAWhile(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.consumer("consumer")
		w.start()
		w.job("web/prod/shop")
		id := w.hook("http://consumer/")
		c.answers(func(_ http.ResponseWriter, r *http.Request, _ *api.Event) { <-r.Context().Done() })
		w.tell("web/prod/shop", 1)
		w.pass(timeout - time.Second)
		require.Equal(w, 1, w.deliveries(id).UnderWay)
		w.pass(time.Second)
		d := w.deliveries(id)
		require.Zero(w, d.UnderWay)
		require.Equal(w, "did not answer in 15s", d.Attempts[0].Error)
		require.Equal(w, api.Duration(timeout), d.Attempts[0].Took)
		c.answers(ok)
		w.pass(2 * time.Second)
		require.Equal(w, 1, len(w.delivered(c)["web/prod/shop"]))
	})
}

// A consumer that is asked to be told nothing more is told nothing more.
func TestGone_DisablesTheWebhook(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.consumer("consumer")
		w.start()
		w.job("web/prod/shop")
		id := w.hook("http://consumer/")
		w.tell("web/prod/shop", 1)
		c.answers(status(http.StatusGone))
		w.tell("web/prod/shop", 3)
		w.pass(time.Hour)
		require.Len(w, c.all(), 2)
		hook := w.engine.View().Webhook(id)
		require.True(w, hook.Disabled)
		require.Equal(w, "answered 410: it wants to be told nothing more", hook.DisabledReason)
		require.Len(w, w.happened("webhook.disabled")[""], 1)
		require.Equal(w, api.WebhookDisabled, w.deliveries(id).State)

		c.answers(ok)
		c.forget()
		w.do(core.EnableWebhook{ID: id}) // where it stopped
		w.tell("web/prod/shop", 1)
		w.pass(time.Second)
		require.Equal(w, w.happened("job.paused", "job.resumed")["web/prod/shop"][1:], c.byJob()["web/prod/shop"])

		w.do(core.DisableWebhook{ID: id, Reason: "moves"})
		w.tell("web/prod/shop", 2)
		w.pass(time.Second)
		c.forget()
		w.do(core.EnableWebhook{ID: id, From: w.engine.Newest().Position()})
		w.tell("web/prod/shop", 1)
		w.pass(time.Second)
		require.Len(w, c.all(), 1, "with what happens from then on")
	})
}

// A consumer that takes nothing for days fills its dead letters; then the webhook is
// disabled, and loses nothing.
func TestRetry_DeadLettersThatAreFullDisableTheWebhook(t *testing.T) {
	inBubble(t, func(w *world) {
		w.options = func(o *Options) { o.RetryFor = time.Hour }
		c := w.consumer("consumer")
		c.answers(status(http.StatusForbidden))
		w.start()
		var jobs []string
		for i := range 10 {
			jobs = append(jobs, fmt.Sprint("web/prod/shop-", i))
			w.job(jobs[i])
		}
		id := w.hook("http://consumer/")
		for i := range deadMost + 200 {
			w.tell(jobs[i%10], 1)
		}
		w.pass(24 * time.Hour)
		hook := w.engine.View().Webhook(id)
		require.True(w, hook.Disabled)
		require.Contains(w, hook.DisabledReason, "nothing was delivered since ")
		require.Contains(w, hook.DisabledReason, "it has 1000 dead letters; the last attempt: answered 403")
		require.Zero(w, hook.DeadLettersDropped)
		require.Len(w, w.dead(id), deadMost)
		c.answers(ok)
		c.forget()
		w.do(core.EnableWebhook{ID: id})
		w.do(core.Redeliver{ID: id})
		w.pass(time.Minute)
		require.Empty(w, w.dead(id))
		got := c.byJob()
		for job, want := range w.happened("job.paused", "job.resumed") {
			slices.Sort(got[job]) // what is delivered once more comes when it comes
			slices.Sort(want)
			require.Equal(w, want, got[job])
		}
	})
}

func TestWebhook_ThatIsChangedIsTriedAtOnce(t *testing.T) {
	inBubble(t, func(w *world) {
		old, next := w.consumer("old"), w.consumer("next")
		old.answers(status(http.StatusNotFound))
		w.start()
		w.job("web/prod/shop")
		w.job("web/prod/other")
		id := w.hook("http://old/")
		w.tell("web/prod/shop", 2)
		w.tell("web/prod/other", 2)
		w.pass(20 * time.Minute)
		require.Empty(w, next.all())
		w.do(core.UpdateWebhook{ID: id, URL: "http://next/", Job: "*/*/shop", Types: []string{"job.paused", "job.resumed"}})
		w.pass(time.Second)
		require.Equal(w, map[string][]string{"web/prod/shop": w.happened("job.paused", "job.resumed")["web/prod/shop"]}, next.byJob(),
			"what it is not told of any more is forgotten")
		require.Zero(w, w.deliveries(id).Waiting)
		w.pass(time.Minute)
		w.crash()
		w.start()
		w.tell("web/prod/shop", 1)
		w.pass(time.Second)
		require.Len(w, next.all(), 3)
	})
}

func TestTest_SaysWhatTheConsumerSaid(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.consumer("consumer")
		w.start()
		w.job("web/prod/shop")
		id := w.hook("http://consumer/")
		c.answers(func(rw http.ResponseWriter, _ *http.Request, _ *api.Event) {
			http.Error(rw, "who are you?", http.StatusUnauthorized)
		})
		w.tell("web/prod/shop", 2)
		w.pass(3 * time.Hour)
		hook := w.engine.View().Webhook(id)
		test := w.runner.Test(w.Context(), hook, "ann")
		require.False(w, test.Delivered)
		require.Equal(w, http.StatusUnauthorized, test.Status)
		require.Equal(w, "who are you?", test.Body)
		require.Equal(w, `answered 401: "who are you?"`, test.Error)
		c.answers(func(rw http.ResponseWriter, _ *http.Request, _ *api.Event) { fmt.Fprint(rw, "fine") })
		c.forget()
		test = w.runner.Test(w.Context(), hook, "ann")
		require.True(w, test.Delivered)
		require.Equal(w, "fine", test.Body)
		w.settle()
		all := c.all()
		require.Equal(w, "dev.perigee.webhook.test", all[0].event.Type)
		require.Equal(w, id, all[0].event.Subject)
		require.Equal(w, "ann", all[0].event.Data.Actor)
		require.Equal(w, test.Event, all[0].header.Get("Webhook-Id"))
		require.Len(w, all, 3, "a consumer that takes a test is told at once what it missed")
	})
}

// A redelivery that fails once more is a dead letter again, and one that is dropped
// is not delivered.
func TestRedelivery_FailsOrIsDropped(t *testing.T) {
	inBubble(t, func(w *world) {
		w.options = func(o *Options) { o.RetryFor = time.Minute }
		c := w.consumer("consumer")
		c.answers(status(http.StatusTeapot))
		w.start()
		w.job("web/prod/shop")
		id := w.hook("http://consumer/")
		w.tell("web/prod/shop", 2)
		w.pass(time.Hour)
		require.Len(w, w.dead(id), 2)
		attempts := w.dead(id)[0].Attempts
		w.do(core.Redeliver{ID: id})
		w.pass(time.Second)
		require.NotZero(w, w.dead(id)[0].RedeliverAt)
		w.crash() // it is not forgotten
		w.start()
		w.pass(2 * time.Hour)
		dead := w.dead(id)
		require.Len(w, dead, 2)
		require.Zero(w, dead[0].RedeliverAt)
		require.Greater(w, dead[0].Attempts, attempts)
		w.do(core.Redeliver{ID: id})
		w.pass(time.Second)
		w.do(core.DropDeadLetters{ID: id})
		c.answers(ok)
		c.forget()
		w.pass(3 * time.Hour)
		require.Empty(w, c.all())
		require.Empty(w, w.dead(id))
		require.Zero(w, w.deliveries(id).Waiting)
	})
}

// No order or number of failures has an event told before the one ahead of it of
// the same job was taken, or lost.
func TestRetry_KeepsTheOrderOfEachJob(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.consumer("consumer")
		w.start()
		var jobs []string
		for i := range 7 {
			jobs = append(jobs, fmt.Sprint("web/prod/shop-", i))
			w.job(jobs[i])
		}
		w.hook("http://consumer/")
		var mu sync.Mutex
		n, took := 0, map[string][]string{}
		c.answers(func(rw http.ResponseWriter, _ *http.Request, e *api.Event) {
			mu.Lock()
			defer mu.Unlock()
			if n++; n%3 == 0 || n%17 < 5 {
				rw.WriteHeader(500 + n%4)
				return
			}
			took[e.Data.Job] = append(took[e.Data.Job], e.ID)
		})
		for i := range 300 {
			w.tell(jobs[(i*i+i/7)%7], 1)
			if i%10 == 0 {
				w.pass(time.Second)
			}
		}
		w.pass(24 * time.Hour)
		require.Equal(w, w.happened("job.paused", "job.resumed"), took)
		require.LessOrEqual(w, c.most, atOnce)
	})
}

// webhook is what is saved of a webhook's deliveries.
func (w *world) webhook(id string) (*record.WebhookCursor, error) {
	if c := w.engine.View().WebhookCursor(id); c != nil {
		return c, nil
	}
	return nil, fmt.Errorf("nothing is saved of webhook %s", id)
}

// dead are a webhook's dead letters.
func (w *world) dead(id string) []*record.DeadLetter {
	var all []*record.DeadLetter
	w.engine.View().DeadLetters(id, "", func(d *record.DeadLetter) bool { all = append(all, d); return true })
	return all
}

// delivered are the events that a consumer took, by job and in the order in which it
// took them: the last time that each came.
func (w *world) delivered(c *consumer) map[string][]string {
	all, seen := map[string][]string{}, map[string]bool{}
	for _, g := range slices.Backward(c.all()) {
		if !seen[g.event.ID] {
			seen[g.event.ID] = true
			all[g.event.Data.Job] = append([]string{g.event.ID}, all[g.event.Data.Job]...)
		}
	}
	return all
}
