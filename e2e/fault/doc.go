// Package fault has tests of the whole under faults: a ZooKeeper ensemble of
// three, three schedulers, a Mesos cluster and tasks, all of them real
// processes, which are killed, stopped, cut off and started again while users
// write, crons fire and consumers follow events.
//
// What must hold is looked at from outside. Each task appends a line to a file
// as its side effect; every answer to a user, and every event, is kept; the
// master says what runs, and has on record what schedulers told it and when; the
// entries of the journal are read from ZooKeeper as they come. An audit compares
// them: nothing was lost or doubled, nothing was told before it was durable, and
// nobody who was deposed has said or written anything.
package fault
