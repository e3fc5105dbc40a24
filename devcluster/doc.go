// Package devcluster is an Apache Mesos cluster on one machine: a stand-in for
// development and tests that speaks the v1 scheduler, executor and operator
// HTTP APIs and the sandbox file endpoints as Mesos 1.12 does, and really runs
// executors as processes. DESIGN.md says how it is built and what it leaves
// out. Production is Apache Mesos.
//
// What a client can tell is decided by package model, which is pure; this
// package owns the HTTP servers, the disk, the processes and the clock around
// it. One process holds the master and all agents. When it dies, executors go
// on; when it is started again with the same directory, agents keep their ids,
// ports and executors, and the master knows its agents.
package devcluster
