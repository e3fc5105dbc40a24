// Package e2e has tests of the whole: real processes of perigee and
// perigee-executor, a real PEX, and a Mesos cluster. Without
// PERIGEE_TEST_MESOS=host:port that is devcluster; with it, the master there,
// whose agents must be on this machine. Nothing here assumes devcluster, and
// tests that must restart the cluster say that they skip.
//
// What tasks did is told by themselves to a witness, an HTTP server of the
// tests: so that "once" is counted by effects, not by what a scheduler believes.
package e2e
