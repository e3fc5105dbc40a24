package executor_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// fakeAgent speaks the agent's side of the executor API, as recorded from Apache
// Mesos in ../shared/mesos-conformance. It is a fake because the tests are about
// what an agent does only when it is in trouble.
type fakeAgent struct {
	t       testing.TB
	address string

	mu         sync.Mutex
	server     *http.Server
	changed    chan struct{}
	stream     chan any // events of the current subscription
	queued     []any    // events to deliver once there is one
	statuses   []status // in order of arrival, each uuid once
	subscribes []subscribeCall
	errors     []string

	withhold bool // do not acknowledge
	answer   func(callType string, n int) int
	calls    map[string]int
}

type subscribeCall struct {
	At      time.Time
	Tasks   []json.RawMessage `json:"unacknowledged_tasks"`
	Updates []struct {
		Status status `json:"status"`
	} `json:"unacknowledged_updates"`
}

type object = map[string]any

func newFakeAgent(t testing.TB) *fakeAgent {
	a := &fakeAgent{t: t, address: "127.0.0.1:0", changed: make(chan struct{}), calls: map[string]int{}}
	a.listen()
	t.Cleanup(a.crash)
	t.Cleanup(func() { require.Empty(t, a.failures(), "wrong calls of the executor") })
	return a
}

// listen starts the agent, or starts it again at the same address.
func (a *fakeAgent) listen() {
	l, err := net.Listen("tcp", a.address)
	require.NoError(a.t, err)
	server := &http.Server{Handler: http.HandlerFunc(a.serve)}
	a.mu.Lock()
	a.address, a.server = l.Addr().String(), server
	a.mu.Unlock()
	go func() { _ = server.Serve(l) }() // ends with crash
}

// crash ends the agent like kill -9: every connection breaks.
func (a *fakeAgent) crash() { _ = a.server.Close() }

func (a *fakeAgent) change(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f()
	close(a.changed)
	a.changed = make(chan struct{})
}

func (a *fakeAgent) news() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.changed
}

func (a *fakeAgent) received() []status {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.statuses)
}

func (a *fakeAgent) subscriptions() []subscribeCall {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.subscribes)
}

func (a *fakeAgent) failures() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.errors)
}

func (a *fakeAgent) event(e any) {
	a.change(func() {
		a.queued = append(a.queued, e)
		a.flush()
	})
}

// flush hands queued events to the subscription, if there is one.
func (a *fakeAgent) flush() {
	for a.stream != nil && len(a.queued) > 0 {
		a.stream <- a.queued[0]
		a.queued = a.queued[1:]
	}
}

func (a *fakeAgent) launch(task string, data []byte) {
	a.event(object{"type": "LAUNCH", "launch": object{"task": object{
		"task_id": object{"value": task}, "name": task, "agent_id": object{"value": "agent-1"}, "data": data}}})
}

func (a *fakeAgent) kill(task string, grace time.Duration) {
	kill := object{"task_id": object{"value": task}}
	if grace >= 0 {
		kill["kill_policy"] = object{"grace_period": object{"nanoseconds": grace.Nanoseconds()}}
	}
	a.event(object{"type": "KILL", "kill": kill})
}

func (a *fakeAgent) acknowledge(s status) {
	a.event(object{"type": "ACKNOWLEDGED", "acknowledged": object{"task_id": object{"value": s.Task.Value}, "uuid": s.UUID}})
}

func (a *fakeAgent) fail(format string, args ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.errors = append(a.errors, fmt.Sprintf(format, args...))
}

func (a *fakeAgent) serve(w http.ResponseWriter, req *http.Request) {
	var call struct {
		Type      string                   `json:"type"`
		Framework struct{ Value string }   `json:"framework_id"`
		Executor  struct{ Value string }   `json:"executor_id"`
		Subscribe *subscribeCall           `json:"subscribe"`
		Update    *struct{ Status status } `json:"update"`
		Message   *struct{ Data []byte }   `json:"message"`
	}
	body, err := io.ReadAll(req.Body)
	if err == nil {
		err = json.Unmarshal(body, &call)
	}
	if err != nil {
		return // the connection broke
	}
	if req.URL.Path != "/api/v1/executor" || req.Header.Get("Content-Type") != "application/json" ||
		call.Framework.Value != "framework-1" || call.Executor.Value != "executor-1" {
		a.fail("%s %s %s", req.Method, req.URL, body)
	}
	if code := a.codeFor(call.Type); code != 0 {
		http.Error(w, "as the test wants", code)
		return
	}
	switch {
	case call.Type == "SUBSCRIBE" && call.Subscribe != nil:
		a.subscribe(w, req, call.Subscribe)
	case call.Type == "UPDATE" && call.Update != nil:
		a.update(w, call.Update.Status)
	default:
		a.fail("unexpected call %s", body)
	}
}

func (a *fakeAgent) codeFor(callType string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls[callType]++
	if a.answer == nil {
		return 0
	}
	return a.answer(callType, a.calls[callType])
}

func (a *fakeAgent) subscribe(w http.ResponseWriter, req *http.Request, s *subscribeCall) {
	stream := make(chan any, 100)
	stream <- object{"type": "SUBSCRIBED", "subscribed": object{}}
	s.At = time.Now()
	a.change(func() {
		a.subscribes = append(a.subscribes, *s)
		a.stream = stream
		a.flush()
	})
	for _, u := range s.Updates {
		a.take(u.Status)
	}
	defer a.change(func() {
		if a.stream == stream {
			a.stream = nil
		}
	})
	w.Header().Set("Content-Type", "application/json")
	for {
		select {
		case e := <-stream:
			b, err := json.Marshal(e)
			require.NoError(a.t, err)
			fmt.Fprintf(w, "%d\n%s", len(b), b)
			w.(http.Flusher).Flush()
		case <-req.Context().Done():
			return
		}
	}
}

func (a *fakeAgent) update(w http.ResponseWriter, s status) {
	if len(s.UUID) != 16 || s.UUID[6]>>4 != 4 || s.Source != "SOURCE_EXECUTOR" || s.Executor.Value != "executor-1" || s.Time == 0 {
		a.fail("bad update %+v", s)
	}
	w.WriteHeader(http.StatusAccepted)
	a.take(s)
}

// take records an update and acknowledges it.
func (a *fakeAgent) take(s status) {
	if err := json.Unmarshal(s.Data, &s.report); err != nil {
		a.fail("data of an update: %v: %s", err, s.Data)
	}
	a.change(func() {
		if !slices.ContainsFunc(a.statuses, func(old status) bool { return string(old.UUID) == string(s.UUID) }) {
			a.statuses = append(a.statuses, s)
		}
	})
	if !a.withheld() {
		a.acknowledge(s)
	}
}

func (a *fakeAgent) withheld() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.withhold
}
