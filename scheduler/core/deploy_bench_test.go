package core

import (
	"container/heap"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/perigee-sched/perigee/api"
)

// BenchmarkDeploys has services of 20 instances deployed at the same time, on a
// cluster that grows with them: tasks run 10 to 60 ms after their launch, are
// ready a second later, and end 10 to 60 ms after a KILL. Every update, answer
// and timer is a step of its own. Reported is the CPU time that core takes for
// each of these, and for a whole deploy, since timers of more deploys share a step;
// it should not depend on how many there are.
func BenchmarkDeploys(b *testing.B) {
	for _, deploys := range []int{10, 100, 1_000} {
		b.Run(fmt.Sprintf("deploys=%d", deploys), func(b *testing.B) {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			spent, events, virtual := time.Duration(0), 0, int64(0)
			for b.Loop() {
				s := newStage(b, deploys)
				s.put("1")
				s.play()
				s.spent, s.events = 0, 0
				began := s.now
				s.put("2")
				s.play()
				spent, events, virtual = spent+s.spent, events+s.events, virtual+s.now-began
			}
			b.ReportMetric(float64(spent.Nanoseconds())/float64(events), "ns/event")
			b.ReportMetric(float64(spent.Microseconds())/float64(b.N*deploys), "µs/deploy")
			b.ReportMetric(float64(events)/float64(b.N*deploys), "events/deploy")
			b.ReportMetric(float64(virtual)/1000/float64(b.N), "s-of-cluster-time")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// stage is a core and a cluster whose clock jumps from one event to the next.
type stage struct {
	testing.TB
	core    *Core
	now     int64
	wake    int64
	pending happenings
	agents  []*stageAgent
	byID    map[string]*stageAgent
	needs   map[string]Launch // of live tasks
	uuid    uint64
	deploys int // services
	over    int // deploys that succeeded

	events int
	spent  time.Duration // in Step
}

type stageAgent struct {
	offer   Offer
	free    Amounts
	ports   uint32
	offered bool
}

// happening is an event that core will be told.
type happening struct {
	at, seq int64
	event   Event
}

type happenings []happening

func (h happenings) Len() int { return len(h) }
func (h happenings) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].seq < h[j].seq
}
func (h happenings) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *happenings) Push(x any)   { *h = append(*h, x.(happening)) }
func (h *happenings) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	*h = (*h)[:last]
	return x
}

func newStage(b testing.TB, deploys int) *stage {
	c, err := Load(Config{}, func(func(string, Record) bool) {})
	require.NoError(b, err)
	s := &stage{TB: b, core: c, now: 1_800_000_000_000, byID: map[string]*stageAgent{}, needs: map[string]Launch{}, deploys: deploys}
	for i := range deploys { // room for all twice over
		id := fmt.Sprintf("a%d", i)
		a := &stageAgent{free: Amounts{CPUs: 48_000, Memory: 128_000_000, Disk: 128_000_000},
			offer: Offer{Agent: id, Host: "host-" + id, Attributes: Attributes{{Name: "rack", Value: fmt.Sprintf("r%d", i%10)}}}}
		s.agents, s.byID[id] = append(s.agents, a), a
	}
	s.step(Elected{Scheduler: "s", Incarnation: "i"})
	s.step(Connecting{})
	s.step(Subscribed{FrameworkID: "f", Master: "m"})
	return s
}

// put asks for a deploy of every service, one after the other in the same
// second.
func (s *stage) put(version string) {
	s.over = 0
	n, after := 20, api.Duration(time.Second)
	for i := range s.deploys {
		spec := &api.Spec{Job: fmt.Sprintf("team%d/prod/service-%d", i%20, i), Kind: api.KindService, Instances: &n,
			Command: "./server", Env: map[string]string{"VERSION": version}, Ports: []string{"http"},
			Resources: api.Resources{CPUs: 1, Memory: 64 * api.MiB}, Ready: &api.Ready{After: &after}}
		canonical, err := spec.Canonical()
		require.NoError(s, err)
		s.after(int64(i)*1000/int64(s.deploys), Request{ID: uint64(i), Actor: "bench", Op: PutJob{Spec: spec, Canonical: canonical}})
	}
}

func (s *stage) after(ms int64, e Event) {
	s.uuid++
	heap.Push(&s.pending, happening{s.now + ms, int64(s.uuid), e})
}

// play goes on until every deploy has succeeded and what was replaced is gone.
func (s *stage) play() {
	limit := s.now + 120_000
	for s.over < s.deploys || len(s.pending) > 0 {
		require.Less(s, s.now, limit, "%d of %d deploys are over", s.over, s.deploys)
		if len(s.pending) > 0 && (s.wake == 0 || s.pending[0].at <= s.wake) {
			h := heap.Pop(&s.pending).(happening)
			s.now = max(s.now, h.at)
			s.step(h.event)
			continue
		}
		require.NotZero(s, s.wake, "core waits for nothing, and %d of %d deploys are over", s.over, s.deploys)
		s.now = max(s.now, s.wake)
		s.step()
	}
}

func (s *stage) step(events ...Event) {
	began := threadTime(s)
	r := s.core.Step(s.now, events)
	s.spent += threadTime(s) - began
	s.events++
	s.wake = r.Wake
	for _, reply := range r.Replies {
		require.Nil(s, reply.Err)
	}
	for _, e := range r.Events {
		switch e.Type {
		case "deploy.succeeded":
			s.over++
		case "deploy.failed", "task.failed", "task.lost":
			require.Fail(s, e.Type, e.Reason)
		}
	}
	for _, call := range r.Calls {
		s.perform(call)
	}
}

// threadTime is the CPU time of this thread: neither what other processes take
// nor the garbage collector's own threads are in it.
func threadTime(b testing.TB) time.Duration {
	var t unix.Timespec
	require.NoError(b, unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t))
	return time.Duration(t.Nano())
}

func (s *stage) perform(call Call) {
	switch call := call.(type) {
	case Accept:
		a := s.byID[call.Agent]
		a.offered = false
		accepted := Accepted{}
		for _, l := range call.Launches {
			a.add(l.Needs, -1)
			s.needs[l.Task] = l
			accepted.Tasks = append(accepted.Tasks, l.Task)
			s.update(l.Task, call.Agent, MesosRunning)
		}
		s.after(1, accepted)
	case Kill:
		s.byID[call.Agent].add(s.needs[call.Task].Needs, 1)
		delete(s.needs, call.Task)
		s.update(call.Task, call.Agent, MesosKilled)
	case Decline:
		for _, a := range s.agents {
			for _, id := range call.Offers {
				a.offered = a.offered && a.offer.ID != id
			}
		}
	case Revive:
		s.after(5, s.allocate())
	}
}

func (s *stage) update(task, agent string, state MesosState) {
	s.uuid++
	s.after(10+int64(s.uuid*7919%50), Update{Task: task, Agent: agent, State: state, UUID: []byte(fmt.Sprint(s.uuid)),
		Source: SourceExecutor, Report: &api.Report{Phase: api.PhaseRun}})
}

func (a *stageAgent) add(n Amounts, sign int64) {
	a.free.CPUs += sign * n.CPUs
	a.free.Memory += sign * n.Memory
	a.free.Disk += sign * n.Disk
}

// allocate offers what is free and not on offer.
func (s *stage) allocate() Offers {
	var o Offers
	for _, a := range s.agents {
		if a.offered || a.free.CPUs < 1000 {
			continue
		}
		s.uuid++
		a.offered = true
		a.offer.ID, a.offer.Free = fmt.Sprint("o", s.uuid), a.free
		a.ports = (a.ports + 100) % 20_000 // not those of before
		a.offer.Ports = []PortRange{{First: 10_000 + a.ports, Last: 10_099 + a.ports}}
		o.Offers = append(o.Offers, a.offer)
	}
	return o
}
