package file

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/perigee-sched/perigee/scheduler/journal"
)

// A snapshot file is a header, then blocks of whole records.
//
//	 0  "PERIGSNP"
//	 8  layout, 4 bytes
//	12  salt, 4 bytes
//	16  index of the last entry it includes, 8 bytes
//	24  CRC-32C of the 24 bytes before, 4 bytes
//
// A block is the length of its payload (4 bytes), the salted CRC-32C of it (4 bytes), and the payload:
// each record's key and value, each after its length as a varint. The manifest says how long the
// file is and how many records it has.
const (
	snapshotMagic       = "PERIGSNP"
	snapshotHeaderBytes = 28
	snapshotPattern     = "snapshot-*"
	blockHeaderBytes    = 8
	blockBytes          = 64 << 10
	maxBlockBytes       = 64 << 20

	// syncEvery bounds how much an append that comes at the same time may have to wait for: the file
	// system writes a snapshot's data before it commits anything else.
	syncEvery = 1 << 20
)

type snapshotWriter struct {
	file   handle
	ref    snapshotRef
	salt   uint32
	block  []byte // header and payload so far
	last   string // key
	synced int64
}

// writeSnapshot writes src to a file of dir, durably, under its final name.
func writeSnapshot(ctx context.Context, d disk, dir string, src journal.Source) (snapshotRef, error) {
	w := &snapshotWriter{salt: rand.Uint32(), ref: snapshotRef{Index: src.Index(), File: fmt.Sprintf("snapshot-%016d", src.Index())}}
	path := filepath.Join(dir, w.ref.File)
	var err error
	if w.file, err = d.open(path+temporary, os.O_CREATE|os.O_TRUNC|os.O_WRONLY); err != nil {
		return w.ref, err
	}
	err = w.write(ctx, src)
	if closed := w.file.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = publish(d, path)
	}
	if err != nil {
		_ = d.remove(path + temporary) // else the next Lead removes it
	}
	return w.ref, err
}

func (w *snapshotWriter) write(ctx context.Context, src journal.Source) error {
	header := make([]byte, snapshotHeaderBytes)
	copy(header, snapshotMagic)
	binary.LittleEndian.PutUint32(header[8:], layout)
	binary.LittleEndian.PutUint32(header[12:], w.salt)
	binary.LittleEndian.PutUint64(header[16:], w.ref.Index)
	binary.LittleEndian.PutUint32(header[24:], checksum(0, header[:24]))
	if err := w.flush(header); err != nil {
		return err
	}
	w.block = make([]byte, blockHeaderBytes, 2*blockBytes)
	for key, value := range src.Records("") {
		if w.ref.Records > 0 && key <= w.last {
			return fmt.Errorf("key %q comes after %q", key, w.last)
		}
		w.last = key
		w.ref.Records++
		w.block = binary.AppendUvarint(w.block, uint64(len(key)))
		w.block = append(w.block, key...)
		w.block = binary.AppendUvarint(w.block, uint64(len(value)))
		w.block = append(w.block, value...)
		if len(w.block) < blockBytes {
			continue
		}
		if err := w.flushBlock(ctx); err != nil {
			return err
		}
	}
	if err := w.flushBlock(ctx); err != nil {
		return err
	}
	return w.file.Sync()
}

func (w *snapshotWriter) flushBlock(ctx context.Context) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	payload := w.block[blockHeaderBytes:]
	if len(payload) > maxBlockBytes {
		return fmt.Errorf("record %q is too big", w.last)
	}
	if len(payload) == 0 {
		return nil
	}
	binary.LittleEndian.PutUint32(w.block, uint32(len(payload)))
	binary.LittleEndian.PutUint32(w.block[4:], checksum(w.salt, payload))
	if err := w.flush(w.block); err != nil {
		return err
	}
	w.block = w.block[:blockHeaderBytes]
	if w.ref.Bytes-w.synced < syncEvery {
		return nil
	}
	w.synced = w.ref.Bytes
	return w.file.Sync()
}

func (w *snapshotWriter) flush(b []byte) error {
	n, err := w.file.WriteAt(b, w.ref.Bytes)
	w.ref.Bytes += int64(n)
	return err
}

// readSnapshot checks a whole snapshot, then passes its records: nothing is passed of a damaged one,
// so that the caller can turn to another.
func readSnapshot(ctx context.Context, dir string, ref snapshotRef, pass func(key string, value []byte) error) error {
	records := uint64(0)
	count := func(string, []byte) error { records++; return nil }
	if err := scanSnapshot(ctx, dir, ref, count); err != nil {
		return err
	}
	path := filepath.Join(dir, ref.File)
	if records != ref.Records {
		return corrupt(path, ref.Bytes, "holds %d records, the manifest says %d", records, ref.Records)
	}
	if err := scanSnapshot(ctx, dir, ref, pass); err != nil {
		return &passError{err}
	}
	return nil
}

// passError is an error after records were passed.
type passError struct{ error }

func (e *passError) Unwrap() error { return e.error }

func scanSnapshot(ctx context.Context, dir string, ref snapshotRef, pass func(key string, value []byte) error) error {
	path := filepath.Join(dir, ref.File)
	f, err := os.Open(path)
	if os.IsNotExist(err) {
		return corrupt(path, 0, "the file is missing")
	}
	if err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	defer f.Close()
	in := bufio.NewReaderSize(f, 1<<20)
	header := make([]byte, snapshotHeaderBytes)
	if _, err := io.ReadFull(in, header); err != nil && !cut(err) {
		return fmt.Errorf("read snapshot: %w", err)
	}
	if string(header[:8]) != snapshotMagic || checksum(0, header[:24]) != binary.LittleEndian.Uint32(header[24:]) ||
		binary.LittleEndian.Uint64(header[16:]) != ref.Index {
		return corrupt(path, 0, "this is not the header of snapshot %d", ref.Index)
	}
	salt := binary.LittleEndian.Uint32(header[12:])
	var block []byte
	for at := int64(snapshotHeaderBytes); at < ref.Bytes; at += blockHeaderBytes + int64(len(block)) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if block, err = readBlock(in, salt, block); err != nil {
			if errors.Is(err, errBlock) {
				return corrupt(path, at, "%v", err)
			}
			return fmt.Errorf("read snapshot: %w", err)
		}
		if err := splitBlock(block, pass); err != nil {
			if errors.Is(err, errBlock) {
				return corrupt(path, at, "%v", err)
			}
			return err
		}
	}
	return nil
}

var errBlock = errors.New("a block of records is damaged")

// readBlock reads the next block into b and returns its payload.
func readBlock(in io.Reader, salt uint32, b []byte) ([]byte, error) {
	var header [blockHeaderBytes]byte
	if _, err := io.ReadFull(in, header[:]); err != nil {
		return nil, damaged(err)
	}
	size := int(binary.LittleEndian.Uint32(header[:]))
	if size > maxBlockBytes {
		return nil, fmt.Errorf("%w: it claims %d bytes", errBlock, size)
	}
	if cap(b) < size {
		b = make([]byte, size)
	}
	b = b[:size]
	if _, err := io.ReadFull(in, b); err != nil {
		return nil, damaged(err)
	}
	if checksum(salt, b) != binary.LittleEndian.Uint32(header[4:]) {
		return nil, fmt.Errorf("%w: it does not match its checksum", errBlock)
	}
	return b, nil
}

func cut(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

// damaged tells an early end of the file from a disk that cannot be read now.
func damaged(err error) error {
	if cut(err) {
		return fmt.Errorf("%w: the file ends early", errBlock)
	}
	return err
}

func splitBlock(b []byte, pass func(key string, value []byte) error) error {
	for len(b) > 0 {
		key, rest, ok := cutField(b)
		if !ok {
			return fmt.Errorf("%w: a key does not fit", errBlock)
		}
		value, rest, ok := cutField(rest)
		if !ok {
			return fmt.Errorf("%w: the value of %q does not fit", errBlock, key)
		}
		if err := pass(string(key), value); err != nil {
			return err
		}
		b = rest
	}
	return nil
}

func cutField(b []byte) (field, rest []byte, ok bool) {
	size, n := binary.Uvarint(b)
	if n <= 0 || size > uint64(len(b)-n) {
		return nil, nil, false
	}
	return b[n : n+int(size)], b[n+int(size):], true
}
