package backup

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"iter"
	"strings"
)

// KindOf is the kind of a record: the first part of its key.
func KindOf(key string) string {
	kind, _, _ := strings.Cut(key, "/")
	return kind
}

// CountKinds counts records for a header.
func CountKinds(keys iter.Seq[string]) map[string]uint64 {
	counts := map[string]uint64{}
	for key := range keys {
		counts[KindOf(key)]++
	}
	return counts
}

// Write writes a whole backup: the records that h counts, in ascending order of
// their keys. A value may be reused once the loop goes on.
func Write(out io.Writer, h Header, records iter.Seq2[string, []byte]) (Trailer, error) {
	w := &writer{out: out, sum: sha256.New(), packer: newPacker()}
	if err := w.put(fileHead(Current)); err != nil {
		return Trailer{}, err
	}
	if err := w.putJSON(headerChunk, h); err != nil {
		return Trailer{}, err
	}
	if err := w.putRecords(records); err != nil {
		return Trailer{}, err
	}
	expected := uint64(0)
	for _, n := range h.Records {
		expected += n
	}
	if w.records != expected {
		return Trailer{}, fmt.Errorf("write backup: there are %d records, and the header counts %d", w.records, expected)
	}
	t := Trailer{Records: w.records, Bytes: w.bytes, SHA256: hex.EncodeToString(w.sum.Sum(nil))}
	return t, w.putJSON(trailerChunk, t)
}

type writer struct {
	out     io.Writer
	sum     hash.Hash
	packer  *packer
	bytes   int64
	records uint64
	last    string // key
}

func (w *writer) put(b []byte) error {
	n, err := w.out.Write(b)
	w.bytes += int64(n)
	w.sum.Write(b[:n])
	if err != nil {
		return fmt.Errorf("write backup: %w", err)
	}
	return nil
}

func (w *writer) putChunk(kind chunkKind, raw []byte) error {
	packing, content := w.packer.pack(raw)
	if err := w.put(chunkHead(kind, packing, content)); err != nil {
		return err
	}
	return w.put(content)
}

func (w *writer) putJSON(kind chunkKind, value any) error {
	b, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("write backup: encode %s: %w", kind, err)
	}
	return w.putChunk(kind, b)
}

func (w *writer) putRecords(records iter.Seq2[string, []byte]) error {
	raw := make([]byte, 0, chunkRawBytes+chunkRawBytes/4)
	for key, value := range records {
		if w.records > 0 && key <= w.last {
			return fmt.Errorf("write backup: key %q comes after %q", key, w.last)
		}
		w.last = key
		w.records++
		raw = appendField(appendField(raw, []byte(key)), value)
		if len(raw) < chunkRawBytes {
			continue
		}
		if err := w.putChunk(recordsChunk, raw); err != nil {
			return err
		}
		raw = raw[:0]
	}
	if len(raw) == 0 {
		return nil
	}
	return w.putChunk(recordsChunk, raw)
}

func appendField(b, content []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(content))), content...)
}
