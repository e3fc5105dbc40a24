package engine_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/engine"
	"github.com/perigee-sched/perigee/scheduler/journal"
	"github.com/perigee-sched/perigee/scheduler/journal/memory"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// While the outcome of an append is unknown, those who wait are told, nothing
// is shown and nothing more decided; then all goes on, whether the append had
// reached the storage or not.
func TestUnknownOutcome(t *testing.T) {
	for name, outcome := range map[string]memory.Outcome{"durable": memory.LosesAnswer, "not durable": memory.LosesWrite} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				w.start()
				w.subscribe()
				w.do(batch(w, "etl/prod/load"))
				w.deliver(offer("a1"))
				calls := len(w.mesos.all())
				w.journal.close()
				appended := w.ask(w.Context(), runs("etl/prod/load", 1))
				queued := w.ask(w.Context(), runs("etl/prod/load", 1))
				w.storage.Inject(func([]*record.Entry) memory.Outcome { return outcome })
				w.journal.lose(true)
				w.journal.open()
				w.settle()
				require.ErrorIs(w, appended.err, engine.ErrUnknownOutcome)
				require.ErrorIs(w, queued.err, engine.ErrUnknownOutcome, "it is decided, and waits behind the other")
				stepped := w.ask(w.Context(), runs("etl/prod/load", 1))
				require.ErrorIs(w, stepped.err, engine.ErrUnknownOutcome, "one more was decided before the loop could know")
				inputs := w.engine.Stats.Inputs.Load()
				var later []*answer
				for range 5 {
					later = append(later, w.ask(w.Context(), runs("etl/prod/load", 1)))
				}
				w.pass(time.Minute)
				require.Equal(w, inputs, w.engine.Stats.Inputs.Load(), "nothing is decided meanwhile")
				require.Len(w, w.mesos.all(), calls)
				require.True(w, w.engine.View().Leads)
				require.Greater(w, w.engine.Stats.UnknownOutcomes(), uint64(100), "it keeps asking")
				for _, a := range later {
					require.False(w, a.done, "nothing is known to be wrong with what was not looked at")
				}
				w.storage.Inject(nil)
				w.journal.lose(false)
				w.pass(time.Second)
				for _, a := range later {
					require.True(w, a.done)
					require.NoError(w, a.err)
				}
				w.deliver(offer("a2"))
				require.Len(w, w.mesos.launched(), 8, "all ran, those of unknown outcome too")
				w.do(runs("etl/prod/load", 1))
				before := state(w, w.engine.View())
				require.NoError(w, w.stop())
				w.launch(w.storage.Open())
				w.journal.close()
				w.settle()
				require.Equal(w, before, state(w, w.engine.View()))
			})
		})
	}
}

func TestAnotherLeads(t *testing.T) {
	inBubble(t, func(w *world) {
		w.start()
		w.subscribe()
		w.do(batch(w, "etl/prod/load"))
		w.deliver(offer("a1"))
		calls := len(w.mesos.all())
		w.journal.close()
		var asked []*answer
		for range 10 {
			asked = append(asked, w.ask(w.Context(), runs("etl/prod/load", 1)))
		}
		_, err := w.storage.Open().Lead(w.Context(), nobody{})
		require.NoError(w, err)
		w.journal.open()
		require.ErrorIs(w, w.wait(), journal.ErrFenced)
		w.settle()
		for i, a := range asked {
			require.True(w, a.done, "request %d", i)
			require.ErrorIs(w, a.err, engine.ErrUnavailable)
			require.ErrorContains(w, a.err, "another scheduler leads")
		}
		require.Len(w, w.mesos.all(), calls, "nothing was performed")
		require.False(w, w.engine.View().Leads)
		require.NotNil(w, w.engine.View().Job("etl/prod/load"), "reads go on")
		require.ErrorIs(w, w.ask(w.Context(), runs("etl/prod/load", 1)).err, engine.ErrUnavailable)
		require.ErrorIs(w, w.engine.Deliver(w.Context(), core.Connecting{}), engine.ErrUnavailable)
	})
}

func TestAnotherLeadsWhileTheOutcomeIsUnknown(t *testing.T) {
	inBubble(t, func(w *world) {
		w.start()
		w.do(batch(w, "etl/prod/load"))
		w.storage.Inject(func([]*record.Entry) memory.Outcome { return memory.LosesWrite })
		a := w.ask(w.Context(), runs("etl/prod/load", 1))
		require.ErrorIs(w, a.err, engine.ErrUnknownOutcome)
		waits := w.ask(w.Context(), runs("etl/prod/load", 1)) // decided, and told so
		inbox := w.ask(w.Context(), runs("etl/prod/load", 1))
		require.ErrorIs(w, waits.err, engine.ErrUnknownOutcome)
		w.storage.Inject(nil)
		_, err := w.storage.Open().Lead(w.Context(), nobody{})
		require.NoError(w, err)
		require.ErrorIs(w, w.wait(), journal.ErrFenced)
		w.settle()
		require.ErrorContains(w, inbox.err, "another scheduler leads")
		require.Empty(w, w.mesos.all())
	})
}

type nobody struct{}

func (nobody) Record(string, []byte) error { return nil }
func (nobody) Past([]*record.Entry) error  { return nil }
func (nobody) Apply([]*record.Entry) error { return nil }

// A request ends whichever stage it is in: being appended, decided and queued,
// held back by the bound, in the inbox, or not yet taken.
func TestShutDownAnswersEveryone(t *testing.T) {
	inBubble(t, func(w *world) {
		w.start()
		w.do(batch(w, "etl/prod/load"))
		w.journal.close()
		var asked []*answer
		for range 50 {
			asked = append(asked, w.ask(w.Context(), runs("etl/prod/load", 1000)))
		}
		for range 1500 {
			asked = append(asked, w.askQuietly(runs("etl/prod/load", 1)))
		}
		w.settle()
		require.NoError(w, w.stop())
		w.settle()
		unknown := 0
		for i, a := range asked {
			require.True(w, a.done, "request %d is answered", i)
			if i == 0 {
				require.ErrorIs(w, a.err, engine.ErrUnknownOutcome, "it was being written")
				unknown++
				continue
			}
			require.ErrorIs(w, a.err, engine.ErrUnavailable, "request %d", i)
			require.ErrorContains(w, a.err, "shutting down")
		}
		require.Equal(w, 1, unknown)
		require.False(w, w.engine.View().Leads)
	})
}

func (w *world) askQuietly(op core.Op) *answer {
	a := new(answer)
	go func() {
		_, _, a.err = w.engine.Do(w.Context(), core.Request{Op: op})
		a.done = true
	}()
	return a
}

// Requests that come while the engine stops are answered too, by real
// goroutines and the race detector's judgement.
func TestRequestsThatMeetTheEnd(t *testing.T) {
	t.Parallel()
	for range 20 {
		w := &world{T: t, storage: new(memory.Storage)}
		w.launch(w.storage.Open())
		require.Eventually(t, func() bool { return w.engine.View().Leads }, 10*time.Second, time.Millisecond)
		_, _, err := w.engine.Do(t.Context(), core.Request{Op: batch(t, "etl/prod/load")})
		require.NoError(t, err)
		const users = 8
		finished := make(chan int, users)
		var answered atomic.Int64
		for range users {
			go func() {
				for n := 0; ; n++ {
					_, v, err := w.engine.Do(context.Background(), core.Request{Op: runs("etl/prod/load", 1)})
					if err != nil {
						finished <- n
						return
					}
					found := 0
					v.Runs("etl/prod/load", "", func(*record.Run) bool { found++; return found < 50 })
					v.JobTasks("etl/prod/load", "", func(*record.Task) bool { found++; return found < 100 })
					answered.Add(1)
				}
			}()
		}
		require.Eventually(t, func() bool { return answered.Load() > 20 }, 10*time.Second, time.Millisecond)
		require.NoError(t, w.stop())
		done := 0
		for range users {
			done += <-finished
		}
		durable := 0
		w.engine.View().Runs("etl/prod/load", "", func(*record.Run) bool { durable++; return true })
		require.LessOrEqual(t, done, durable)
	}
}

// TestNothingAnsweredIsLost has users who repeat each request with its key
// until it is answered, on a storage that loses answers and writes, and
// schedulers that are fenced and restarted. Each request is executed once.
func TestNothingAnsweredIsLost(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			inBubble(t, func(w *world) {
				rng, faults := rand.New(rand.NewPCG(seed, 7)), rand.New(rand.NewPCG(seed, 8))
				w.start()
				w.do(batch(w, "etl/prod/load"))
				w.storage.Inject(func([]*record.Entry) memory.Outcome {
					return memory.Outcome(max(0, faults.IntN(10)-7))
				})
				const users, each = 6, 8
				results := make(chan core.Result, users*each)
				for user := range users {
					go func() {
						for n := range each {
							results <- w.insist(fmt.Sprintf("user-%d-%d", user, n))
						}
					}()
				}
				for range 6 {
					w.pass(time.Duration(rng.IntN(2000)) * time.Millisecond)
					if rng.IntN(2) == 0 {
						_, err := w.storage.Open().Lead(w.Context(), nobody{})
						require.NoError(w, err)
					}
					_ = w.stop()
					w.mutex.Lock()
					w.launch(w.storage.Open())
					w.mutex.Unlock()
				}
				seen := map[string]bool{}
				for range users * each {
					r := <-results
					require.Len(w, r.Runs, 1)
					require.False(w, seen[r.Runs[0]], "two requests, two runs")
					seen[r.Runs[0]] = true
				}
				w.storage.Inject(nil)
				w.pass(time.Minute)
				require.True(w, w.engine.View().Leads)
				found := 0
				w.engine.View().Runs("etl/prod/load", "", func(r *record.Run) bool {
					require.True(w, seen[r.Id], "run %s was answered to somebody", r.Id)
					found++
					return true
				})
				require.Equal(w, users*each, found)
			})
		})
	}
}

// insist repeats a request with the same key until it is answered.
func (w *world) insist(key string) core.Result {
	for {
		w.mutex.Lock()
		e := w.engine
		w.mutex.Unlock()
		r, v, err := e.Do(context.Background(), core.Request{IdempotencyKey: key, Digest: "d", Op: runs("etl/prod/load", 1)})
		if err == nil {
			if v.Run("etl/prod/load", r.Runs[0]) == nil {
				panic("the view lacks what was answered")
			}
			return r
		}
		time.Sleep(50 * time.Millisecond) // on the fake clock
	}
}
