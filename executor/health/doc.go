// Package health checks a task for as long as it lives.
//
// A Judge decides, as a pure function of results and their times, when a task
// has become healthy and when it has failed; a Checker makes the checks, and
// tells what was decided. Ending a task is the caller's.
package health
