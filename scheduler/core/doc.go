// Package core is Perigee's brain: every decision about tasks, deploys, runs,
// crons, placement and offers, and nothing else. It is synchronous and pure: no
// goroutine, lock, clock, random source, logger or I/O.
//
// The caller's contract, in order:
//
//  1. Load with every record of the journal, then Step with Elected.
//  2. Step(now, events) applies events and returns a Ready. now never goes back;
//     ClockBehind tells when the wall clock does.
//  3. Make Ready.Writes and Ready.Events durable together, in the order of the
//     Steps. Several Readys may be written as one.
//  4. Only then perform Ready.Calls and send Ready.Replies, in that order.
//  5. Step again at Ready.Wake, or when the wall clock says Ready.Instant (or
//     sooner, with events).
//
// If durability fails, the Core is thrown away: its memory is ahead of the
// journal. A new one is loaded.
//
// Records are shared with their readers: once a Ready was returned, core never
// changes a record in it but puts another in its place.
package core
