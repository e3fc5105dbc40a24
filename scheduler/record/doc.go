// Package record holds the Protocol Buffers messages that the journal stores
// and scheduler/core decides on. There are no parallel structs: what is durable
// is what is decided on, and fields written by a newer scheduler survive.
//
// record.pb.go is generated from record.proto; a test proves that it is.
package record

//go:generate go run ./gen
