// Package agent is the executor's side of the Mesos v1 HTTP executor API: it
// subscribes to the agent, survives the agent's restarts, delivers events, and
// sends status updates until the agent has acknowledged them.
//
// It has message types of its own, in JSON, for the few calls and events that
// an executor of one task needs: the types of mesos-go bring registries and
// codecs that weigh more than the rest of the executor. What to do about an
// event is the caller's.
package agent
