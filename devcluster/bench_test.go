package devcluster_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"
	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/devcluster"
)

// BenchmarkHTTP_Launches runs tasks of two updates on simulated agents through
// the scheduler API in Protocol Buffers, every update acknowledged by a call
// of its own. The client is the least that can do it, and shares the cores.
func BenchmarkHTTP_Launches(b *testing.B) {
	const agents = 20
	opts := devcluster.Options{Dir: b.TempDir(), Listen: "127.0.0.1:0", AllocationInterval: 50 * time.Millisecond}
	for range agents {
		opts.Agents = append(opts.Agents, devcluster.AgentOptions{
			Resources: "cpus:1000;mem:1000000;disk:1000000", Simulated: &devcluster.Simulation{Duration: 10 * time.Millisecond}})
	}
	c, err := devcluster.Open(opts)
	require.NoError(b, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	f := &benchFramework{b: b, url: "http://" + c.MasterAddr() + "/api/v1/scheduler", left: b.N, unfinished: b.N,
		acks: make(chan *scheduler.Call, 100000)}
	f.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	b.ResetTimer()
	f.run()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tasks/s")
	cancel()
	require.NoError(b, <-ended)
}

type benchFramework struct {
	b                *testing.B
	client           *http.Client
	url              string
	id               *mesos.FrameworkID
	stream           string
	left, unfinished int
	next             int
	acks             chan *scheduler.Call
}

func (f *benchFramework) post(c *scheduler.Call) *http.Response {
	c.FrameworkID = f.id
	text, err := c.Marshal()
	require.NoError(f.b, err)
	r, err := http.NewRequest("POST", f.url, bytes.NewReader(text))
	require.NoError(f.b, err)
	r.Header.Set("Content-Type", "application/x-protobuf")
	r.Header.Set("Accept", "application/x-protobuf")
	if f.stream != "" {
		r.Header.Set("Mesos-Stream-Id", f.stream)
	}
	resp, err := f.client.Do(r)
	require.NoError(f.b, err)
	return resp
}

func (f *benchFramework) send(c *scheduler.Call) {
	resp := f.post(c)
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	require.Equal(f.b, 202, resp.StatusCode, string(text))
}

func (f *benchFramework) run() {
	resp := f.post(&scheduler.Call{Type: scheduler.Call_SUBSCRIBE, Subscribe: &scheduler.Call_Subscribe{
		FrameworkInfo: &mesos.FrameworkInfo{User: "root", Name: "bench", Roles: []string{"bench"},
			Capabilities: []mesos.FrameworkInfo_Capability{{Type: mesos.FrameworkInfo_Capability_MULTI_ROLE}}}}})
	defer resp.Body.Close()
	f.stream = resp.Header.Get("Mesos-Stream-Id")
	var workers sync.WaitGroup
	in := bufio.NewReaderSize(resp.Body, 1<<20)
	for f.unfinished > 0 {
		line, err := in.ReadString('\n')
		require.NoError(f.b, err)
		n, err := strconv.Atoi(strings.TrimSpace(line))
		require.NoError(f.b, err)
		text := make([]byte, n)
		_, err = io.ReadFull(in, text)
		require.NoError(f.b, err)
		e := &scheduler.Event{}
		require.NoError(f.b, e.Unmarshal(text))
		if e.Type == scheduler.Event_SUBSCRIBED {
			f.id = e.Subscribed.FrameworkID
			for range 2 * runtime.NumCPU() {
				workers.Go(func() {
					for c := range f.acks {
						f.send(c)
					}
				})
			}
		}
		f.handle(e)
	}
	close(f.acks)
	workers.Wait()
}

func (f *benchFramework) handle(e *scheduler.Event) {
	switch e.Type {
	case scheduler.Event_OFFERS:
		for i := range e.Offers.Offers {
			f.accept(&e.Offers.Offers[i])
		}
	case scheduler.Event_UPDATE:
		s := &e.Update.Status
		require.NotNil(f.b, s.UUID, "%v", s)
		f.acks <- &scheduler.Call{Type: scheduler.Call_ACKNOWLEDGE, Acknowledge: &scheduler.Call_Acknowledge{
			AgentID: *s.AgentID, TaskID: s.TaskID, UUID: s.UUID}}
		if s.GetState() == mesos.TASK_FINISHED {
			f.unfinished--
		}
	}
}

func (f *benchFramework) accept(o *mesos.Offer) {
	zero := 0.0
	call := &scheduler.Call{Type: scheduler.Call_ACCEPT, Accept: &scheduler.Call_Accept{
		OfferIDs: []mesos.OfferID{o.ID}, Filters: &mesos.Filters{RefuseSeconds: &zero}}}
	var tasks []mesos.TaskInfo
	amount := map[string]float64{}
	for i := range o.Resources {
		amount[o.Resources[i].Name] = o.Resources[i].GetScalar().GetValue()
	}
	room := min(50, int(amount["cpus"]/0.11), int(amount["mem"]/64))
	for len(tasks) < room && f.left > 0 {
		f.left--
		f.next++
		tasks = append(tasks, benchTask(fmt.Sprint("task-", f.next), o.AgentID))
	}
	call.Accept.Operations = []mesos.Offer_Operation{{Type: mesos.Offer_Operation_LAUNCH,
		Launch: &mesos.Offer_Operation_Launch{TaskInfos: tasks}}}
	f.acks <- call
}

func benchTask(id string, agent mesos.AgentID) mesos.TaskInfo {
	command := "./run"
	scalar := func(name string, v float64) mesos.Resource {
		return mesos.Resource{Name: name, Type: mesos.SCALAR.Enum(), Scalar: &mesos.Value_Scalar{Value: v}}
	}
	return mesos.TaskInfo{Name: id, TaskID: mesos.TaskID{Value: id}, AgentID: agent,
		Resources: []mesos.Resource{scalar("cpus", 0.1), scalar("mem", 32)},
		Executor: &mesos.ExecutorInfo{Type: mesos.ExecutorInfo_CUSTOM, ExecutorID: mesos.ExecutorID{Value: id},
			Resources: []mesos.Resource{scalar("cpus", 0.01), scalar("mem", 32)},
			Command:   &mesos.CommandInfo{Value: &command}}}
}
