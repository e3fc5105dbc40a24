// Package sim runs the real core against the model of a Mesos cluster under a
// fake clock, with faults between any two steps, and checks design's invariants
// after every one of them. What happens is drawn from a seed, so that a failure
// is played again by its seed.
//
// It owns the faults, the workload, the executors' stand-ins and the
// invariants. The cluster is devcluster/model, messages are translated by
// scheduler/mesos, and every decision is scheduler/core's: none of them knows
// that it is simulated.
package sim
