// Package cron says when a cron is due: it parses the five-field expressions of
// crontab(5) and answers, for a time zone, which instants they name.
//
// It owns the expression language and the meaning of daylight saving. It reads
// no clock and keeps no state beyond loaded time zones; what happens at an
// instant (run, skip, missed) is the caller's. Time zones come from the
// machine's IANA database or, where there is none, from the one built in.
//
// # Expressions
//
//	minute        0-59
//	hour          0-23
//	day-of-month  1-31, L for the last day of the month
//	month         1-12 or jan-dec
//	day-of-week   0-7 or sun-sat (0 and 7 are Sunday)
//
// A field is a list of parts separated by commas; a part is `*`, a value, a
// range `a-b`, or any of them with a step: `*/n`, `a-b/n`, `a/n` (from a to the
// field's end). Names and macros ignore case. `fri-sun` is understood although
// sun is 0; any other range that runs backwards is refused.
//
// A day must satisfy both day fields, except that when neither begins with `*`
// a day that satisfies either one matches (Vixie cron's rule): `0 0 13 * fri`
// is every 13th and every Friday, `0 0 */2 * sun` the Sundays on odd days.
//
// Macros: @hourly, @daily, @midnight, @weekly (Sunday 00:00), @monthly, @yearly,
// @annually, and `@every DURATION` (Go's syntax, whole seconds, at least 1s):
// the instants whose distance from 1970-01-01T00:00:00Z is a multiple of the
// duration, so that they depend on nothing but time, least of all on when a
// scheduler started. It ignores the time zone.
//
// # Daylight saving
//
// An expression names wall times; a change of the clock can skip or repeat them.
//
// A schedule whose hour field leaves out an hour follows the clock's high-water
// mark: each wall time it names runs at the first instant at which the clock
// has reached or passed it. So a wall time runs exactly once, whatever the
// clock does:
//   - one that is skipped runs at the instant of the jump. 02:30 in a gap from
//     02:00 to 03:00 runs at 03:00. Instants are named by their UTC time, so
//     several wall times in one gap (`*/10 2 * * *`), or one in it and one at
//     its end (`0 2,3 * * *`), are one instant and one run;
//   - one that is repeated runs the first time only.
//
// A schedule that names all 24 hours (`*/15 * * * *`) means "every so often",
// not those wall times, and goes by elapsed time: it runs whenever the clock
// shows a match, hence through a repeated hour again; and a skipped time runs
// at the jump only if it is not made up for by the tick that comes at the same
// elapsed time (after a gap of 1 h, 02:10 is made up for by 03:10; after Lord
// Howe's gap of 30 min, 02:00 of `0 * * * *` is not, and runs at 02:30).
//
// The set of hours decides, not its spelling: `*`, `*/1` and `0-23` are alike.
// `*/2` names 12 wall times a day and counts as such, unlike in Vixie cron: with
// every second hour fixed to the wall no rule keeps two hours between all runs
// over a change of one hour, so it keeps the other promise, 12 runs a day.
//
// # Why our own
//
// netresearch/go-cron v0.9.1, hashicorp/cronexpr v1.1.3 and adhocore/gronx
// v1.20.4 were tried: the first runs a repeated 02:30 twice, the second that and
// drops a skipped one, the third drops a skipped one and the repeated hour.
package cron
