package cron

import "time"

// span is a stretch [start, end) of instants, in Unix seconds, during which a
// zone's clock runs steadily: it shows instant + offset, a wall time in seconds
// since 1970-01-01 00:00 on that clock.
type span struct{ start, end, offset int64 }

const (
	// always stands for the end of a span that has none.
	always = 1 << 60
	// twoDays is more than clocks can differ: the largest change on record
	// is one day, and offsets lie between -16 h and +16 h.
	twoDays = 2 * 86400
)

// spanFrom returns the span of loc from instant t on; its end may change nothing
// but the zone's abbreviation, or nothing at all.
//
// ZoneBounds (Go 1.26) is exact only near a change of the clock. Where a zone's
// table gives way to its rule it may answer with a beginning inside the span
// before, so the beginning is not asked for; and as its years have 365 days, on
// 31 December of a leap year with an end that has passed.
func spanFrom(loc *time.Location, t int64) span {
	at := time.Unix(t, 0).In(loc)
	_, offset := at.Zone()
	s := span{start: t, end: always, offset: int64(offset)}
	if _, end := at.ZoneBounds(); !end.IsZero() {
		s.end = end.Unix()
	}
	if s.end <= t {
		s.end = (floorDiv(t, 86400) + 1) * 86400
	}
	return s
}

// next returns the first due instant after t, in Unix seconds.
func (s *Schedule) next(t int64) (int64, bool) {
	if t >= lastInstant {
		return 0, false
	}
	if s.every > 0 {
		return (floorDiv(t, s.every) + 1) * s.every, true
	}
	elapsed := s.hour == allHours
	sp := spanFrom(s.loc, t)
	// lo is the first wall time that is still to come, w the first tick from
	// there on: the one this walk along the spans has to find the instant of.
	lo := t + 1 + sp.offset
	if !elapsed {
		lo = max(lo, s.highWater(t))
	}
	sp.start = t + 1
	for w := s.nextWall(lo); w < never; {
		shown := sp.start + sp.offset
		switch {
		case elapsed && shown < lo: // turned back: what it shows again counts again
			lo = shown
			w = s.nextWall(lo)
			continue
		case w < shown: // jumped over w
			if !elapsed || s.lostInJump(w, shown, sp) {
				return sp.start, true
			}
			lo = shown
			w = s.nextWall(lo)
			continue
		}
		if w-sp.offset < sp.end {
			return w - sp.offset, true
		}
		sp = s.spanTowards(w, sp, t)
	}
	return 0, false
}

// highWater returns a wall time that everything before was reached by the clock
// in the spans that ended within two days before instant t.
func (s *Schedule) highWater(t int64) int64 {
	mark := int64(-always)
	for sp := spanFrom(s.loc, t-twoDays); sp.end <= t; sp = spanFrom(s.loc, sp.end) {
		mark = max(mark, sp.end+sp.offset)
	}
	return mark
}

// lostInJump tells whether the clock, jumping to wall time to at the start of
// sp, skipped a tick from w on that has no tick at the same elapsed time.
func (s *Schedule) lostInJump(w, to int64, sp span) bool {
	gap := sp.offset - spanFrom(s.loc, sp.start-1).offset
	for ; w < to; w = s.nextWall(w + 1) {
		if s.nextWall(w+gap) != w+gap {
			return true
		}
	}
	return false
}

// spanTowards returns the span after sp, or a later one when wall time w, the
// next tick, is far off: once t is two days past nothing that was due before t
// can be shown again, and no clock shows w two days early.
func (s *Schedule) spanTowards(w int64, sp span, t int64) span {
	if near := w - sp.offset - twoDays; sp.end > t+twoDays && near > sp.end {
		return spanFrom(s.loc, near)
	}
	return spanFrom(s.loc, sp.end)
}
