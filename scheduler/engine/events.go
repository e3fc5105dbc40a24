package engine

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"

	"github.com/perigee-sched/perigee/scheduler/record"
)

// EventID orders events and names one for ever: a restore from a backup begins
// a new incarnation.
type EventID struct {
	Incarnation string
	Index       uint64 // of the journal's entry
	Ordinal     int    // in the entry
}

// String is the form that ParseEventID reads.
func (id EventID) String() string {
	return id.Incarnation + "-" + strconv.FormatUint(id.Index, 10) + "-" + strconv.Itoa(id.Ordinal)
}

// ParseEventID reads an id as consumers give it back.
func ParseEventID(s string) (EventID, error) {
	parts := strings.Split(s, "-")
	if len(parts) == 3 && parts[0] != "" {
		index, err1 := strconv.ParseUint(parts[1], 10, 64)
		ordinal, err2 := strconv.ParseUint(parts[2], 10, 31)
		if err1 == nil && err2 == nil {
			return EventID{Incarnation: parts[0], Index: index, Ordinal: int(ordinal)}, nil
		}
	}
	return EventID{}, fmt.Errorf("%q is not an event id: expected incarnation-index-ordinal, as the stream gave it", s)
}

func (id EventID) after(index uint64, ordinal int) bool {
	return id.Index > index || id.Index == index && id.Ordinal > ordinal
}

// wholeEntry is after all events of an entry, and before those of the next.
func wholeEntry(index uint64) EventID {
	if index == 0 {
		return EventID{}
	}
	return EventID{Index: index, Ordinal: 1<<31 - 1}
}

// Published is a durable event.
type Published struct {
	ID    EventID
	Event *record.Event
}

// GoneError says that events after the one asked for are no longer kept.
type GoneError struct{ Oldest string } // id to resume after, to get all that is kept

func (e *GoneError) Error() string {
	return "events after that id are no longer kept; the oldest to resume after is " + e.Oldest
}

var errNotLoaded = fmt.Errorf("%w: the journal is not loaded yet", ErrUnavailable)

// eventLog keeps the latest events for those who follow.
type eventLog struct {
	keep int

	mu      sync.Mutex
	events  []Published // oldest first
	dropped EventID     // the last one that is no longer kept
	through uint64      // entry up to which all events were published
	origin  EventID     // the last one when the journal was loaded
	changed chan struct{}
}

func newEventLog(keep int) *eventLog {
	return &eventLog{keep: keep, changed: make(chan struct{})}
}

// publish appends the events up to an entry, which are newer than all before.
func (l *eventLog) publish(events []Published, through uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.append(events, through)
}

func (l *eventLog) append(events []Published, through uint64) {
	l.through = max(l.through, through)
	if len(events) == 0 {
		return
	}
	l.events = append(l.events, events...)
	// Cut only now and then, so that a publish costs what it adds.
	if extra := len(l.events) - l.keep; extra > l.keep/4 {
		l.dropped = l.events[extra-1].ID
		l.events = append([]Published(nil), l.events[extra:]...)
	}
	close(l.changed)
	l.changed = make(chan struct{})
}

// begin takes in what a journal held when it was loaded up to an entry: events
// after dropped, whose incarnation does not matter. When it was loaded before,
// the log goes on where it was, unless events between are missing: then it begins
// anew.
func (l *eventLog) begin(incarnation string, dropped EventID, held []Published, through uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	first := l.dropped.Incarnation == ""
	if !first && l.dropped.Incarnation == incarnation && dropped.Index <= l.through {
		i := sort.Search(len(held), func(i int) bool { return held[i].ID.Index > l.through })
		l.append(held[i:], through)
		return
	}
	l.through = through
	l.dropped = dropped
	l.dropped.Incarnation = incarnation
	if first {
		l.origin = l.dropped
		if n := len(held); n > 0 {
			l.origin = held[n-1].ID
		}
	}
	if extra := len(held) - l.keep; extra > 0 {
		l.dropped = held[extra-1].ID
		held = slices.Clone(held[extra:])
	}
	l.events = held
	close(l.changed)
	l.changed = make(chan struct{})
}

// since returns the events after id, oldest first, at most max, and a channel
// that closes when there are more.
func (l *eventLog) since(id EventID, max int) ([]Published, <-chan struct{}, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if id == (EventID{}) {
		id = l.origin // who followed before the journal was loaded
	}
	if l.dropped.Incarnation == "" && id != (EventID{}) {
		return nil, nil, errNotLoaded
	}
	if id.Incarnation != l.dropped.Incarnation || l.dropped.after(id.Index, id.Ordinal) {
		return nil, nil, &GoneError{Oldest: l.dropped.String()}
	}
	i := sort.Search(len(l.events), func(i int) bool { return l.events[i].ID.after(id.Index, id.Ordinal) })
	n := min(len(l.events)-i, max)
	return l.events[i : i+n : i+n], l.changed, nil
}

// all returns the events that are kept, the last one before them, and the entry
// up to which they are.
func (l *eventLog) all() (events []Published, before EventID, through uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.events[:len(l.events):len(l.events)], l.dropped, l.through
}

// last returns the id of the newest event.
func (l *eventLog) last() EventID {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.events); n > 0 {
		return l.events[n-1].ID
	}
	return l.dropped
}

// Follower reads the events in order, one batch at a time.
type Follower struct {
	log *eventLog
	at  EventID
}

// Next waits for events and returns those there are, at least one and at most
// 1,000. It fails with a *GoneError when the follower was too slow, and with
// ctx's error when that ends.
func (f *Follower) Next(ctx context.Context) ([]Published, error) {
	for {
		events, more, err := f.log.since(f.at, 1000)
		if err != nil {
			return nil, err
		}
		if len(events) > 0 {
			f.at = events[len(events)-1].ID
			return events, nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
