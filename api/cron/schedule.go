package cron

import (
	"slices"
	"time"
)

// MoreCap is the most that Between counts beyond the instants it returns.
const MoreCap = 10_000

// Instants run from the year 1 (time.Time's zero) through the year 9999 (the
// last one RFC 3339 can write).
const (
	firstInstant = -62135596800
	lastInstant  = 253402300799
)

// Schedule is a parsed expression in a time zone. It is immutable and safe for
// concurrent use. The zero Schedule is not valid; Parse makes one.
type Schedule struct {
	expr string // as written, white space made single blanks
	loc  *time.Location

	every  int64  // seconds; 0 unless the expression is @every
	minute uint64 // bit m
	hour   uint32 // bit h
	days   days
}

// allHours is the hour field of a schedule that goes by elapsed time.
const allHours = 1<<24 - 1

// Next returns the first due instant after the given one, in UTC and on a whole
// second, or the zero time when there is none before the year 10000.
func (s *Schedule) Next(after time.Time) time.Time {
	t, ok := s.next(max(after.Unix(), firstInstant))
	if !ok || t > lastInstant {
		return time.Time{}
	}
	return time.Unix(t, 0).UTC()
}

// Between returns the due instants in (after, through] in order, at most limit of
// them, and how many more there are. The count of the rest stops at MoreCap,
// which then reads "at least", so that years of outage cost milliseconds.
// Splitting an interval at any instant splits its instants: none is repeated
// and none lost.
func (s *Schedule) Between(after, through time.Time, limit int) (instants []time.Time, more int) {
	for t := s.Next(after); !t.IsZero() && !t.After(through); t = s.Next(t) {
		if len(instants) < limit {
			instants = append(instants, t)
			continue
		}
		if more++; more == MoreCap {
			break
		}
	}
	return instants, more
}

// Latest returns the latest due instants in (after, through], at most limit of
// them, in order. Together with a count from Between it serves policies that
// care for the end of an outage. It takes some ten calls of Next for each
// instant, however long the interval is.
func (s *Schedule) Latest(after, through time.Time, limit int) []time.Time {
	low, high := max(after.Unix(), firstInstant), min(through.Unix(), lastInstant)
	var instants []time.Time
	for len(instants) < limit {
		t, ok := s.last(low, high)
		if !ok {
			break
		}
		instants = append(instants, time.Unix(t, 0).UTC())
		high = t - 1
	}
	slices.Reverse(instants)
	return instants
}

// last returns the latest due instant in (after, through]. What next returns
// never decreases, so it looks for the second from which next leaves the
// interval: back from the end in growing strides, then by halving.
func (s *Schedule) last(after, through int64) (int64, bool) {
	stride, low := int64(1), through-1
	last, ok := s.dueBy(max(low, after), through)
	for ; !ok && low > after; last, ok = s.dueBy(max(low, after), through) {
		stride *= 2
		low -= stride
	}
	if !ok || after >= through {
		return 0, false
	}
	for low, high := last, min(low+stride, through); low < high; {
		middle := low + (high-low+1)/2
		if t, ok := s.dueBy(middle, through); ok {
			last, low = t, t
		} else {
			high = middle - 1
		}
	}
	return last, true
}

// dueBy returns the first due instant in (after, through].
func (s *Schedule) dueBy(after, through int64) (int64, bool) {
	t, ok := s.next(after)
	return t, ok && t <= through
}

// Location returns the time zone the expression is read in.
func (s *Schedule) Location() *time.Location { return s.loc }

// Expression returns the expression as it was written, its fields separated by
// single blanks.
func (s *Schedule) Expression() string { return s.expr }

// String returns the expression and its time zone: "30 3 * * * Europe/Berlin".
func (s *Schedule) String() string {
	if s.every > 0 {
		return s.expr
	}
	return s.expr + " " + s.loc.String()
}
