package sim

import "time"

// clock makes the time that a core is stepped with, by the rule that package
// engine states: it follows a wall clock that is set forward at once, and one
// that is set back at half the speed of the monotonic clock, until they agree.
type clock struct {
	wall, mono time.Time // as of the last look
	core       time.Time // never before wall
}

func newClock(wall, mono time.Time) *clock { return &clock{wall: wall, mono: mono, core: wall} }

// now returns core's time, Unix ms, and how far the wall clock is behind it.
func (k *clock) now(wall, mono time.Time) (at, behind int64) {
	k.core = k.core.Add(mono.Sub(k.mono) / 2)
	k.wall, k.mono = wall, mono
	if k.core.Before(wall) {
		k.core = wall
	}
	at = k.core.UnixMilli()
	return at, at - wall.UnixMilli()
}

// until returns how long it takes from the last look until core's time is at,
// if nobody sets the wall clock.
func (k *clock) until(at int64) time.Duration {
	d := time.UnixMilli(at).Sub(k.core)
	return d + min(d, k.core.Sub(k.wall))
}
