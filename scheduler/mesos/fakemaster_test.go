package mesos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/master"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"
	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/scheduler/core"
)

// cluster is a network of pipes, so that tests run on synctest's clock.
type cluster struct {
	mu      sync.Mutex
	masters map[string]*fakeMaster
}

func (c *cluster) dial(ctx context.Context, address string) (net.Conn, error) {
	c.mu.Lock()
	m := c.masters[address]
	c.mu.Unlock()
	if m == nil {
		return nil, fmt.Errorf("dial %s: connection refused", address)
	}
	near, far := net.Pipe()
	select {
	case m.conns <- far:
		return near, nil
	case <-m.done:
		return nil, fmt.Errorf("dial %s: connection refused", address)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// fakeMaster speaks the scheduler API as the goldens of Apache Mesos show it,
// as far as the driver can tell.
type fakeMaster struct {
	t       *testing.T
	address string
	conns   chan net.Conn
	done    chan struct{}
	once    sync.Once
	server  *http.Server

	mu         sync.Mutex
	leader     string // not "": redirect there
	recovering bool
	subscribes []*scheduler.Call
	calls      []*scheduler.Call
	listed     int // GET_AGENTS
	streams    int
	stream     *fakeStream
	agents     []master.Response_GetAgents_Agent
	recovered  []mesos.AgentInfo // not back since the master failed over
	unlisted   bool              // refuses GET_AGENTS

	// answer, when set, answers a call instead of 202.
	answer func(*scheduler.Call) (int, string)
	// greet, when set, gives the bytes that a subscription begins with; nil
	// refuses with refusal.
	greet   func(*scheduler.Call) []byte
	refusal int
}

type fakeStream struct {
	id  string
	out chan []byte
	end chan struct{}
}

func (c *cluster) start(t *testing.T, address string) *fakeMaster {
	m := &fakeMaster{t: t, address: address, conns: make(chan net.Conn), done: make(chan struct{})}
	m.server = &http.Server{Handler: m}
	c.mu.Lock()
	if c.masters == nil {
		c.masters = make(map[string]*fakeMaster)
	}
	c.masters[address] = m
	c.mu.Unlock()
	served := make(chan error, 1)
	go func() { served <- m.server.Serve(m) }()
	t.Cleanup(func() {
		m.kill()
		require.ErrorIs(t, <-served, http.ErrServerClosed)
	})
	return m
}

// Accept, Close and Addr make it a listener.
func (m *fakeMaster) Accept() (net.Conn, error) {
	select {
	case conn := <-m.conns:
		return conn, nil
	case <-m.done:
		return nil, net.ErrClosed
	}
}
func (m *fakeMaster) Addr() net.Addr { return &net.TCPAddr{} }
func (m *fakeMaster) Close() error {
	m.once.Do(func() { close(m.done) })
	return nil
}

// kill ends the master and its connections.
func (m *fakeMaster) kill() { m.server.Close() }

func (m *fakeMaster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	leader, recovering := m.leader, m.recovering
	m.mu.Unlock()
	switch {
	case leader != "":
		w.Header().Set("Location", "//"+leader+"/master"+r.URL.Path)
		w.WriteHeader(http.StatusTemporaryRedirect)
	case recovering:
		http.Error(w, "Master has not finished recovery", http.StatusServiceUnavailable)
	case r.URL.Path == "/api/v1":
		m.operator(w, r)
	case r.URL.Path != schedulerPath:
		http.NotFound(w, r)
	case r.Method != http.MethodPost:
		http.Error(w, "405 Method Not Allowed.", http.StatusMethodNotAllowed)
	default:
		m.scheduler(w, r)
	}
}

func (m *fakeMaster) operator(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var call master.Call
	if err := call.Unmarshal(body); err != nil || call.Type != master.Call_GET_AGENTS {
		http.Error(w, "not expected", http.StatusBadRequest)
		return
	}
	m.mu.Lock()
	m.listed++
	refuses := m.unlisted
	b, err := (&master.Response{Type: master.Response_GET_AGENTS,
		GetAgents: &master.Response_GetAgents{Agents: m.agents, RecoveredAgents: m.recovered}}).Marshal()
	m.mu.Unlock()
	if refuses {
		http.Error(w, "no", http.StatusForbidden)
		return
	}
	if err != nil {
		panic(err)
	}
	w.Header().Set("Content-Type", protobufType)
	w.Write(b)
}

func (m *fakeMaster) scheduler(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	call := new(scheduler.Call)
	if err != nil || r.Header.Get("Content-Type") != protobufType || call.Unmarshal(body) != nil {
		http.Error(w, "Failed to parse body into Call protobuf", http.StatusBadRequest)
		return
	}
	if call.Type == scheduler.Call_SUBSCRIBE {
		m.subscribe(w, r, call)
		return
	}
	m.mu.Lock()
	status, text := http.StatusAccepted, ""
	switch stream := r.Header.Get("Mesos-Stream-Id"); {
	case m.stream == nil:
		status, text = http.StatusForbidden, "Framework is not subscribed"
	case m.stream.id != stream:
		status, text = http.StatusBadRequest, "The stream ID '"+stream+"' included in this request didn't match the stream ID currently associated with framework ID f"
	default:
		m.calls = append(m.calls, call)
	}
	answer := m.answer
	m.mu.Unlock()
	if status == http.StatusAccepted && answer != nil {
		status, text = answer(call)
	}
	w.WriteHeader(status)
	io.WriteString(w, text)
}

func (m *fakeMaster) subscribe(w http.ResponseWriter, r *http.Request, call *scheduler.Call) {
	m.mu.Lock()
	m.subscribes = append(m.subscribes, call)
	m.streams++
	greeting := greeting(call)
	if m.greet != nil {
		greeting = m.greet(call)
	}
	if greeting == nil {
		status := m.refusal
		m.mu.Unlock()
		http.Error(w, "Failed to validate scheduler::Call: no", status)
		return
	}
	stream := &fakeStream{id: "stream-" + strconv.Itoa(m.streams), out: make(chan []byte), end: make(chan struct{})}
	m.stream = stream
	m.mu.Unlock()
	w.Header().Set("Content-Type", protobufType)
	w.Header().Set("Mesos-Stream-Id", stream.id)
	w.WriteHeader(http.StatusOK)
	w.Write(greeting)
	flush := http.NewResponseController(w)
	for {
		if flush.Flush() != nil {
			return
		}
		select {
		case b := <-stream.out:
			w.Write(b)
		case <-stream.end:
			return
		case <-m.done:
			return
		case <-r.Context().Done():
			return
		}
	}
}

// greeting is SUBSCRIBED and the first HEARTBEAT.
func greeting(call *scheduler.Call) []byte {
	id := call.FrameworkID
	if id == nil {
		id = &mesos.FrameworkID{Value: "framework-1"}
	}
	interval := 15.0
	return append(record(&scheduler.Event{Type: scheduler.Event_SUBSCRIBED,
		Subscribed: &scheduler.Event_Subscribed{FrameworkID: id, HeartbeatIntervalSeconds: &interval}}),
		record(heartbeat)...)
}

var heartbeat = &scheduler.Event{Type: scheduler.Event_HEARTBEAT}

func errorEvent(message string) *scheduler.Event {
	return &scheduler.Event{Type: scheduler.Event_ERROR, Error: &scheduler.Event_Error{Message: message}}
}

func rescind(id string) *scheduler.Event {
	return &scheduler.Event{Type: scheduler.Event_RESCIND, Rescind: &scheduler.Event_Rescind{OfferID: mesos.OfferID{Value: id}}}
}

// record is an event as it stands in the stream.
func record(e *scheduler.Event) []byte {
	b, err := e.Marshal()
	if err != nil {
		panic(err)
	}
	return append([]byte(strconv.Itoa(len(b))+"\n"), b...)
}

// send writes events to the current stream.
func (m *fakeMaster) send(events ...*scheduler.Event) {
	for _, e := range events {
		m.current().out <- record(e)
	}
}

// endStream closes the current stream, as Mesos does after ERROR.
func (m *fakeMaster) endStream() {
	m.mu.Lock()
	defer m.mu.Unlock()
	close(m.stream.end)
	m.stream = nil
}

func (m *fakeMaster) current() *fakeStream {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.stream
}

// received returns the calls so far, SUBSCRIBE apart.
func (m *fakeMaster) received() []*scheduler.Call {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]*scheduler.Call(nil), m.calls...)
}

func (m *fakeMaster) subscribed() []*scheduler.Call {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]*scheduler.Call(nil), m.subscribes...)
}

// bench is a driver with an engine that notes events.
type bench struct {
	*Driver
	mu     sync.Mutex
	events []core.Event
	// on, when set, is called with each event, in Deliver.
	on func(core.Event)
	// manual: Connecting is not answered with Subscribe.
	manual bool
	result chan error
}

const testSHA = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

func testOptions() Options {
	return Options{
		Master:   "m1:5050",
		Executor: ExecutorOptions{URL: "http://scheduler:7300/executor", SHA256: testSHA},
		Logger:   slog.New(slog.DiscardHandler),
		Random:   func() float64 { return 1 },
	}
}

// run runs a driver until the test ends.
func (c *cluster) run(t *testing.T, o Options, b *bench) *bench {
	o.dial = c.dial
	o.Deliver = b.deliver
	b.Driver = New(o)
	b.result = make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { b.result <- b.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-b.result; err != nil {
			require.ErrorAs(t, err, new(*FatalError), "Run")
		}
	})
	return b
}

func (b *bench) deliver(ctx context.Context, events ...core.Event) error {
	for _, e := range events {
		b.mu.Lock()
		b.events = append(b.events, e)
		on, manual := b.on, b.manual
		b.mu.Unlock()
		if _, connecting := e.(core.Connecting); connecting && !manual {
			b.Perform([]core.Call{core.Subscribe{FrameworkID: "f"}})
		}
		if on != nil {
			on(e)
		}
	}
	return ctx.Err()
}

// got returns the events since the last time, without those about lists of
// agents.
func (b *bench) got() []core.Event {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []core.Event
	for _, e := range b.events {
		switch e.(type) {
		case core.Agents, core.ListingAgents:
		default:
			out = append(out, e)
		}
	}
	b.events = nil
	return out
}

// only returns those events of got that are of type T.
func only[T core.Event](events []core.Event) []T {
	var out []T
	for _, e := range events {
		if e, is := e.(T); is {
			out = append(out, e)
		}
	}
	return out
}

// bubble runs a test on a fake clock, with a master m1 and a driver.
func bubble(t *testing.T, test func(t *testing.T, m *fakeMaster, b *bench)) {
	synctest.Test(t, func(t *testing.T) {
		var c cluster
		m := c.start(t, "m1:5050")
		b := c.run(t, testOptions(), &bench{})
		synctest.Wait()
		require.Equal(t, []core.Event{core.Connecting{}, core.Subscribed{FrameworkID: "f", Master: "m1:5050"}}, b.got())
		test(t, m, b)
	})
}

var errTest = errors.New("test")
