// Package engine is the one loop around scheduler/core: it drains what has
// arrived, steps the core once, makes what the core wants durable, and only
// then lets it be seen. Steps taken while a write is under way are written
// together (group commit).
//
// While another scheduler leads, it follows the journal and shows the same view
// and events; the lease says when to lead, and the journal's fence that it may.
//
// It owns the order of effects, the view that readers see, the log of events
// that consumers follow, the time that core is given, and how leaderships begin
// and end. What to do is core's, how to reach Mesos the driver's, how to store
// the journal's, whose turn it is the lease's.
//
// # Time
//
// A leadership's time begins as the wall clock's. From one look at the clocks to
// the next it becomes the later of the wall clock's, and of what it was plus half
// of what passed by the monotonic clock:
//
//   - While nobody sets the wall clock, it is the wall clock's.
//   - A wall clock that is set forward, or a machine that was suspended, is
//     followed at once. So crons come on time; what waits for a duration comes
//     early by as much, once. When nothing else happens it is noticed within 10 s.
//   - A wall clock that is set back is waited for, at half speed: time never goes
//     back or stands still, and after an hour's jump agrees with the wall clock
//     two hours later. Until then what waits for a duration takes at most twice as
//     long, and times in records are ahead of the wall clock.
//   - Crons go by the wall clock itself, which core.ClockBehind tells of: no
//     instant is repeated, and the next comes when the wall clock says so.
//
// The lease's deadline goes by the monotonic clock alone.
package engine
