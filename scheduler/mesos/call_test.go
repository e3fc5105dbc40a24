package mesos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"
	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/scheduler/core"
)

// summaries are calls in short: KILL task.
func summaries(calls []*scheduler.Call) []string {
	var out []string
	for _, c := range calls {
		s := c.Type.String()
		switch c.Type {
		case scheduler.Call_KILL:
			s += " " + c.Kill.TaskID.Value
		case scheduler.Call_ACKNOWLEDGE:
			s += " " + c.Acknowledge.TaskID.Value
		case scheduler.Call_ACCEPT:
			for _, task := range c.Accept.Operations[0].Launch.TaskInfos {
				s += " " + task.TaskID.Value
			}
		case scheduler.Call_DECLINE:
			for _, o := range c.Decline.OfferIDs {
				s += " " + o.Value
			}
			s += fmt.Sprintf(" %gs", c.Decline.Filters.GetRefuseSeconds())
		case scheduler.Call_RECONCILE:
			for _, task := range c.Reconcile.Tasks {
				s += " " + task.TaskID.Value
				if task.AgentID != nil {
					s += "@" + task.AgentID.Value
				}
			}
		}
		out = append(out, s)
	}
	return out
}

// Who hands over waits until its calls were answered, those behind a barrier too,
// for as long as it wants to.
func TestFlush_WaitsForAnswers(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, m *fakeMaster, b *bench) {
		require.NoError(t, b.Flush(t.Context()), "there is nothing to wait for")
		release := make(chan struct{})
		m.mu.Lock()
		m.answer = func(*scheduler.Call) (int, string) { <-release; return http.StatusAccepted, "" }
		m.mu.Unlock()
		b.Perform([]core.Call{core.Kill{Task: "t1", Agent: "a1"}, core.Kill{Task: "t2", Agent: "a2"}, core.Revive{}, core.Kill{Task: "t3", Agent: "a1"}})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := b.Flush(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "2 calls are not sent and 2 not answered")
		flushed := make(chan error, 1)
		go func() { flushed <- b.Flush(t.Context()) }()
		synctest.Wait()
		require.Empty(t, flushed)
		close(release)
		require.NoError(t, <-flushed)
		require.Equal(t, []string{"REVIVE", "KILL t3"}, summaries(m.received())[2:])

		m.mu.Lock()
		m.answer = func(*scheduler.Call) (int, string) { <-t.Context().Done(); return http.StatusAccepted, "" }
		m.mu.Unlock()
		b.Perform([]core.Call{core.Kill{Task: "t4", Agent: "a1"}})
		go func() { flushed <- b.Flush(context.Background()) }()
		synctest.Wait()
		require.Empty(t, flushed)
		m.endStream()
		require.NoError(t, <-flushed, "the subscription is over, and with it what was not answered")
	})
}

func TestCalls_AsMesosWantsThem(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, m *fakeMaster, b *bench) {
		for _, c := range []core.Call{
			core.Decline{Offers: []string{"o1", "o2"}, RefuseSeconds: 600},
			core.Decline{Offers: []string{"o3"}},
			core.Kill{Task: "t1", Agent: "a1"}, core.Kill{Task: "t2"},
			core.Acknowledge{Task: "t1", Agent: "a1", UUID: []byte("0123456789abcdef")},
			core.Reconcile{Tasks: []core.TaskAgent{{Task: "t1", Agent: "a1"}, {Task: "t2"}}},
			core.Reconcile{}, core.Suppress{}, core.Revive{},
		} {
			b.Perform([]core.Call{c})
			synctest.Wait()
		}
		calls := m.received()
		require.Equal(t, []string{"DECLINE o1 o2 600s", "DECLINE o3 0s", "KILL t1", "KILL t2", "ACKNOWLEDGE t1",
			"RECONCILE t1@a1 t2", "RECONCILE", "SUPPRESS", "REVIVE"}, summaries(calls))
		for _, c := range calls {
			require.Equal(t, "f", c.FrameworkID.Value)
		}
		require.NotNil(t, calls[1].Decline.Filters.RefuseSeconds, "absent, it means 5 s")
		require.Equal(t, "a1", calls[2].Kill.AgentID.Value)
		require.Nil(t, calls[3].Kill.AgentID)
		require.Equal(t, "0123456789abcdef", string(calls[4].Acknowledge.UUID))
		require.NotNil(t, calls[6].Reconcile)
		require.EqualValues(t, 2, b.Stats().Calls["KILL"])
	})
}

func TestCalls_BigReconcileIsSplit(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, m *fakeMaster, b *bench) {
		tasks := make([]core.TaskAgent, 2*reconcileAtOnce+1)
		for i := range tasks {
			tasks[i].Task = fmt.Sprint(i)
		}
		b.Perform([]core.Call{core.Reconcile{Tasks: tasks}})
		synctest.Wait()
		var asked []string
		for _, c := range m.received() {
			require.LessOrEqual(t, len(c.Reconcile.Tasks), reconcileAtOnce)
			for _, task := range c.Reconcile.Tasks {
				asked = append(asked, task.TaskID.Value)
			}
		}
		require.Len(t, asked, len(tasks))
		require.Equal(t, "2000", asked[2000])
	})
}

// Under load and over real sockets, the calls of one agent arrive in the order
// in which they were performed, and each stands on its side of the barriers.
func TestOrder_OfLanesAndBarriers(t *testing.T) {
	t.Parallel()
	m := &fakeMaster{t: t, done: make(chan struct{})}
	var delay sync.Mutex
	random := rand.New(rand.NewPCG(1, 2))
	m.answer = func(*scheduler.Call) (int, string) {
		delay.Lock()
		n := random.IntN(200)
		delay.Unlock()
		for range n { // answers of different lanes overtake each other
			_ = strings.Repeat("x", 100)
		}
		return http.StatusAccepted, ""
	}
	server := httptest.NewServer(m)
	defer server.Close()
	defer m.endStream()
	o := testOptions()
	o.Master = strings.TrimPrefix(server.URL, "http://")
	b := &bench{}
	subscribed := make(chan struct{})
	b.on = func(e core.Event) {
		if _, is := e.(core.Subscribed); is {
			close(subscribed)
		}
	}
	o.Deliver = b.deliver
	b.Driver = New(o)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	<-subscribed

	const agents, rounds, each = 40, 20, 10
	for round := range rounds {
		for n := range each {
			var calls []core.Call
			for a := range agents {
				calls = append(calls, core.Kill{Task: fmt.Sprint(round*each + n), Agent: fmt.Sprint("a", a)})
			}
			b.Perform(calls)
		}
		b.Perform([]core.Call{core.Revive{}})
	}
	require.Eventually(t, func() bool { return len(m.received()) == agents*rounds*each+rounds }, 20*time.Second, time.Millisecond)
	next := make(map[string]int)
	barriers := 0
	for i, c := range m.received() {
		if c.Type == scheduler.Call_REVIVE {
			barriers++
			require.Equal(t, barriers*(agents*each+1)-1, i, "a barrier stands between the calls before and after it")
			continue
		}
		agent := c.Kill.AgentID.Value
		require.Equal(t, fmt.Sprint(next[agent]), c.Kill.TaskID.Value, "the order on agent %s", agent)
		next[agent]++
	}
	cancel()
	require.NoError(t, <-ended)
}

func TestBarrier_WaitsForAnswers(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, m *fakeMaster, b *bench) {
		require.NotEqual(t, laneOf("a", 8), laneOf("b", 8))
		answers := make(chan struct{})
		m.mu.Lock()
		m.answer = func(*scheduler.Call) (int, string) { <-answers; return 202, "" }
		m.mu.Unlock()
		b.Perform([]core.Call{core.Kill{Task: "1", Agent: "a"}, core.Kill{Task: "2", Agent: "b"}, core.Revive{}, core.Suppress{}, core.Kill{Task: "3", Agent: "c"}})
		synctest.Wait()
		require.ElementsMatch(t, []string{"KILL 1", "KILL 2"}, summaries(m.received()))
		require.Equal(t, 3, b.Stats().Queued)
		answers <- struct{}{}
		synctest.Wait()
		require.Len(t, m.received(), 2, "one answer is still due")
		for n, want := range []string{"REVIVE", "SUPPRESS", "KILL 3"} {
			answers <- struct{}{}
			synctest.Wait()
			require.Equal(t, want, summaries(m.received())[2+n])
			require.Len(t, m.received(), 3+n)
		}
		answers <- struct{}{}
		synctest.Wait()
		require.Zero(t, b.Stats().Unanswered)
	})
}

// A question that takes the master long holds up nothing, and waits for nothing.
func TestReconcile_WaitsForNothing(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, m *fakeMaster, b *bench) {
		told, others := make(chan struct{}), make(chan struct{})
		m.mu.Lock()
		m.answer = func(c *scheduler.Call) (int, string) {
			if c.Type == scheduler.Call_RECONCILE {
				<-told
			} else {
				<-others
			}
			return 202, ""
		}
		m.mu.Unlock()
		b.Perform([]core.Call{core.Kill{Task: "1", Agent: "a"}, core.Suppress{}, core.Reconcile{}, core.Reconcile{}})
		synctest.Wait()
		require.ElementsMatch(t, []string{"KILL 1", "RECONCILE"}, summaries(m.received()), "one after the other")
		b.Perform([]core.Call{core.Revive{}, core.Kill{Task: "2", Agent: "a"}})
		for n, want := range []string{"SUPPRESS", "REVIVE", "KILL 2"} {
			others <- struct{}{}
			synctest.Wait()
			require.Len(t, m.received(), 3+n)
			require.Equal(t, want, summaries(m.received())[2+n])
		}
		others <- struct{}{}
		synctest.Wait()
		require.Equal(t, 2, b.Stats().Unanswered)
		told <- struct{}{}
		told <- struct{}{}
		synctest.Wait()
		require.Zero(t, b.Stats().Unanswered)
		require.Zero(t, b.Stats().Queued)
	})
}

func offerEvent(id, agent string, resources ...mesos.Resource) *scheduler.Event {
	return &scheduler.Event{Type: scheduler.Event_OFFERS, Offers: &scheduler.Event_Offers{Offers: []mesos.Offer{{
		ID: mesos.OfferID{Value: id}, AgentID: mesos.AgentID{Value: agent}, Hostname: agent, Resources: resources}}}}
}

var small = core.Amounts{CPUs: 100, Memory: 32_000}

func TestAccept_Outcomes(t *testing.T) {
	t.Parallel()
	accept := func(offers ...string) core.Accept {
		return core.Accept{Agent: "a", Offers: offers, Launches: []core.Launch{{Task: "t1", Needs: small}, {Task: "t2", Needs: small}}}
	}
	enough := []mesos.Resource{scalar("cpus", 1), scalar("mem", 1024)}

	t.Run("launched", func(t *testing.T) {
		t.Parallel()
		bubble(t, func(t *testing.T, m *fakeMaster, b *bench) {
			m.send(offerEvent("o1", "a", enough...), offerEvent("o2", "a", enough...))
			synctest.Wait()
			require.Equal(t, 2, b.Stats().OffersHeld)
			b.got()
			b.Perform([]core.Call{accept("o1", "o2")})
			synctest.Wait()
			require.Equal(t, []core.Event{core.Accepted{Tasks: []string{"t1", "t2"}}}, b.got())
			require.Equal(t, []string{"ACCEPT t1 t2"}, summaries(m.received()))
			call := m.received()[0].Accept
			require.Equal(t, []mesos.OfferID{{Value: "o1"}, {Value: "o2"}}, call.OfferIDs)
			require.Equal(t, 0.0, *call.Filters.RefuseSeconds)
			require.Zero(t, b.Stats().OffersHeld)
		})
	})
	t.Run("an offer was rescinded meanwhile: the other goes back", func(t *testing.T) {
		t.Parallel()
		bubble(t, func(t *testing.T, m *fakeMaster, b *bench) {
			m.send(offerEvent("o1", "a", enough...), offerEvent("o2", "a", enough...), rescind("o1"))
			synctest.Wait()
			b.got()
			b.Perform([]core.Call{accept("o1", "o2"), core.Revive{}})
			synctest.Wait()
			require.Equal(t, []core.Event{core.Accepted{Tasks: []string{"t1", "t2"}, Err: "offer o1 is not outstanding (any more)"}}, b.got())
			require.Equal(t, []string{"DECLINE o2 0s", "REVIVE"}, summaries(m.received()))
		})
	})
	t.Run("all offers were rescinded", func(t *testing.T) {
		t.Parallel()
		bubble(t, func(t *testing.T, m *fakeMaster, b *bench) {
			b.Perform([]core.Call{accept("o1"), core.Revive{}})
			synctest.Wait()
			require.NotEmpty(t, only[core.Accepted](b.got())[0].Err)
			require.Equal(t, []string{"REVIVE"}, summaries(m.received()))
		})
	})
	t.Run("more than the offers have", func(t *testing.T) {
		t.Parallel()
		bubble(t, func(t *testing.T, m *fakeMaster, b *bench) {
			m.send(offerEvent("o1", "a", scalar("cpus", 0.21), scalar("mem", 1024)))
			synctest.Wait()
			b.Perform([]core.Call{accept("o1")})
			synctest.Wait()
			require.Equal(t, "executor of task t2: the offers have 0.01 too little of cpus (0.01 needed)", only[core.Accepted](b.got())[0].Err)
			require.Equal(t, []string{"DECLINE o1 0s"}, summaries(m.received()))
		})
	})
	t.Run("refused", func(t *testing.T) {
		t.Parallel()
		bubble(t, func(t *testing.T, m *fakeMaster, b *bench) {
			m.send(offerEvent("o1", "a", enough...))
			synctest.Wait()
			m.mu.Lock()
			m.answer = func(*scheduler.Call) (int, string) { return 400, "Failed to validate scheduler::Call: why" }
			m.mu.Unlock()
			b.Perform([]core.Call{accept("o1")})
			synctest.Wait()
			events := b.got()
			require.Equal(t, "ACCEPT was answered 400: Failed to validate scheduler::Call: why", only[core.Accepted](events)[0].Err)
			require.Empty(t, only[core.Disconnected](events), "our error, not the stream's")
			require.EqualValues(t, 1, b.Stats().Failures["ACCEPT"])
		})
	})
	t.Run("not answered when the stream ends, or not sent at all", func(t *testing.T) {
		t.Parallel()
		bubble(t, func(t *testing.T, m *fakeMaster, b *bench) {
			m.send(offerEvent("o1", "a", enough...), offerEvent("o2", "b", enough...), offerEvent("o3", "b", enough...))
			synctest.Wait()
			b.got()
			b.mu.Lock()
			b.manual = true
			b.mu.Unlock()
			stuck := make(chan struct{})
			defer close(stuck)
			m.mu.Lock()
			m.answer = func(*scheduler.Call) (int, string) { <-stuck; return 202, "" }
			m.mu.Unlock()
			b.Perform([]core.Call{accept("o1"), core.Revive{}, core.Accept{Agent: "b", Offers: []string{"o2"}, Launches: []core.Launch{{Task: "t3"}}}})
			synctest.Wait()
			m.endStream()
			time.Sleep(time.Second)
			require.Equal(t, []core.Event{
				core.Accepted{Tasks: []string{"t1", "t2"}, Err: "the subscription ended before Mesos answered"},
				core.Accepted{Tasks: []string{"t3"}, Err: "the subscription ended before it was sent"},
				core.Disconnected{Reason: "the master closed the stream"},
				core.Connecting{},
			}, b.got())
			require.Zero(t, b.Stats().OffersHeld, "offers are void")
			b.Perform([]core.Call{accept("o1")})
			synctest.Wait()
			require.Equal(t, []core.Event{core.Accepted{Tasks: []string{"t1", "t2"}, Err: "there is no subscription"}}, b.got())
			require.EqualValues(t, 4, b.Stats().Dropped)
		})
	})
}

func TestAnswers_ThatEndTheSubscription(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]struct {
		status int
		text   string
		ends   bool
	}{
		"stale stream":       {400, "The stream ID 'x' included in this request didn't match the stream ID currently associated with framework ID f", true},
		"torn down":          {400, "Framework cannot be found", true},
		"not subscribed":     {403, "Framework is not subscribed", true},
		"redirect":           {307, "", true},
		"recovering":         {503, "Master has not finished recovery", true},
		"server error":       {500, "", true},
		"our error":          {400, "Failed to validate scheduler::Call: Not a valid UUID", false},
		"too many, wait":     {429, "", false},
		"accepted otherwise": {200, "text", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, m *fakeMaster, b *bench) {
				m.mu.Lock()
				m.answer = func(*scheduler.Call) (int, string) { return answer.status, answer.text }
				m.mu.Unlock()
				b.Perform([]core.Call{core.Kill{Task: "t", Agent: "a"}})
				time.Sleep(150 * time.Millisecond)
				events := only[core.Disconnected](b.got())
				if !answer.ends {
					require.Empty(t, events)
					return
				}
				require.Len(t, events, 1)
				require.Contains(t, events[0].Reason, fmt.Sprintf("KILL was answered %d", answer.status))
			})
		})
	}
}

func TestCalls_LateAnswerEndsTheSubscription(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, m *fakeMaster, b *bench) {
		stuck := make(chan struct{})
		defer close(stuck)
		m.mu.Lock()
		m.answer = func(*scheduler.Call) (int, string) { <-stuck; return 202, "" }
		m.mu.Unlock()
		b.Perform([]core.Call{core.Kill{Task: "t", Agent: "a"}})
		time.Sleep(10*time.Second - time.Millisecond)
		require.Empty(t, b.got())
		time.Sleep(100 * time.Millisecond)
		require.Equal(t, []core.Event{core.Disconnected{Reason: "the master did not answer a call within 10s"}}, b.got())
	})
}

func TestCalls_EachHasItsOwnDeadline(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, m *fakeMaster, b *bench) {
		answers := make(chan struct{})
		m.mu.Lock()
		m.answer = func(*scheduler.Call) (int, string) { <-answers; return 202, "" }
		m.mu.Unlock()
		defer close(answers)
		b.Perform([]core.Call{core.Kill{Task: "1", Agent: "a"}, core.Kill{Task: "2", Agent: "a"}})
		time.Sleep(6 * time.Second)
		answers <- struct{}{}
		time.Sleep(3 * time.Second)
		b.Perform([]core.Call{core.Kill{Task: "3", Agent: "a"}})
		synctest.Wait()
		require.Empty(t, b.got())
		time.Sleep(1100 * time.Millisecond)
		require.Equal(t, []core.Event{core.Disconnected{Reason: "the master did not answer a call within 10s"}}, b.got())
	})
}

func TestCalls_ConnectionClosedWhileIdle(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, m *fakeMaster, b *bench) {
		m.server.IdleTimeout = 5 * time.Second
		for n := range 3 {
			b.Perform([]core.Call{core.Kill{Task: fmt.Sprint(n), Agent: "a"}})
			synctest.Wait()
			require.Len(t, m.received(), n+1)
			time.Sleep(10 * time.Second)
			m.send(heartbeat)
		}
		require.Empty(t, b.got(), "no reason to disconnect")
		require.Len(t, m.subscribed(), 1)
	})
}

func TestCalls_MoreThanTheWindow(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, m *fakeMaster, b *bench) {
		var calls []core.Call
		for n := range 5 * window {
			calls = append(calls, core.Acknowledge{Task: fmt.Sprint(n), Agent: "a", UUID: make([]byte, 16)})
		}
		goOn := make(chan struct{})
		m.mu.Lock()
		m.answer = func(*scheduler.Call) (int, string) { <-goOn; return 202, "" }
		m.mu.Unlock()
		b.Perform(calls)
		synctest.Wait()
		l := b.queue.lanes[laneOf("a", 8)]
		require.Len(t, l.sent, window)
		close(goOn)
		synctest.Wait()
		require.Len(t, m.received(), 5*window)
		for n, c := range m.received() {
			require.Equal(t, fmt.Sprint(n), c.Acknowledge.TaskID.Value)
		}
	})
}
