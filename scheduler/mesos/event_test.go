package mesos

import (
	"bufio"
	"bytes"
	"io"
	"testing"
	"testing/synctest"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/master"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"
	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/core"
)

func ptr[T any](v T) *T { return &v }

func TestUpdate(t *testing.T) {
	t.Parallel()
	status := mesos.TaskStatus{
		TaskID: mesos.TaskID{Value: "t"}, AgentID: &mesos.AgentID{Value: "a"},
		State: ptr(mesos.TASK_RUNNING), Source: ptr(mesos.SOURCE_EXECUTOR), Message: ptr("started"),
		UUID: []byte("0123456789abcdef"), Healthy: ptr(true), Timestamp: ptr(1700000000.123),
		Data: []byte(`{"phase":"run","successes":2,"later":1}`),
	}
	u, err := update(&status)
	require.NoError(t, err)
	require.Equal(t, core.Update{Task: "t", Agent: "a", State: core.MesosRunning, Source: core.SourceExecutor, Message: "started",
		UUID: []byte("0123456789abcdef"), Healthy: ptr(true), Timestamp: 1700000000123,
		Report: &api.Report{Phase: api.PhaseRun, Successes: 2}}, u)

	status.Data = []byte(`{"phase`)
	u, err = update(&status)
	require.ErrorContains(t, err, "report of task t")
	require.Nil(t, u.Report)
	require.Equal(t, core.MesosRunning, u.State, "the update is good without it")

	u, err = update(&mesos.TaskStatus{TaskID: mesos.TaskID{Value: "t"}, State: ptr(mesos.TASK_DROPPED),
		Source: ptr(mesos.SOURCE_MASTER), Reason: ptr(mesos.REASON_INVALID_OFFERS), Data: []byte("not ours")})
	require.NoError(t, err)
	require.Equal(t, core.Update{Task: "t", State: core.MesosDropped, Source: core.SourceMaster, Reason: "INVALID_OFFERS"}, u)

	u, err = update(&mesos.TaskStatus{State: ptr(mesos.TaskState(99))})
	require.NoError(t, err)
	require.Equal(t, core.MesosUnknown, u.State)
}

func TestUpdate_StatesHaveMesosNames(t *testing.T) {
	t.Parallel()
	for number, name := range mesos.TaskState_name {
		require.Equal(t, name, "TASK_"+states[mesos.TaskState(number)].String())
	}
}

func TestUpdates_InOrderAndTogether(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, m *fakeMaster, b *bench) {
		for _, s := range []mesos.TaskState{mesos.TASK_STARTING, mesos.TASK_RUNNING, mesos.TASK_FINISHED} {
			m.send(&scheduler.Event{Type: scheduler.Event_UPDATE, Update: &scheduler.Event_Update{
				Status: mesos.TaskStatus{TaskID: mesos.TaskID{Value: "t"}, State: &s}}})
		}
		synctest.Wait()
		var got []core.MesosState
		for _, u := range only[core.Update](b.got()) {
			got = append(got, u.State)
		}
		require.Equal(t, []core.MesosState{core.MesosStarting, core.MesosRunning, core.MesosFinished}, got)
	})
}

func TestOffer(t *testing.T) {
	t.Parallel()
	o := &mesos.Offer{
		ID: mesos.OfferID{Value: "o"}, AgentID: mesos.AgentID{Value: "a"}, Hostname: "host",
		URL: &mesos.URL{Scheme: "http", Address: mesos.Address{Hostname: ptr("host"), IP: ptr("10.0.0.1"), Port: 5051}, Path: ptr("/slave(1)")},
		Domain: &mesos.DomainInfo{FaultDomain: &mesos.DomainInfo_FaultDomain{
			Region: mesos.DomainInfo_FaultDomain_RegionInfo{Name: "eu"}, Zone: mesos.DomainInfo_FaultDomain_ZoneInfo{Name: "eu-1"}}},
		Attributes: []mesos.Attribute{
			{Name: "zone", Text: &mesos.Value_Text{Value: "z1"}},
			{Name: "rack", Text: &mesos.Value_Text{Value: "r1"}},
			{Name: "speed", Scalar: &mesos.Value_Scalar{Value: 2.50}},
			{Name: "cores", Scalar: &mesos.Value_Scalar{Value: 16}},
			{Name: "slots", Ranges: &mesos.Value_Ranges{Range: []mesos.Value_Range{{Begin: 1, End: 5}, {Begin: 8, End: 8}}}},
			{Name: "tags", Set: &mesos.Value_Set{Item: []string{"a", "b"}}},
			{Name: "none"},
		},
		Resources: []mesos.Resource{scalar("cpus", 8), ports(31000, 70000), ports(9, 5), scalar("mem", -1)},
	}
	require.Equal(t, core.Offer{ID: "o", Agent: "a", Host: "host", URL: "http://10.0.0.1:5051",
		Attributes: core.Attributes{{Name: "cores", Value: "16"}, {Name: "none"}, {Name: "rack", Value: "r1"}, {Name: "region", Value: "eu"},
			{Name: "slots", Value: "[1-5, 8-8]"}, {Name: "speed", Value: "2.5"}, {Name: "tags", Value: "{a, b}"}, {Name: "zone", Value: "z1"}},
		Free: core.Amounts{CPUs: 8000}, Ports: []core.PortRange{{First: 31000, Last: 65535}},
	}, coreOffer(o, testRole))
}

func TestAgents_ListedWhenNeeded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var c cluster
		m := c.start(t, "m1:5050")
		m.agents = []master.Response_GetAgents_Agent{{
			AgentInfo: mesos.AgentInfo{ID: &mesos.AgentID{Value: "a"}, Hostname: "host",
				Attributes: []mesos.Attribute{{Name: "rack", Text: &mesos.Value_Text{Value: "r1"}}}},
			Active: true, PID: ptr("slave(1)@10.0.0.1:5051"),
			TotalResources: []mesos.Resource{
				{Name: "cpus", Type: ptr(mesos.SCALAR), Role: ptr("*"), Scalar: &mesos.Value_Scalar{Value: 8}},
				{Name: "cpus", Type: ptr(mesos.SCALAR), Role: ptr("perigee"), Scalar: &mesos.Value_Scalar{Value: 2}},
				{Name: "cpus", Type: ptr(mesos.SCALAR), Role: ptr("other"), Scalar: &mesos.Value_Scalar{Value: 4}},
			},
		}, {AgentInfo: mesos.AgentInfo{ID: &mesos.AgentID{Value: "b"}, Hostname: "deactivated"}, Active: true, Deactivated: ptr(true)}}
		b := c.run(t, testOptions(), &bench{})
		synctest.Wait()
		b.mu.Lock()
		lists := only[core.Agents](b.events)
		b.mu.Unlock()
		require.Equal(t, []core.Agents{{Agents: []core.Agent{
			{ID: "a", Host: "host", URL: "http://10.0.0.1:5051", Attributes: core.Attributes{{Name: "rack", Value: "r1"}},
				Total: core.Amounts{CPUs: 10_000}, Active: true},
			{ID: "b", Host: "deactivated", Attributes: core.Attributes{}},
		}}}, lists)

		listed := func() int {
			m.mu.Lock()
			defer m.mu.Unlock()
			return m.listed
		}
		for range 20 { // many new agents at once: one list, one second after the last
			m.send(offerEvent("o", "a1"), offerEvent("o", "a2"), offerEvent("o", "a3"))
		}
		synctest.Wait()
		require.Equal(t, 1, listed())
		time.Sleep(5 * time.Second)
		require.Equal(t, 2, listed())

		b.got()
		m.send(&scheduler.Event{Type: scheduler.Event_FAILURE, Failure: &scheduler.Event_Failure{
			AgentID: &mesos.AgentID{Value: "a1"}, ExecutorID: &mesos.ExecutorID{Value: "e"}, Status: ptr(int32(9))}})
		time.Sleep(5 * time.Second)
		require.Empty(t, b.got(), "an executor's end is told by its task's update")
		require.Equal(t, 2, listed())
		m.send(&scheduler.Event{Type: scheduler.Event_FAILURE, Failure: &scheduler.Event_Failure{AgentID: &mesos.AgentID{Value: "a1"}}})
		time.Sleep(5 * time.Second)
		require.Equal(t, []core.Event{core.AgentRemoved{Agent: "a1"}}, b.got())
		require.Equal(t, 3, listed())
		m.send(offerEvent("o", "a1"), offerEvent("o", "a2")) // a1 is new again
		time.Sleep(5 * time.Second)
		require.Equal(t, 4, listed())
	})
}

// An agent that is not wanted is not offered, and one that the master could not
// be asked about is to be told of all the same.
func TestAgents_ListedNowAndThen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var c cluster
		m := c.start(t, "m1:5050")
		o := testOptions()
		o.MaxSilence = 1000 // this master sends no heartbeats
		b := c.run(t, o, &bench{})
		synctest.Wait()
		b.got()
		lists := func(after time.Duration) (all []core.Event) {
			time.Sleep(after)
			synctest.Wait()
			b.mu.Lock()
			defer b.mu.Unlock()
			for _, e := range b.events {
				switch e.(type) {
				case core.Agents, core.ListingAgents:
					all = append(all, e)
				}
			}
			b.events = nil
			return all
		}
		change := func(do func()) {
			m.mu.Lock()
			defer m.mu.Unlock()
			do()
		}
		change(func() { m.recovered = []mesos.AgentInfo{{ID: &mesos.AgentID{Value: "a"}}} })
		empty := core.Agents{Agents: []core.Agent{}, Recovered: []string{"a"}}
		require.Equal(t, []core.Event{core.ListingAgents{}, empty}, lists(40*time.Second))
		require.Equal(t, []core.Event{core.ListingAgents{}, empty}, lists(30*time.Second))
		change(func() { m.unlisted = true })
		require.Len(t, lists(10*time.Minute), 24, "1, 2, 4, 8, 16 and then 30 s apart")
		change(func() { m.unlisted = false })
		all := lists(31 * time.Second)
		require.Equal(t, []core.Event{core.ListingAgents{}, empty}, all[len(all)-2:])
		change(func() { m.unlisted = true })
		for len(lists(time.Second)) == 0 {
		}
		change(func() { m.unlisted = false })
		require.Len(t, lists(time.Second), 2, "soon again after the first failure")
	})
}

// Its corpus is in testdata/fuzz.
func FuzzRecordReader(f *testing.F) {
	f.Fuzz(func(t *testing.T, stream []byte) {
		d := &recordReader{r: bufio.NewReader(bytes.NewReader(stream))}
		rest := stream
		for {
			got, err := d.next()
			if err != nil {
				if err == io.EOF {
					require.Empty(t, rest, "the end comes between records")
				}
				return
			}
			length, after, found := bytes.Cut(rest, []byte("\n"))
			require.True(t, found)
			require.NotEmpty(t, length)
			require.True(t, bytes.Equal(after[:len(got)], got))
			rest = after[len(got):]
		}
	})
}
