package history

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perigee-sched/perigee/scheduler/engine"
)

// Options of a History. URL and Cluster are required.
type Options struct {
	// URL is sqlite:// and the absolute path of a file, or postgres:// and all
	// that PostgreSQL's own programs understand.
	URL string
	// Cluster whose history it is.
	Cluster string
	// Leads says whether this scheduler leads: a shared history is written by the
	// leader. Always when nil.
	Leads func() bool
	// Held tells anew all that this scheduler holds itself. It is asked when what
	// waited was too much to be kept, and dropped. Required.
	Held func() engine.Durable
	// Keep is how long finished tasks, runs and deploys stay, and EventsKeep how
	// long events do; for ever when 0. Size is how many bytes the history may
	// have; any number when 0.
	Keep, EventsKeep time.Duration
	Size             int64
	// Log is slog's default when nil.
	Log *slog.Logger
	// Now is the wall clock; time.Now when nil.
	Now func() time.Time

	// queueItems and queueBytes bound what waits; see queue.
	queueItems, queueBytes int
}

// History keeps what is finished. Its methods may be called by many.
type History struct {
	Options
	dialect dialect
	queue   queue
	store   atomic.Pointer[store] // nil while it is not open
	stats   stats

	retainAt time.Time // Run's

	mu     sync.Mutex
	failed error // why the last attempt to write or open failed; nil when it did not
	since  time.Time
	told   rarely
}

// New returns a History that is to be opened, and to Run. It fails with a
// *WrongError when the options cannot be right.
func New(o Options) (*History, error) {
	if o.Leads == nil {
		o.Leads = func() bool { return true }
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.queueItems == 0 {
		o.queueItems, o.queueBytes = queueItemsMost, queueBytesMost
	}
	d, err := dialectOf(o.URL)
	if err != nil {
		return nil, err
	}
	h := &History{Options: o, dialect: d, told: rarely{now: o.Now}}
	h.queue = queue{itemsMost: o.queueItems, bytesMost: o.queueBytes, now: o.Now, filled: make(chan struct{}, 1)}
	return h, nil
}

func dialectOf(address string) (dialect, error) {
	scheme, _, _ := strings.Cut(address, "://")
	switch scheme {
	case "sqlite":
		u, err := url.Parse(address)
		if err != nil || u.Host != "" || !strings.HasPrefix(u.Path, "/") || strings.HasSuffix(u.Path, "/") {
			return nil, wrong("%q is not a place for a history: write it as sqlite:///var/lib/perigee/history.db", address)
		}
		return &sqliteFile{path: u.Path}, nil
	case "postgres", "postgresql":
		return newPostgres(address)
	}
	return nil, wrong("%q is not a place for a history: write it as sqlite:///var/lib/perigee/history.db, or postgres://user:password@host/database", address)
}

// Open opens the history. A *WrongError says that it must not be used; any other
// error is logged, and Run tries again.
func (h *History) Open(ctx context.Context) error {
	err := h.open(ctx)
	if wrong := new(WrongError); errors.As(err, &wrong) {
		return err
	}
	h.outcome(err)
	return nil
}

func (h *History) open(ctx context.Context) error {
	if h.store.Load() != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, openPatience)
	defer cancel()
	s, err := openStore(ctx, h.dialect, h.Cluster, h.Now)
	if err != nil {
		return err
	}
	h.store.Store(s)
	return nil
}

// Record implements engine.History.
func (h *History) Record(d engine.Durable) { h.queue.add(d) }

// Through implements engine.History. It is 0 while the history is not open, or
// has nothing of the journal's incarnation.
func (h *History) Through() (index uint64, shared bool) {
	s := h.store.Load()
	if s == nil {
		return 0, h.dialect.shared()
	}
	_, _, _, latest := h.queue.state()
	if m := s.at(); m.name == latest.incarnation {
		index = m.through
	}
	return index, h.dialect.shared()
}

const (
	// gather is how long to wait for more that belongs into one transaction.
	gather = 200 * time.Millisecond
	// tick is how often to look what else is to be done.
	tick = time.Second
	// lookEvery is how often one that does not write looks how far another is.
	lookEvery = 2 * time.Second
	// openPatience and writePatience bound an attempt.
	openPatience  = 30 * time.Second
	writePatience = 2 * time.Minute
	// flushPatience bounds what is written at the end.
	flushPatience = 5 * time.Second
	// The pause after a failure grows from one to the other.
	leastPause = 250 * time.Millisecond
	mostPause  = 15 * time.Second
)

// Run writes what is recorded until ctx ends, and what waits then, if that does
// not take long. It returns an error when the history must not be used.
func (h *History) Run(ctx context.Context) error {
	defer h.Close()
	pause := leastPause
	for ctx.Err() == nil {
		wait, err := h.work(ctx)
		if wrong := new(WrongError); errors.As(err, &wrong) && h.store.Load() == nil {
			return err // as at the start: it was not open before
		}
		if ctx.Err() != nil {
			break
		}
		h.outcome(err)
		if err == nil {
			pause = leastPause
		} else {
			wait = pause
			pause = min(2*pause, mostPause)
		}
		h.wait(ctx, wait, err == nil)
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushPatience)
	defer cancel()
	for h.store.Load() != nil {
		if n, err := h.write(last); n == 0 || err != nil {
			h.outcome(err)
			break
		}
	}
	return nil
}

// wait waits for a time, or for something to write.
func (h *History) wait(ctx context.Context, d time.Duration, filled bool) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	wake := h.queue.filled
	if !filled {
		wake = nil
	}
	select {
	case <-timer.C:
	case <-ctx.Done():
	case <-wake:
		gathering := time.NewTimer(gather)
		defer gathering.Stop()
		select {
		case <-gathering.C:
		case <-ctx.Done():
		}
	}
}

// work does what there is to do, and says how long to wait before it is called
// again.
func (h *History) work(ctx context.Context) (wait time.Duration, err error) {
	if err := h.open(ctx); err != nil {
		return 0, err
	}
	if h.dialect.shared() && !h.Leads() {
		return lookEvery, h.follow(ctx)
	}
	n, err := h.write(ctx)
	if err != nil {
		return 0, err
	}
	if now := time.Now(); now.After(h.retainAt) {
		more, err := h.retain(ctx)
		if err != nil {
			return 0, err
		}
		if h.retainAt = now.Add(retainEvery); more {
			h.retainAt, n = now, 1
		}
	}
	if n > 0 {
		return 0, nil
	}
	return tick, nil
}

// follow drops what the leader has written.
func (h *History) follow(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, openPatience)
	defer cancel()
	s := h.store.Load()
	if err := s.look(ctx); err != nil {
		return err
	}
	h.tellAnew()
	m := s.at()
	h.queue.trim(place{m.name, m.through})
	h.stats.noteCounts(ctx, s)
	return nil
}

// write writes the first that waits, and says how many Durables that were.
func (h *History) write(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, writePatience)
	defer cancel()
	h.tellAnew()
	all := h.queue.first(recordsAtOnce)
	if len(all) == 0 {
		return 0, nil
	}
	began := time.Now()
	lost, err := h.store.Load().keep(ctx, all)
	h.stats.lost.Add(int64(lost))
	if err != nil {
		return 0, fmt.Errorf("write to the history: %w", err)
	}
	h.stats.wrote(all, time.Since(began))
	h.queue.written(all)
	return len(all), nil
}

// tellAnew has what was dropped, if it was, told anew: as much as the scheduler
// still holds.
func (h *History) tellAnew() {
	if !h.queue.again() {
		return
	}
	d := h.Held()
	if d.Incarnation == "" {
		return // the journal is not loaded yet, and will be told when it is
	}
	h.queue.refill(d)
	h.Log.Warn("more waited for the history than could be kept in memory; it is told anew what this scheduler still holds",
		"index", d.Index, "finished", len(d.Finished), "events", len(d.Events))
}

// Close ends the use of a history that does not run. Nothing is read any more.
func (h *History) Close() {
	if s := h.store.Swap(nil); s != nil {
		if err := s.close(); err != nil {
			h.Log.Warn("close the history", "error", err)
		}
	}
}

// outcome notes how an attempt went, and logs failures once a minute.
func (h *History) outcome(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case err == nil && h.failed != nil:
		h.Log.Info("the history is written again", "after", h.Now().Sub(h.since).Round(time.Millisecond))
		h.failed = nil
	case err != nil:
		h.stats.errors.Add(1)
		if h.failed == nil {
			h.since = h.Now()
		}
		h.failed = err
		if h.told.due(err) {
			items, _, _, _ := h.queue.state()
			h.Log.Error("the history cannot be written; the scheduler goes on, and keeps what is finished for as long as it has room", "error", err, "waiting", items)
		}
	}
}

// problem is why the history cannot be written, nil when it can.
func (h *History) problem() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.failed
}

// rarely says the same once a minute.
type rarely struct {
	now  func() time.Time
	said string
	at   time.Time
}

func (r *rarely) due(err error) bool {
	now := r.now()
	if err.Error() == r.said && now.Sub(r.at) < time.Minute {
		return false
	}
	r.said, r.at = err.Error(), now
	return true
}
