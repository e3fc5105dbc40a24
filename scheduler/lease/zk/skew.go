package zk

import (
	"time"

	"github.com/perigee-sched/perigee/scheduler/lease"
	"github.com/perigee-sched/perigee/scheduler/zookeeper"
)

// skew is how far ZooKeeper's clock is ahead of this machine's, and what was said of it.
type skew struct {
	known  bool
	ahead  time.Duration
	within time.Duration            // how far that may be off, either way
	told   map[string]time.Duration // by address: the difference that was logged last
}

// Skew is how far ZooKeeper's clock is ahead of this machine's, to within half of the time of one
// request; false when it was not measured yet. It is measured whenever this scheduler tells others how
// far it is, or renews its lease.
func (l *Lease) Skew() (time.Duration, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.clock.ahead, l.clock.known
}

// measureMost is how long a request may take that is to say how far the clocks differ, if there was one
// before.
const measureMost = 500 * time.Millisecond

// write writes to one of our znodes: ZooKeeper's time of it tells how far the clocks differ.
func (l *Lease) write(s *zookeeper.Session, node string, content []byte) error {
	sent, began := l.o.Now().Round(0), time.Now()
	stat, err := s.Set(node, content, -1)
	if err != nil {
		return err
	}
	took := time.Since(began)
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.clock.known || took <= measureMost {
		l.clock.known, l.clock.within = true, took/2
		l.clock.ahead = time.UnixMilli(stat.Mtime).Sub(sent.Add(took / 2))
	}
	return nil
}

// skewMost is how far two clocks may differ before that is worth a line in the log, and by how much that
// must change before it is worth another.
const skewMost = time.Second

// exactSkew is Skew where it is worth telling others.
func (l *Lease) exactSkew() (time.Duration, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.clock.ahead, l.clock.known && l.clock.within <= measureMost/2
}

// compareClocks logs whose clocks differ from ours.
func (l *Lease) compareClocks(members []lease.Member) {
	own, exact := l.exactSkew()
	if !exact {
		return
	}
	for _, m := range members {
		if m.Skew == nil || m.Address == l.o.Address {
			continue
		}
		ahead := *m.Skew - own // of ours
		before := l.clock.told[m.Address]
		switch {
		case ahead.Abs() > skewMost && (ahead-before).Abs() > skewMost:
			l.log.Warn("this machine's clock and another scheduler's differ: crons go by the leader's, so that instants come early or late "+
				"by as much when the leadership moves; see to the time service (chrony, ntpd) of both machines",
				"ahead", ahead.Round(time.Millisecond), "of", m.Address, "zookeeper_ahead", own.Round(time.Millisecond),
				"zookeeper_ahead_of_it", m.Skew.Round(time.Millisecond))
			l.noteSkew(m.Address, ahead)
		case ahead.Abs() <= skewMost/2 && before != 0:
			l.log.Info("this machine's clock and another scheduler's agree again", "ahead", ahead.Round(time.Millisecond), "of", m.Address)
			l.noteSkew(m.Address, 0)
		}
	}
}

// noteSkew is called by the one goroutine that compares.
func (l *Lease) noteSkew(address string, ahead time.Duration) {
	if l.clock.told == nil {
		l.clock.told = map[string]time.Duration{}
	}
	l.clock.told[address] = ahead
}
