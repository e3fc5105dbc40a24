package fault

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/perigee-sched/perigee/scheduler/record"
)

// chronicle is what a journal in ZooKeeper held, entry by entry, read from
// outside as it grows, and when ZooKeeper took each. It asks the servers
// themselves, not through the schedulers' proxies.
type chronicle struct {
	conn   *zk.Conn
	chroot string

	mu      sync.Mutex
	index   uint64 // of the last entry that was read
	open    []entry
	epochs  []*epoch
	history map[string][]version // by key, the oldest first
	events  []told
	groups  []group
	failed  error
}

type entry struct {
	*record.Entry
	at time.Time // to the millisecond, rounded down
}

// epoch is one leadership.
type epoch struct {
	number  uint64
	at      time.Time // of its first group
	writer  string    // URL of the scheduler
	who     string    // and its process
	version string
}

func (e *epoch) String() string {
	if e == nil {
		return "none"
	}
	return fmt.Sprintf("%d at %s, that of %s", e.number, e.at.Format("15:04:05.000"), e.writer)
}

// version is a record as of some entry, nil where it was deleted.
type version struct {
	at     time.Time
	index  uint64
	epoch  *epoch
	record proto.Message
	value  []byte
}

// group is what was written together.
type group struct {
	at   time.Time
	last uint64
	puts map[string]proto.Message
}

// told is an event as the journal has it.
type told struct {
	index   uint64
	ordinal int
	*record.Event
}

// newChronicle begins to read a journal that is still to be made.
func newChronicle(t *testing.T, servers []string, credentials, chroot string) *chronicle {
	t.Helper()
	conn, _, err := zk.Connect(servers, 10*time.Second, zk.WithLogInfo(false), zk.WithLogger(quiet{}))
	require.NoError(t, err)
	require.NoError(t, conn.AddAuth("digest", []byte(credentials)))
	c := &chronicle{conn: conn, chroot: chroot, history: map[string][]version{}}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.run(ctx)
	}()
	t.Cleanup(func() {
		stop()
		<-done
		conn.Close()
	})
	return c
}

// quiet says nothing of lost connections, which tests are about.
type quiet struct{}

func (quiet) Printf(string, ...any) {}

// run reads one entry after the other until ctx ends.
func (c *chronicle) run(ctx context.Context) {
	for ctx.Err() == nil {
		path := fmt.Sprintf("%s/log/%010d", c.chroot, c.index+1)
		text, stat, err := c.conn.Get(path)
		if err == nil {
			c.take(path, text, time.UnixMilli(stat.Ctime))
			continue
		}
		var made <-chan zk.Event // nil while ZooKeeper is away
		if errors.Is(err, zk.ErrNoNode) {
			exists, _, watch, err := c.conn.ExistsW(path)
			if err == nil && exists {
				continue
			}
			if err == nil {
				made = watch
			}
		}
		select {
		case <-made:
		case <-time.After(200 * time.Millisecond): // the path itself may be missing, or ZooKeeper
		case <-ctx.Done():
		}
	}
}

func (c *chronicle) take(path string, text []byte, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, err := decodeEntry(text)
	if err == nil && e.Index != c.index+1 {
		err = fmt.Errorf("it calls itself %d", e.Index)
	}
	if n := len(c.epochs); err == nil && n > 0 && e.Epoch < c.epochs[n-1].number {
		err = fmt.Errorf("it is of epoch %d, the one before of epoch %d", e.Epoch, c.epochs[n-1].number)
	}
	c.index++
	if err != nil {
		c.fail("%s: %v", path, err)
		return
	}
	if n := len(c.open); n > 0 && c.open[n-1].Epoch != e.Epoch {
		c.open = nil // its writer left it open
	}
	if c.open = append(c.open, entry{e, at}); e.Continued {
		return
	}
	c.apply(c.open)
	c.open = nil
}

func decodeEntry(text []byte) (*record.Entry, error) {
	if len(text) < 4 || crc32.Checksum(text[4:], crc32.MakeTable(crc32.Castagnoli)) != binary.LittleEndian.Uint32(text) {
		return nil, errors.New("its checksum is wrong")
	}
	e := new(record.Entry)
	return e, proto.Unmarshal(text[4:], e)
}

// apply takes in a whole group.
func (c *chronicle) apply(entries []entry) {
	last := entries[len(entries)-1]
	g := group{at: last.at, last: last.Index, puts: map[string]proto.Message{}}
	ep := c.epochOf(entries)
	for _, e := range entries {
		for _, p := range e.Puts {
			m, err := record.Decode(p.Key, p.Value) // nil, of a type that this version does not know
			if err != nil {
				c.fail("entry %d: %v", e.Index, err)
				continue
			}
			c.history[p.Key] = append(c.history[p.Key], version{last.at, e.Index, ep, m, p.Value})
			g.puts[p.Key] = m
		}
		for _, key := range e.Deletes {
			c.history[key] = append(c.history[key], version{at: last.at, index: e.Index, epoch: ep})
		}
		for i, b := range e.Events {
			ev := new(record.Event)
			if err := proto.Unmarshal(b, ev); err != nil {
				c.fail("entry %d, event %d: %v", e.Index, i, err)
			}
			c.events = append(c.events, told{e.Index, i, ev})
		}
	}
	c.groups = append(c.groups, g)
}

// epochOf is the epoch of a group, whose first says in the leader's record whose
// it is, and whose others say nothing else.
func (c *chronicle) epochOf(entries []entry) *epoch {
	var leader *record.Leader
	for _, e := range entries {
		for _, p := range e.Puts {
			if p.Key == record.KeyLeader {
				leader = new(record.Leader)
				if err := proto.Unmarshal(p.Value, leader); err != nil {
					c.fail("entry %d: %v", e.Index, err)
				}
			}
		}
	}
	first := entries[0]
	if n := len(c.epochs); n == 0 || c.epochs[n-1].number != first.Epoch {
		if leader == nil {
			c.fail("epoch %d begins with entry %d, which does not say who leads", first.Epoch, first.Index)
			leader = new(record.Leader)
		}
		c.epochs = append(c.epochs, &epoch{first.Epoch, entries[len(entries)-1].at, leader.Address, leader.Scheduler, leader.Version})
	}
	ep := c.epochs[len(c.epochs)-1]
	if leader != nil && leader.Scheduler != ep.who {
		c.fail("entry %d: %s leads in epoch %d, which is that of %s", first.Index, leader.Scheduler, first.Epoch, ep.who)
	}
	return ep
}

// fail notes what must never be. It is called with mu held.
func (c *chronicle) fail(format string, args ...any) {
	if c.failed == nil {
		c.failed = violation{fmt.Errorf("the journal: "+format, args...)}
	}
}

// catchUp waits until all was read that is written by now.
func (c *chronicle) catchUp() error {
	if _, err := c.conn.Sync(c.chroot); err != nil {
		return fmt.Errorf("read the journal: %w", err)
	}
	names, _, err := c.conn.Children(c.chroot + "/log")
	if err != nil {
		return fmt.Errorf("read the journal: %w", err)
	}
	return within(patience, func() error {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, name := range names {
			if index, err := strconv.ParseUint(name, 10, 64); err != nil || index > c.index {
				return errors.Join(err, fmt.Errorf("the journal is at entry %d, and read through %d", index, c.index))
			}
		}
		return nil
	})
}

// read calls f while nothing changes.
func (c *chronicle) read(f func() error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return errors.Join(c.failed, f())
}

// by returns the versions of a record that were there at a time.
func (c *chronicle) by(key string, at time.Time) []version {
	all := c.history[key]
	n := len(all)
	for n > 0 && all[n-1].at.After(at) {
		n--
	}
	return all[:n]
}

// leading is the epoch that had begun at a time, nil when none had.
func (c *chronicle) leading(at time.Time) *epoch {
	for n := len(c.epochs) - 1; n >= 0; n-- {
		if !c.epochs[n].at.After(at) {
			return c.epochs[n]
		}
	}
	return nil
}

// taskBy are the versions of a task's record that were there at a time.
func (c *chronicle) taskBy(id string, at time.Time) []*record.Task {
	var all []*record.Task
	for _, v := range c.by(record.TaskKey(id), at) {
		t, _ := v.record.(*record.Task) // nil where it was deleted
		all = append(all, t)
	}
	return all
}

// tasks calls f with each task as it was at a time, or before it was deleted.
func (c *chronicle) tasks(until time.Time, f func(*record.Task) error) error {
	for key := range c.history {
		if !strings.HasPrefix(key, record.PrefixTask) {
			continue
		}
		versions := c.by(key, until)
		for n := len(versions) - 1; n >= 0; n-- {
			if t, ok := versions[n].record.(*record.Task); ok {
				if err := f(t); err != nil {
					return err
				}
				break
			}
		}
	}
	return nil
}

// violation is what no patience mends.
type violation struct{ error }

func (v violation) Unwrap() error { return v.error }

func violated(format string, args ...any) error { return violation{fmt.Errorf(format, args...)} }
