package mesos

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/scheduler/core"
)

// plainMaster subscribes whoever asks and accepts every call without looking at
// it, at as little cost as possible, so that a benchmark shows the driver's.
type plainMaster struct {
	net.Listener
	offers chan []byte // sent on the stream
}

func (m *plainMaster) serve() {
	for {
		conn, err := m.Accept()
		if err != nil {
			return
		}
		go m.connection(conn)
	}
}

func (m *plainMaster) connection(conn net.Conn) {
	defer conn.Close()
	r, w := bufio.NewReaderSize(conn, 64<<10), bufio.NewWriterSize(conn, 64<<10)
	for {
		length, subscribe := 0, true
		line, err := r.ReadSlice('\n')
		if err != nil {
			return
		}
		if strings.HasPrefix(string(line), "GET ") {
			w.WriteString("HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			w.Flush()
			return
		}
		operator := strings.Contains(string(line), " /api/v1 ")
		for len(line) > 2 {
			if line, err = r.ReadSlice('\n'); err != nil {
				return
			}
			if n, found := strings.CutPrefix(string(line), "Content-Length: "); found {
				fmt.Sscan(n, &length)
			}
			subscribe = subscribe && !strings.HasPrefix(string(line), "Mesos-Stream-Id")
		}
		if _, err := r.Discard(length); err != nil {
			return
		}
		switch {
		case operator:
			w.WriteString("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		case subscribe:
			w.WriteString("HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nMesos-Stream-Id: s\r\nConnection: close\r\n\r\n")
			w.Write(greeting(subscribeCall(FrameworkOptions{}, core.Subscribe{FrameworkID: "f"})))
			w.Flush()
			for b := range m.offers {
				if _, err := conn.Write(b); err != nil {
					return
				}
			}
			return
		default:
			w.WriteString("HTTP/1.1 202 Accepted\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Length: 0\r\n\r\n")
		}
		if r.Buffered() == 0 {
			w.Flush()
		}
	}
}

// benchDriver runs a driver against a master at address; Accepted events and
// offers are counted.
func benchDriver(b *testing.B, address string) (d *Driver, accepted, offered chan int) {
	accepted, offered = make(chan int, 1<<20), make(chan int, 1<<20)
	subscribed := make(chan struct{})
	o := testOptions()
	o.Master = address
	o.Deliver = func(_ context.Context, events ...core.Event) error {
		for _, e := range events {
			switch e := e.(type) {
			case core.Connecting:
				d.Perform([]core.Call{core.Subscribe{FrameworkID: "f"}})
			case core.Subscribed:
				close(subscribed)
			case core.Accepted:
				if e.Err != "" {
					b.Error(e.Err)
				}
				accepted <- len(e.Tasks)
			case core.Offers:
				offered <- len(e.Offers)
			}
		}
		return nil
	}
	d = New(o)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	b.Cleanup(func() {
		cancel()
		require.NoError(b, <-ended)
	})
	<-subscribed
	return d, accepted, offered
}

func plain(b *testing.B) *plainMaster {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	m := &plainMaster{Listener: listener, offers: make(chan []byte, 1024)}
	go m.serve()
	b.Cleanup(func() { listener.Close(); close(m.offers) })
	return m
}

const benchAgents = 1000

// acknowledge performs n acknowledgements of many agents, 500 at a time as an
// engine's batches are, and waits until all are answered.
func acknowledge(d *Driver, n int) {
	uuid := make([]byte, 16)
	for done := 0; done < n; {
		var calls []core.Call
		for ; len(calls) < 500 && done < n; done++ {
			calls = append(calls, core.Acknowledge{Task: fmt.Sprintf("task-%012d", done), Agent: fmt.Sprintf("agent-%04d", done%benchAgents), UUID: uuid})
		}
		d.Perform(calls)
	}
	d.queue.idle()
}

func BenchmarkAcknowledge(b *testing.B) {
	d, _, _ := benchDriver(b, plain(b).Addr().String())
	b.ReportAllocs()
	for b.Loop() {
		acknowledge(d, 10_000)
	}
	b.ReportMetric(float64(10_000*b.N)/b.Elapsed().Seconds(), "acks/s")
}

// The same against net/http's server, which costs more than the driver.
func BenchmarkAcknowledge_NetHTTP(b *testing.B) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch {
		case r.Method == http.MethodGet:
			w.WriteHeader(http.StatusMethodNotAllowed)
		case r.URL.Path == "/api/v1":
			w.WriteHeader(http.StatusServiceUnavailable)
		case r.Header.Get("Mesos-Stream-Id") == "" && len(body) > 0:
			w.Header().Set("Content-Type", protobufType)
			w.Header().Set("Mesos-Stream-Id", "s")
			w.Write(greeting(subscribeCall(FrameworkOptions{}, core.Subscribe{FrameworkID: "f"})))
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		default:
			w.WriteHeader(http.StatusAccepted)
		}
	}))
	b.Cleanup(server.Close)
	d, _, _ := benchDriver(b, strings.TrimPrefix(server.URL, "http://"))
	for b.Loop() {
		acknowledge(d, 10_000)
	}
	b.ReportMetric(float64(10_000*b.N)/b.Elapsed().Seconds(), "acks/s")
}

// One ACCEPT per agent with 5 tasks each, from the agent's offer on.
func BenchmarkLaunch(b *testing.B) {
	m := plain(b)
	d, accepted, offered := benchDriver(b, m.Addr().String())
	definition := []byte(`{"task":"t","spec":"` + strings.Repeat("x", 2000) + `"}`)
	const each = 5
	b.ReportAllocs()
	for b.Loop() {
		var calls []core.Call
		for a := range benchAgents {
			id := fmt.Sprint("offer-", a)
			m.offers <- record(offerEvent(id, fmt.Sprint("agent-", a), ports(31000, 32000), scalar("cpus", 64), scalar("mem", 65536), scalar("disk", 65536)))
			c := core.Accept{Agent: fmt.Sprint("agent-", a), Offers: []string{id}}
			for n := range each {
				c.Launches = append(c.Launches, core.Launch{Task: fmt.Sprintf("task-%d-%d", a, n), Name: "team/prod/job/1", Definition: definition,
					Needs: core.Amounts{CPUs: 100, Memory: 64_000, Disk: 64_000}, Ports: []uint32{uint32(31000 + n)}, ShutdownGrace: 10_000})
			}
			calls = append(calls, c)
		}
		for n := 0; n < benchAgents; {
			n += <-offered
		}
		d.Perform(calls)
		for n := 0; n < benchAgents*each; {
			n += <-accepted
		}
	}
	b.ReportMetric(float64(benchAgents*each*b.N)/b.Elapsed().Seconds(), "launches/s")
}

// idle waits until every call was answered.
func (q *queue) idle() {
	for ; ; runtime.Gosched() {
		q.mu.Lock()
		left := q.pending + len(q.backlog)
		q.mu.Unlock()
		if left == 0 {
			return
		}
	}
}
