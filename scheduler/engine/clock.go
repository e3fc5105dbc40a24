package engine

import (
	"log/slog"
	"time"
)

// clock makes the time that core is stepped with, out of the wall clock and of
// the monotonic one that nobody sets. The package's documentation has the rule.
type clock struct {
	read  func() time.Time // the wall clock
	log   *slog.Logger
	since time.Time     // where the monotonic time counts from
	mono  time.Duration // as of the last look, as are:
	wall  time.Time
	core  time.Time // never before wall
}

func newClock(wall func() time.Time, log *slog.Logger) *clock {
	c := &clock{read: wall, log: log, since: time.Now()}
	c.wall = c.look()
	c.core = c.wall
	return c
}

// look reads the wall clock, without the monotonic reading that comparisons
// would go by.
func (c *clock) look() time.Time { return c.read().Round(0) }

// setBy is by how much a wall clock is told to have been set, if at least.
const setBy = time.Second

// now returns core's time, Unix ms, and how far the wall clock is behind it, in
// ms.
func (c *clock) now() (at, behind int64) {
	mono, wall := time.Since(c.since), c.look()
	passed := mono - c.mono
	if set := wall.Sub(c.wall) - passed; set.Abs() >= setBy {
		c.log.Warn("this machine's clock was set, or the machine was suspended", "by", set.Round(time.Millisecond))
	}
	c.mono, c.wall = mono, wall
	if c.core = c.core.Add(passed / 2); c.core.Before(wall) {
		c.core = wall
	}
	at = c.core.UnixMilli()
	return at, at - wall.UnixMilli()
}

// until returns how long it takes from the last look until core's time is at,
// if nobody sets the wall clock.
func (c *clock) until(at int64) time.Duration {
	d, behind := time.UnixMilli(at).Sub(c.core), c.core.Sub(c.wall)
	return d + min(d, behind) // at half speed until the wall clock has caught up
}
