package history

import (
	"sync/atomic"
	"time"
)

// stats count what Run does.
type stats struct {
	batches   atomic.Uint64
	records   atomic.Uint64
	events    atomic.Uint64
	errors    atomic.Uint64
	nanos     atomic.Int64 // in transactions
	deletions atomic.Uint64
}

func (s *stats) wrote(all []told, took time.Duration) {
	s.batches.Add(1)
	s.nanos.Add(int64(took))
	for _, t := range all {
		s.records.Add(uint64(len(t.Finished)))
		s.events.Add(uint64(len(t.Events)))
	}
}
