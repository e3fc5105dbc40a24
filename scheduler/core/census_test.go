package core

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/perigee-sched/perigee/scheduler/record"
)

// listed is a list of n agents, as the master has them.
func listed(n int) Agents {
	list := Agents{Agents: make([]Agent, n)}
	for i := range list.Agents {
		host := fmt.Sprintf("agent%06d.example.com", i)
		list.Agents[i] = Agent{ID: fmt.Sprintf("1c7e3f0e-6f0e-4b7b-a0a1-2f6c0f7d9a51-S%d", i), Host: host, URL: "http://" + host + ":5051",
			Attributes: Attributes{{"rack", fmt.Sprint("r", i%40)}, {"zone", fmt.Sprint("z", i%3)}}, Active: true}
	}
	return list
}

// subscribed is a core that leads, at some time.
func subscribed(t testing.TB) *Core {
	c, err := Load(Config{}, func(func(string, Record) bool) {})
	require.NoError(t, err)
	c.Step(1000, []Event{Elected{Scheduler: "s1", Incarnation: "abcd"}, Connecting{}, Subscribed{FrameworkID: "f1", Master: "m1"}})
	return c
}

// Many agents join, and are lost, some at a time: no entry is long, whoever else
// waits for it.
func TestCensus_OfManyIsTakenInParts(t *testing.T) {
	t.Parallel()
	const n = 12_345
	c := subscribed(t)
	now := int64(1000)
	all := func(r Ready, typ string) {
		told := 0
		for told < n {
			require.LessOrEqual(t, len(r.Events), countAtOnce)
			require.Equal(t, len(r.Events), len(r.Writes))
			for _, e := range r.Events {
				require.Equal(t, typ, e.Type)
			}
			if told += len(r.Events); told == n {
				return
			}
			require.NotZero(t, r.Wake)
			require.LessOrEqual(t, r.Wake, now+countPace)
			now = r.Wake
			r = c.Step(now, nil)
		}
	}
	all(c.Step(now, []Event{listed(n)}), "agent.joined")
	require.Empty(t, c.Step(now, []Event{listed(n)}).Events)
	all(c.Step(now, []Event{Agents{}}), "agent.lost")
	require.Empty(t, c.census.known)
}

// A list that comes while another is still told of replaces it, and so does the
// word of the master.
func TestCensus_IsOfTheLastList(t *testing.T) {
	t.Parallel()
	c := subscribed(t)
	first := listed(3000)
	require.Len(t, c.Step(1000, []Event{first}).Events, countAtOnce)
	gone := first.Agents[2999].ID
	c.Step(1000, []Event{AgentRemoved{gone}})
	joined := map[string]bool{}
	r := c.Step(1001, []Event{Agents{Agents: first.Agents[:2000]}})
	for now := int64(1001); ; now = r.Wake {
		for _, e := range r.Events {
			require.Equal(t, "agent.joined", e.Type)
			joined[e.Agent] = true
		}
		if len(c.census.joining) == 0 {
			break
		}
		r = c.Step(now, nil)
	}
	require.False(t, joined[gone])
	require.Len(t, c.census.known, 2000)
	c.Step(2000, []Event{Agents{Agents: first.Agents}, Disconnected{Reason: "test"}})
	r = c.Step(5000, nil)
	require.Empty(t, r.Events, "what was to be told is of a subscription that is over")
}

// BenchmarkCensus is the first list of a cluster, one step with the agents that
// join in it: what all others wait for then.
func BenchmarkCensus(b *testing.B) {
	for _, n := range []int{750, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			list := listed(n)
			var bytes, steps int
			for b.Loop() {
				b.StopTimer()
				c := subscribed(b)
				b.StartTimer()
				r := c.Step(1000, []Event{list})
				b.StopTimer()
				bytes, steps = 0, 1
				for _, wr := range r.Writes {
					bytes += len(wr.Key) + proto.Size(wr.Record)
				}
				for _, e := range r.Events {
					bytes += proto.Size(e)
				}
				for len(c.census.joining) > 0 {
					c.Step(c.wake(), nil)
					steps++
				}
				b.StartTimer()
			}
			b.ReportMetric(float64(bytes)/1024, "KiB/entry")
			b.ReportMetric(float64(steps), "entries")
		})
	}
}

// BenchmarkCensusUnchanged is a list that brings nothing new.
func BenchmarkCensusUnchanged(b *testing.B) {
	for _, n := range []int{750, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			list := listed(n)
			c := subscribed(b)
			for c.Step(1000, []Event{list}); len(c.census.joining) > 0; {
				c.Step(c.wake(), nil)
			}
			for b.Loop() {
				require.Empty(b, c.Step(c.now, []Event{list}).Events)
			}
		})
	}
}

// BenchmarkCensusLoad is what the agents of a cluster add to the load of a new
// leader.
func BenchmarkCensusLoad(b *testing.B) {
	for _, n := range []int{750, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var records []*record.Agent
			for _, a := range listed(n).Agents {
				records = append(records, &record.Agent{Id: a.ID, Host: a.Host, JoinedAt: 1000})
			}
			for b.Loop() {
				c, err := Load(Config{}, func(yield func(string, Record) bool) {
					for _, a := range records {
						if !yield(record.AgentKey(a.Id), a) {
							return
						}
					}
				})
				require.NoError(b, err)
				require.Len(b, c.census.known, n)
			}
		})
	}
}
