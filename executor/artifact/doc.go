// Package artifact brings a job's artifacts into the sandbox: downloaded or
// copied, verified, unpacked or made executable, and owned by the task's user.
//
// It owns the cache that all executors of an agent share. Files in the sandbox
// are always copies of cached ones, made while their checksum is computed: what
// runs is exactly what was verified, and no task can change what another one
// gets. A hard link would save the copy but not the reading, and would let a
// task of the cache's owner alter the artifact under all the others.
package artifact
