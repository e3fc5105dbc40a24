// Package program has the programs that end-to-end tests run: it builds them
// once for a package of tests, starts them as processes, and lets tests wait
// for what they write. What they are tested for is packages e2e's and fault's.
package program
