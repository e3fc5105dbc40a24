// Package endpoints keeps a file with the instances that serve current, for a
// load balancer that reads it.
//
// It owns what the file says (a template, of which two are built in), that it is
// whole whenever somebody reads it, and that a command runs after it changed.
// Where endpoints come from is the caller's: package cli follows them through
// the API. While nobody tells what they are, the file stays as it is.
package endpoints
