// Package api is Perigee's public contract: what a job is (Spec), what is told
// of jobs, deploys, runs, tasks and agents, defaults, and validation. It
// imports nothing of the scheduler; server, client, command line, executor and
// core all import it.
package api
