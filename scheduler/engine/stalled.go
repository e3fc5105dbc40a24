package engine

import (
	"fmt"
	"sync"
	"time"
)

// stalled says since when, and why, a leadership can write nothing.
type stalled struct {
	mu    sync.Mutex
	why   string // "" while it can
	since time.Time
}

func (s *stalled) begin(now time.Time, why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.why, s.since = why, now
}

func (s *stalled) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.why = ""
}

func (s *stalled) reason() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.why
}

// refuseAfter is how long a write may wait for the journal before others are
// refused: most interruptions are shorter, and nobody needs to know of them.
const refuseAfter = time.Second

// refuse says why a write cannot be taken, nil when it can.
func (s *stalled) refuse(now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.why == "" || now.Sub(s.since) < refuseAfter {
		return nil
	}
	return fmt.Errorf("%w: %s since %s; nothing was changed", ErrUnavailable, s.why,
		s.since.UTC().Format(time.RFC3339))
}
