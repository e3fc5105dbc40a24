package history

import (
	"context"
	"sync/atomic"
	"time"
)

// stats count what Run does.
type stats struct {
	batches, records, events, errors, deleted atomic.Uint64
	nanos                                     atomic.Int64 // in transactions
	lost                                      atomic.Int64
	counted                                   atomic.Pointer[counted]
}

type counted struct {
	rows  map[string]int64
	bytes int64
}

func (s *stats) wrote(all []told, took time.Duration) {
	s.batches.Add(1)
	s.nanos.Add(int64(took))
	for _, t := range all {
		s.records.Add(uint64(len(t.Finished)))
		s.events.Add(uint64(len(t.Events)))
	}
}

// noteCounts notes how many rows there are, for figures: they may be some seconds
// old.
func (s *stats) noteCounts(ctx context.Context, from *store) {
	r := reader{from}
	if rows, bytes, err := r.counts(ctx); err == nil {
		if used, err := from.used(ctx, from); err == nil {
			bytes = used
		}
		s.counted.Store(&counted{rows, bytes})
	}
}

// Stats are a history's figures.
type Stats struct {
	// Up says whether the last attempt to write, or to open it, succeeded.
	Up bool
	// Lag is how many entries of the journal are not kept yet, and Behind for how
	// long the oldest has waited.
	Lag    uint64
	Behind time.Duration
	// Waiting records and events, and about the bytes they take in memory.
	Waiting, WaitingBytes int
	// Batches that were written, with so many records and events, in so long a
	// time; attempts that failed; rows that were deleted for being old.
	Batches, Records, Events, Errors, Deleted uint64
	Writing                                   time.Duration
	// LostEvents were dropped because too much waited, and could not be told anew:
	// they are counted when the gap is noted that they leave.
	LostEvents int
	// Drops is how often that was.
	Drops int
	// Rows by table, and the bytes in use.
	Rows  map[string]int64
	Bytes int64
}

// Stats returns the history's figures. It reads nothing.
func (h *History) Stats() Stats {
	s := &h.stats
	out := Stats{
		Up: h.store.Load() != nil && h.problem() == nil, Batches: s.batches.Load(), Records: s.records.Load(), Events: s.events.Load(),
		Errors: s.errors.Load(), Deleted: s.deleted.Load(), Writing: time.Duration(s.nanos.Load()),
	}
	items, bytes, oldest, latest := h.queue.state()
	out.Waiting, out.WaitingBytes = items, bytes
	if through, _ := h.Through(); latest.index > through {
		out.Lag = latest.index - through
	}
	if items > 0 {
		out.Behind = h.Now().Sub(oldest)
	}
	out.LostEvents, out.Drops = int(s.lost.Load()), h.queue.overflows()
	if c := s.counted.Load(); c != nil {
		out.Rows, out.Bytes = c.rows, c.bytes
	}
	return out
}
