package mesos

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"
	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/scheduler/core"
)

func TestSubscribe_WaitsForTheEngine(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var c cluster
		m := c.start(t, "m1:5050")
		o := testOptions()
		o.Framework = FrameworkOptions{Name: "perigee", User: "root", Role: "web", WebUI: "http://ui", Hostname: "host"}
		b := c.run(t, o, &bench{manual: true})
		time.Sleep(time.Hour)
		require.Equal(t, []core.Event{core.Connecting{}}, b.got())
		require.Empty(t, m.subscribed(), "SUBSCRIBE only follows a fenced write")

		b.Perform([]core.Call{core.Subscribe{FrameworkID: "f", Suppressed: true}})
		synctest.Wait()
		require.Equal(t, []core.Event{core.Subscribed{FrameworkID: "f", Master: "m1:5050"}}, b.got())
		week, yes := (7 * 24 * time.Hour).Seconds(), true
		id := &mesos.FrameworkID{Value: "f"}
		require.Equal(t, []*scheduler.Call{{
			Type: scheduler.Call_SUBSCRIBE, FrameworkID: id,
			Subscribe: &scheduler.Call_Subscribe{SuppressedRoles: []string{"web"}, FrameworkInfo: &mesos.FrameworkInfo{
				ID: id, Name: "perigee", User: "root", Roles: []string{"web"}, FailoverTimeout: &week, Checkpoint: &yes,
				WebUiURL: optional("http://ui"), Hostname: optional("host"),
				Capabilities: []mesos.FrameworkInfo_Capability{
					{Type: mesos.FrameworkInfo_Capability_MULTI_ROLE},
					{Type: mesos.FrameworkInfo_Capability_PARTITION_AWARE},
					{Type: mesos.FrameworkInfo_Capability_TASK_KILLING_STATE},
					{Type: mesos.FrameworkInfo_Capability_RESERVATION_REFINEMENT},
					{Type: mesos.FrameworkInfo_Capability_REGION_AWARE},
				},
			}},
		}}, m.subscribed())
	})
}

func TestSubscribe_NewFrameworkHasNoID(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var c cluster
		m := c.start(t, "m1:5050")
		b := c.run(t, testOptions(), &bench{manual: true})
		synctest.Wait()
		b.Perform([]core.Call{core.Subscribe{}})
		synctest.Wait()
		require.Equal(t, core.Subscribed{FrameworkID: "framework-1", Master: "m1:5050"}, b.got()[1])
		require.Nil(t, m.subscribed()[0].FrameworkID)
		require.Nil(t, m.subscribed()[0].Subscribe.FrameworkInfo.ID)
		require.Empty(t, m.subscribed()[0].Subscribe.SuppressedRoles)
	})
}

func TestSubscribe_CallsPerformedMeanwhileFollow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var c cluster
		m := c.start(t, "m1:5050")
		b := c.run(t, testOptions(), &bench{manual: true})
		synctest.Wait()
		b.Perform([]core.Call{core.Kill{Task: "too-early"}, core.Subscribe{FrameworkID: "f"}, core.Revive{}})
		b.Perform([]core.Call{core.Kill{Task: "t", Agent: "a"}})
		synctest.Wait()
		require.Equal(t, []string{"REVIVE", "KILL t"}, summaries(m.received()))
		require.EqualValues(t, 1, b.Stats().Dropped)
	})
}

func TestSubscribe_OnlyInAnswerToConnecting(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, m *fakeMaster, b *bench) {
		b.Perform([]core.Call{core.Subscribe{FrameworkID: "f"}, core.Kill{Task: "t", Agent: "a"}})
		synctest.Wait()
		require.Equal(t, []string{"KILL t"}, summaries(m.received()), "the subscription goes on")
		m.endStream()
		b.mu.Lock()
		b.manual = true
		b.mu.Unlock()
		time.Sleep(time.Minute)
		require.Len(t, m.subscribed(), 1, "a SUBSCRIBE that nobody asked for is not kept for later")
	})
}

func TestDetect_FollowsRedirect(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var c cluster
		old, leading := c.start(t, "m1:5050"), c.start(t, "m2:5050")
		old.leader = "m2:5050"
		o := testOptions()
		o.Master = "gone:5050,m1:5050"
		b := c.run(t, o, &bench{})
		synctest.Wait()
		require.Equal(t, []core.Event{core.Connecting{}, core.Subscribed{FrameworkID: "f", Master: "m2:5050"}}, b.got())
		require.Empty(t, old.subscribed())
		b.Perform([]core.Call{core.Kill{Task: "t", Agent: "a"}})
		synctest.Wait()
		require.Equal(t, []string{"KILL t"}, summaries(leading.received()))
	})
}

func TestDetect_WaitsForALeaderThatHasRecovered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var c cluster
		m := c.start(t, "m1:5050")
		m.recovering = true
		b := c.run(t, testOptions(), &bench{})
		time.Sleep(time.Minute)
		require.Empty(t, b.got(), "no write of the journal while nobody leads")
		m.mu.Lock()
		m.recovering = false
		m.mu.Unlock()
		time.Sleep(16 * time.Second) // the longest wait
		require.Equal(t, []core.Event{core.Connecting{}, core.Subscribed{FrameworkID: "f", Master: "m1:5050"}}, b.got())
	})
}

func TestFailover_ToAnotherMaster(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var c cluster
		m1, m2 := c.start(t, "m1:5050"), c.start(t, "m2:5050")
		m2.leader = "m1:5050"
		o := testOptions()
		o.Master = "m1:5050,m2:5050"
		b := c.run(t, o, &bench{})
		synctest.Wait()
		b.got()
		m1.kill()
		m2.mu.Lock()
		m2.leader = ""
		m2.mu.Unlock()
		time.Sleep(time.Second)
		events := b.got()
		require.Len(t, events, 3)
		require.IsType(t, core.Disconnected{}, events[0])
		require.Equal(t, []core.Event{core.Connecting{}, core.Subscribed{FrameworkID: "f", Master: "m2:5050"}}, events[1:])
	})
}

func TestHeartbeat_MissedEndsTheStream(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, m *fakeMaster, b *bench) {
		for range 10 {
			time.Sleep(15 * time.Second)
			m.send(heartbeat)
		}
		time.Sleep(37 * time.Second)
		require.Empty(t, b.got())
		time.Sleep(time.Second) // 2.5 heartbeats, and then the backoff
		events := b.got()
		require.Len(t, events, 3)
		require.Contains(t, events[0].(core.Disconnected).Reason, "no heartbeat")
		require.IsType(t, core.Connecting{}, events[1])
		require.Len(t, m.subscribed(), 2)
	})
}

func TestHeartbeat_SlowEngineIsNoDeadMaster(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, m *fakeMaster, b *bench) {
		goOn := make(chan struct{})
		b.mu.Lock()
		b.on = func(core.Event) { <-goOn }
		b.mu.Unlock()
		const n = 2*outboxLimit + 1000
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			for i := range n {
				m.send(rescind(fmt.Sprint(i)))
			}
		}()
		time.Sleep(10 * time.Minute)
		close(goOn)
		<-sent
		synctest.Wait()
		events := b.got()
		require.Len(t, events, n)
		for i, e := range events {
			require.Equal(t, core.Rescinded{Offer: fmt.Sprint(i)}, e)
		}
	})
}

func TestFailedOver_SubscribesOnlyThroughTheEngine(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, m *fakeMaster, b *bench) {
		b.mu.Lock()
		b.manual = true
		b.mu.Unlock()
		m.send(errorEvent("Framework failed over"))
		time.Sleep(time.Minute)
		events := b.got()
		require.Len(t, events, 2)
		require.Contains(t, events[0].(core.Disconnected).Reason, "Framework failed over")
		require.Equal(t, core.Connecting{}, events[1])
		require.Len(t, m.subscribed(), 1, "only a fenced write may be followed by SUBSCRIBE")
	})
}

func TestRemoved_IsFatal(t *testing.T) {
	t.Parallel()
	for name, remove := range map[string]func(*testing.T, *fakeMaster){
		"while subscribed": func(t *testing.T, m *fakeMaster) {
			m.send(errorEvent("Framework has been removed"))
		},
		"when it subscribes": func(t *testing.T, m *fakeMaster) {
			m.mu.Lock()
			m.greet = func(*scheduler.Call) []byte { return record(errorEvent("Framework has been removed")) }
			m.mu.Unlock()
			m.endStream()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, m *fakeMaster, b *bench) {
				remove(t, m)
				time.Sleep(time.Second)
				err := <-b.result
				b.result <- err
				require.ErrorAs(t, err, new(*FatalError))
				require.ErrorContains(t, err, "Framework has been removed")
				require.ErrorContains(t, err, "--new-framework")
				events := b.got()
				require.Contains(t, events[len(events)-1].(core.Disconnected).Reason, "Framework has been removed")
			})
		})
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	for message, fatal := range map[string]bool{
		"'FrameworkInfo.roles' contains invalid role: Role component 'a b' is invalid because it contains backspace or whitespace": true,
		"Updating 'FrameworkInfo.user' is unsupported; attempted to update from 'root' to 'nobody'":                                true,
		"Not authorized to use role 'web'": false,
		"something new":                    false,
	} {
		t.Run(message, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var c cluster
				m := c.start(t, "m1:5050")
				m.greet = func(*scheduler.Call) []byte { return record(errorEvent(message)) }
				b := c.run(t, testOptions(), &bench{})
				time.Sleep(time.Minute)
				if fatal {
					err := <-b.result
					b.result <- err
					require.ErrorAs(t, err, new(*FatalError))
					require.ErrorContains(t, err, message)
					require.Len(t, m.subscribed(), 1)
					return
				}
				require.Greater(t, len(m.subscribed()), 3, "it is tried again")
				require.Less(t, len(m.subscribed()), 12, "with backoff")
				for _, e := range only[core.Disconnected](b.got()) {
					require.Contains(t, e.Reason, message)
				}
			})
		})
	}
}

func TestSubscribe_AnsweredWithAnError(t *testing.T) {
	t.Parallel()
	for status, fatal := range map[int]bool{400: true, 401: false, 403: false, 503: false} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var c cluster
				m := c.start(t, "m1:5050")
				m.greet = func(*scheduler.Call) []byte { return nil }
				m.refusal = status
				b := c.run(t, testOptions(), &bench{})
				time.Sleep(time.Minute)
				events := b.got()
				require.Equal(t, len(m.subscribed()), len(only[core.Disconnected](events)), "one Disconnected each")
				require.Equal(t, fatal, len(m.subscribed()) == 1)
			})
		})
	}
}

func TestStream_CutAnywhere(t *testing.T) {
	t.Parallel()
	first := greeting(&scheduler.Call{FrameworkID: &mesos.FrameworkID{Value: "f"}})
	var whole []byte
	ends := []int{} // of each rescind in whole
	for i := range 5 {
		whole = append(whole, record(rescind(strings.Repeat("x", i*3)))...)
		ends = append(ends, len(whole))
	}
	for cut := range len(whole) + 1 {
		bubble(t, func(t *testing.T, m *fakeMaster, b *bench) {
			m.current().out <- whole[:cut]
			synctest.Wait()
			m.endStream()
			time.Sleep(100 * time.Millisecond)
			events := b.got()
			complete := 0
			for complete < len(ends) && ends[complete] <= cut {
				complete++
			}
			require.Len(t, events, complete+1, "cut at %d", cut)
			for i := range complete {
				require.Equal(t, core.Rescinded{Offer: strings.Repeat("x", i*3)}, events[i])
			}
			require.IsType(t, core.Disconnected{}, events[complete])
		})
	}
	for cut := range len(first) { // before there is a subscription, too
		synctest.Test(t, func(t *testing.T) {
			var c cluster
			m := c.start(t, "m1:5050")
			m.greet = func(*scheduler.Call) []byte { return first[:cut:cut] }
			b := c.run(t, testOptions(), &bench{})
			synctest.Wait()
			m.endStream()
			time.Sleep(50 * time.Millisecond)
			events := b.got()
			require.Equal(t, core.Connecting{}, events[0])
			require.IsType(t, core.Disconnected{}, events[len(events)-1])
			require.Len(t, only[core.Disconnected](events), 1)
		})
	}
}

func TestStream_MalformedEventIsLeftOut(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, m *fakeMaster, b *bench) {
		m.send(rescind("1"))
		m.current().out <- []byte("3\n\xff\xff\xff")
		m.current().out <- []byte("2\n\x08\x63") // type 99
		m.current().out <- []byte("2\n\x08\x04") // UPDATE without its field
		m.send(rescind("2"))
		synctest.Wait()
		require.Equal(t, []core.Event{core.Rescinded{Offer: "1"}, core.Rescinded{Offer: "2"}}, b.got())
		require.EqualValues(t, 1, b.Stats().Malformed)
	})
}

func TestStream_LengthIsNoNumber(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, m *fakeMaster, b *bench) {
		m.current().out <- []byte("18446744073709551615\n")
		time.Sleep(100 * time.Millisecond)
		require.Contains(t, b.got()[0].(core.Disconnected).Reason, "longer than")
	})
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var c cluster
		var tries []time.Duration
		start := time.Now()
		o := testOptions()
		b := &bench{Driver: New(o)}
		b.dial = func(ctx context.Context, address string) (net.Conn, error) {
			tries = append(tries, time.Since(start))
			return c.dial(ctx, address)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
		defer cancel()
		b.Driver.o.Deliver = b.deliver
		b.http.Transport.(*http.Transport).DialContext = func(ctx context.Context, _, address string) (net.Conn, error) {
			return b.dial(ctx, address)
		}
		require.NoError(t, b.Run(ctx))
		ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
		require.Equal(t, []time.Duration{0, ms(200), ms(600), ms(1400), ms(3000), ms(6200), ms(12600), ms(25400)}, tries[:8])
	})
}

func TestBackoff_StartsAnewAfterASubscriptionThatHeld(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var c cluster
		m := c.start(t, "m1:5050")
		b := c.run(t, testOptions(), &bench{})
		synctest.Wait()
		for n := range 7 { // ended at once, the next comes ever later
			m.endStream()
			wait := 200 * time.Millisecond << n
			time.Sleep(wait - time.Millisecond)
			require.Equal(t, n+1, len(m.subscribed()))
			time.Sleep(2 * time.Millisecond)
			require.Equal(t, n+2, len(m.subscribed()))
		}
		b.got()
		time.Sleep(15 * time.Second)
		m.send(heartbeat)
		m.endStream()
		time.Sleep(201 * time.Millisecond)
		require.Len(t, b.got(), 3, "disconnected, connecting, subscribed")
	})
}

func TestRun_OptionsAreChecked(t *testing.T) {
	t.Parallel()
	err := New(Options{Master: "zk://host"}).Run(t.Context())
	require.ErrorContains(t, err, `the mesos master "zk://host" has no path`)
	require.ErrorContains(t, err, "the executor's URL is missing")
	require.ErrorContains(t, err, "is not 64 hexadecimal digits")
}

func TestRun_EndsWhenTheEngineDoes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var c cluster
		c.start(t, "m1:5050")
		o := testOptions()
		o.dial = c.dial
		o.Deliver = func(context.Context, ...core.Event) error { return errTest }
		require.ErrorIs(t, New(o).Run(t.Context()), errTest)
	})
}
