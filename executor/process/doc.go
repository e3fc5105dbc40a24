// Package process starts, signals and reaps the processes of a task, as the
// task's user, and keeps their output in rotated files.
//
// It owns everything that is Linux's: users and credentials, process groups,
// the subreaper that makes orphaned daemons our children, the death signal that
// ends a main process whose executor was killed, and the search of /proc for
// what is left. What to run and when to stop it is the caller's.
package process
