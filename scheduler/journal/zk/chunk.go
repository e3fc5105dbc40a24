package zk

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
)

// A chunk is its records in order of their keys, each as key and value after their lengths as varints;
// a znode of a snapshot holds that after one byte that says how it is packed.
const (
	packedPlain = 0
	packedFlate = 1
)

var compressors = sync.Pool{New: func() any {
	w, err := flate.NewWriter(nil, flate.BestSpeed)
	if err != nil {
		panic(err) // of the level only
	}
	return w
}}

// pack compresses raw if that makes it smaller.
func pack(raw []byte) []byte {
	var b bytes.Buffer
	b.Grow(len(raw) + 1)
	b.WriteByte(packedFlate)
	w := compressors.Get().(*flate.Writer)
	defer compressors.Put(w)
	w.Reset(&b)
	_, _ = w.Write(raw) // into memory
	_ = w.Close()
	if b.Len() <= len(raw) {
		return b.Bytes()
	}
	return append([]byte{packedPlain}, raw...)
}

// maxUnpacked bounds what a znode unpacks to: a table of a million chunks.
const maxUnpacked = 256 << 20

func unpack(b []byte) ([]byte, error) {
	if len(b) == 0 {
		return nil, errors.New("the znode is empty")
	}
	switch b[0] {
	case packedPlain:
		return b[1:], nil
	case packedFlate:
		raw, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(b[1:])), maxUnpacked))
		if err != nil {
			return nil, fmt.Errorf("cannot be decompressed: %w", err)
		}
		return raw, nil
	}
	return nil, fmt.Errorf("is packed in an unknown way (%d)", b[0])
}

func appendRecord(b []byte, key string, value []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(key)))
	b = append(b, key...)
	b = binary.AppendUvarint(b, uint64(len(value)))
	return append(b, value...)
}

var errChunk = errors.New("a record does not fit into its chunk")

// splitChunk passes a chunk's records. Errors of its own are errChunk.
func splitChunk(raw []byte, pass func(key string, value []byte) error) error {
	for len(raw) > 0 {
		key, rest, ok := field(raw)
		if !ok {
			return errChunk
		}
		value, rest, ok := field(rest)
		if !ok {
			return errChunk
		}
		if err := pass(string(key), value); err != nil {
			return err
		}
		raw = rest
	}
	return nil
}

func field(b []byte) (content, rest []byte, ok bool) {
	size, n := binary.Uvarint(b)
	if n <= 0 || size > uint64(len(b)-n) {
		return nil, nil, false
	}
	return b[n : n+int(size)], b[n+int(size):], true
}
