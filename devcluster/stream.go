package devcluster

import (
	"context"
	"net/http"
	"sync"

	"github.com/perigee-sched/perigee/devcluster/wire"
)

// stream is an open subscription: events that are to go out, and the response
// they go out on. It takes events without end: a client that does not read is
// a client that is being debugged.
type stream struct {
	uuid   string // Mesos-Stream-Id of a scheduler's
	mu     sync.Mutex
	queue  []any
	closed bool
	wake   chan struct{}
}

func newStream() *stream { return &stream{wake: make(chan struct{}, 1)} }

func (s *stream) push(event any) {
	s.mu.Lock()
	s.queue = append(s.queue, event)
	s.mu.Unlock()
	s.signal()
}

// close ends the stream after what was pushed.
func (s *stream) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.signal()
}

func (s *stream) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *stream) take() (events []any, closed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	events, s.queue = s.queue, nil
	return events, s.closed
}

// writeAt is how many bytes of events are written at once, about.
const writeAt = 64 << 10

// serve writes events until the stream is closed, and then returns true, or
// until the client is gone.
func (s *stream) serve(ctx context.Context, w http.ResponseWriter, format string) bool {
	w.Header().Set("Content-Type", format)
	w.WriteHeader(http.StatusOK)
	flush := http.NewResponseController(w).Flush
	if flush() != nil {
		return false
	}
	var b []byte
	write := func() bool {
		_, err := w.Write(b)
		b = b[:0]
		return err == nil && flush() == nil
	}
	for {
		select {
		case <-s.wake:
		case <-ctx.Done():
			return false
		}
		events, closed := s.take()
		for _, e := range events {
			b = wire.AppendRecord(b, encodeEvent(e, format))
			if len(b) >= writeAt && !write() {
				return false
			}
		}
		if len(b) > 0 && !write() {
			return false
		}
		if closed {
			return true
		}
	}
}
