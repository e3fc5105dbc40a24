// Package mesos is the driver between core and a Mesos master: it turns
// core.Call values into calls of the v1 HTTP scheduler API, and Mesos's events
// into core.Event values. Protocol Buffers are on the wire in both directions.
//
// It owns: finding the leading master (a list of hosts, or ZooKeeper), the
// subscription and its heartbeat, the order in which calls reach Mesos, the raw
// resources of outstanding offers, the carving of a task's resources out of
// them, and the command that starts the executor. It decides nothing: when to
// subscribe, what to launch, decline, kill or reconcile is core's.
//
// One life of a subscription:
//
//	find the leading master → deliver Connecting → the engine writes, fenced,
//	and performs Subscribe → SUBSCRIBE → deliver Subscribed → events and calls →
//	the stream ends → deliver Accepted for what was not answered, Disconnected →
//	back off → again
//
// Every Subscribe that was performed ends in exactly one Disconnected, whether
// or not Mesos ever answered it, unless Run's context ends first.
//
// Message types come from mesos-go's api/v1. Its HTTP client and RecordIO reader
// are not used: the client gives no hold on a connection's deadlines (which the
// heartbeat needs), follows redirects by itself and costs a goroutine switch or
// two for each acknowledgement; the reader panics on a length above the largest
// int64. See DESIGN.md.
package mesos
