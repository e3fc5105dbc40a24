// Package history keeps what is finished, in SQL: tasks with their timeline,
// runs with their parameters, deploys with spec and outcome, and events.
//
// It owns the database, its schema and its versions, how far it is, what it
// lacks, how long things stay, and how they are found again. What is told to it,
// and in which order, is the engine's; when the journal lets go of something,
// core's; how it is shown, package api/server's. DESIGN.md has the rest.
//
// A History is told everything by Record, which never blocks, and writes it in
// batches in Run. By default each scheduler has one of its own, a file of SQLite;
// one in PostgreSQL is shared by all schedulers, and the one that leads writes it.
package history
