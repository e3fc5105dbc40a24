// Package model is a Mesos cluster without the machines: one master and its
// agents as a pure function of inputs and time. It has no goroutine, lock,
// clock, randomness or I/O, and the same inputs give the same effects.
//
// It owns what a client of Mesos can tell: frameworks, offers, tasks, status
// updates and their acknowledgement, executors' life, agents that go away and
// come back, draining, maintenance. It leaves transport, processes, files and
// the passing of time to its fronts: package devcluster serves it over HTTP
// with real processes, a simulation steps it with a fake clock.
//
// A front, in this order:
//
//  1. calls New, StartMaster, AddAgent and StartAgent;
//  2. calls a method for whatever happened (a call arrived, a connection was
//     closed, a container started, exited …), always with the present time,
//     which never goes back;
//  3. takes Effects and performs them in order. A Store effect must be durable
//     before any effect after it is performed; that is what survives a crash
//     of the agent's (or master's) process;
//  4. calls Tick at the time Wake returns.
//
// Messages inside events and effects are shared with the model and must not be
// changed.
//
// An agent's process and the master's process die separately: StopAgent and
// StopMaster forget everything that was not stored, StartAgent and StartMaster
// are given what was.
package model
