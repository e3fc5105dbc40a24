package engine

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/perigee-sched/perigee/scheduler/journal"
)

// stalled says since when, and why, a leadership can write nothing.
type stalled struct {
	mu    sync.Mutex
	why   string // "" while it can
	since time.Time
}

func (s *stalled) begin(why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.why, s.since = why, time.Now()
}

// because changes the reason of what has begun.
func (s *stalled) because(why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.why = why
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
func (s *stalled) refuse() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.why == "" || time.Since(s.since) < refuseAfter {
		return nil
	}
	return fmt.Errorf("%w: %s (since %s); nothing was changed", ErrUnavailable, s.why,
		s.since.UTC().Format(time.RFC3339))
}

// notWritten says what a journal answered whose append has an unknown outcome.
func notWritten(err error) string {
	return "the journal cannot be written: " + strings.TrimPrefix(err.Error(), journal.ErrUnknown.Error()+": ")
}

// rarely decides which complaints of one that is repeated are worth a line: the
// first, one that differs from the one before, and one a minute.
type rarely struct {
	said string
	at   time.Time
}

const rarelyEvery = time.Minute

func (r *rarely) due(err error) bool {
	if now := time.Now(); err.Error() != r.said || now.Sub(r.at) >= rarelyEvery {
		r.said, r.at = err.Error(), now
		return true
	}
	return false
}
