// Package backup is the file that a cluster's state is kept in outside of its
// journal: how it is written, checked and read, and what is told of it.
//
// A file holds every record as of one index of the journal, encoded as they are
// there. So records of types that a newer version wrote, and fields that this one
// does not know, are in it as they were, and a restore brings them back. The log
// of events is not in it.
//
// It owns the format and what a state amounts to. Where states come from and go
// to is for others: the API streams a scheduler's view, package server reads and
// writes journals, and package restore says what a state becomes that begins a
// new life.
//
// # Secrets
//
// What records hold is in the file: the secrets of webhooks, the hashes of
// tokens, the parameters of runs. Files are written for their owner alone (mode
// 0600), and should be kept as secret as the journal.
//
// # The format, version 1.0
//
// Integers are little endian. The file begins with
//
//	 0  "PERIGBAK"
//	 8  version: the major number, 2 bytes, and the minor one, 2 bytes
//	12  CRC-32C of the 12 bytes before, 4 bytes
//
// and goes on with chunks, without gaps:
//
//	 0  kind: 1 header, 2 records, 3 trailer; 1 byte
//	 1  packing of the content: 0 none, 1 deflate; 1 byte
//	 2  0, 2 bytes
//	 4  length of the content as it is stored, 4 bytes
//	 8  CRC-32C of the content as it is stored, 4 bytes
//	12  CRC-32C of the 12 bytes before, 4 bytes
//	16  content
//
// There is one header, which is first, and one trailer, which is last; both are
// JSON. Between them are the records, in ascending order of their keys, each as
// key and value after their lengths as varints. The trailer counts the records and
// the bytes before it, and has their SHA-256.
//
// That a chunk's head has a checksum of its own is what tells a file that ends
// early from one that is damaged: its length can be trusted. A minor number that
// is higher means that header or trailer have fields that this version does not
// know, which is read; a higher major number is refused.
package backup
