package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// witness is told by tasks what they do, and holds them at gates. It serves the
// artifacts too.
type witness struct {
	t   *testing.T
	url string

	mu      sync.Mutex
	notes   []note
	gates   map[string]chan struct{}
	changed chan struct{}
	stall   chan struct{}
}

// note is what one task told.
type note struct {
	what, task       string
	pid, parent, uid int
}

func newWitness(t *testing.T) *witness {
	t.Helper()
	w := &witness{t: t, gates: map[string]chan struct{}{}, changed: make(chan struct{}), stall: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("/note", w.serveNote)
	mux.HandleFunc("/gate", w.serveGate)
	mux.HandleFunc("/app.pex", func(rw http.ResponseWriter, r *http.Request) { http.ServeFile(rw, r, built.pex) })
	mux.HandleFunc("/stall.pex", w.serveStall)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	w.url = "http://" + l.Addr().String()
	server := &http.Server{Handler: mux}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		close(w.stall)
		server.Close()
		<-served
	})
	return w
}

func (w *witness) serveNote(rw http.ResponseWriter, r *http.Request) {
	var n note
	if _, err := fmt.Sscanf(r.FormValue("text"), "%s %s pid=%d parent=%d uid=%d", &n.what, &n.task, &n.pid, &n.parent, &n.uid); err != nil {
		http.Error(rw, err.Error(), http.StatusBadRequest)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.notes = append(w.notes, n)
	close(w.changed)
	w.changed = make(chan struct{})
}

func (w *witness) gate(name string) chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.gates[name] == nil {
		w.gates[name] = make(chan struct{})
	}
	return w.gates[name]
}

// open lets through all that wait at a gate, and come to it later.
func (w *witness) open(name string) { close(w.gate(name)) }

func (w *witness) serveGate(rw http.ResponseWriter, r *http.Request) {
	select {
	case <-w.gate(r.FormValue("name")):
	case <-r.Context().Done():
	}
}

// serveStall begins an answer and never ends it.
func (w *witness) serveStall(rw http.ResponseWriter, r *http.Request) {
	rw.Header().Set("Content-Length", strconv.Itoa(1<<20))
	io.WriteString(rw, "PK")
	rw.(http.Flusher).Flush()
	select {
	case <-w.stall:
	case <-r.Context().Done():
	}
}

// told are the notes of one kind, in the order in which they came.
func (w *witness) told(what string) []note {
	w.mu.Lock()
	defer w.mu.Unlock()
	var found []note
	for _, n := range w.notes {
		if n.what == what {
			found = append(found, n)
		}
	}
	return found
}

// await waits until there are n notes of a kind, and returns them.
func (w *witness) await(what string, n int) []note {
	w.t.Helper()
	over := time.After(patience)
	for {
		w.mu.Lock()
		changed := w.changed
		w.mu.Unlock()
		if found := w.told(what); len(found) >= n {
			return found
		}
		select {
		case <-changed:
		case <-over:
			require.FailNow(w.t, "tasks are too slow", "%d of %d told %q", len(w.told(what)), n, what)
		}
	}
}
