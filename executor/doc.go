// Package executor runs one task on a Mesos agent, from LAUNCH to the
// acknowledgement of its last status update:
//
//	fetch → verify → prepare → start → watch → stop
//
// It owns the life of the task: its phases, what its processes find around
// them, and what is reported when. How processes, artifacts, health checks and
// the agent's API work is in the packages below it. What the scheduler makes of
// the reports is the scheduler's; the contract between both is package api.
//
// One executor process runs one task and then exits. See docs/executor.md for
// what users and operators see of it, and DESIGN.md for why it is so.
package executor
