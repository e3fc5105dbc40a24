package backup

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
)

// Reader reads a backup, and checks all of it on the way.
type Reader struct {
	in      *bufio.Reader
	sum     hash.Hash
	at      int64 // bytes read
	header  Header
	version Version
	records uint64
	kinds   map[string]uint64
	last    string // key
	content []byte
}

// NewReader reads up to the header. It fails with ErrNotBackup, a *VersionError, a
// *TruncatedError, a *DamagedError, or what in said.
func NewReader(in io.Reader) (*Reader, error) {
	r := &Reader{in: bufio.NewReaderSize(in, 1<<20), sum: sha256.New(), kinds: map[string]uint64{}}
	if err := r.begin(); err != nil {
		return nil, err
	}
	kind, content, err := r.chunk()
	if err != nil {
		return nil, err
	}
	if kind != headerChunk {
		return nil, damaged(headBytes, "there is %s where the header should be", kind)
	}
	if err := json.Unmarshal(content, &r.header); err != nil {
		return nil, damaged(headBytes, "the header cannot be decoded: %v", err)
	}
	return r, nil
}

// Header of the backup.
func (r *Reader) Header() Header { return r.header }

// Version of the file's format.
func (r *Reader) Version() Version { return r.version }

// begin reads what a file begins with. One that ends within that, and agrees as
// far as it goes, is a truncated backup; an empty one is none.
func (r *Reader) begin() error {
	head := make([]byte, headBytes)
	n, err := io.ReadFull(r.in, head)
	switch {
	case err != nil && !early(err):
		return err
	case n == 0:
		return fmt.Errorf("%w: it is empty", ErrNotBackup)
	case string(head[:min(n, len(magic))]) != magic[:min(n, len(magic))]:
		return fmt.Errorf("%w: it begins with %q", ErrNotBackup, head[:min(n, len(magic))])
	case n < headBytes:
		return &TruncatedError{At: int64(n), Within: "what every backup begins with"}
	case !intact(head):
		return damaged(0, "the first %d bytes do not match their checksum", headBytes)
	}
	r.took(head)
	r.version = Version{Major: binary.LittleEndian.Uint16(head[8:]), Minor: binary.LittleEndian.Uint16(head[10:])}
	if r.version.Major > Current.Major {
		return &VersionError{Found: r.version, Reads: Current}
	}
	return nil
}

func (r *Reader) took(b []byte) {
	r.at += int64(len(b))
	r.sum.Write(b)
}

func early(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

// chunk reads the next chunk. The content is valid until the next call. What the
// trailer's checksum is of is everything before it, so it is not counted.
func (r *Reader) chunk() (chunkKind, []byte, error) {
	from := r.at
	head := make([]byte, headBytes)
	n, err := io.ReadFull(r.in, head)
	if err != nil {
		return 0, nil, r.cut(err, from, n, "the head of a chunk")
	}
	if !intact(head) {
		return 0, nil, damaged(from, "the head of a chunk does not match its checksum")
	}
	kind, size := chunkKind(head[0]), int(binary.LittleEndian.Uint32(head[4:]))
	if size > maxChunkBytes {
		return 0, nil, damaged(from, "%s claims to have %d bytes", kind, size)
	}
	if cap(r.content) < size {
		r.content = make([]byte, size)
	}
	stored := r.content[:size]
	if n, err = io.ReadFull(r.in, stored); err != nil {
		return 0, nil, r.cut(err, from, headBytes+n, kind.String())
	}
	if checksum(stored) != binary.LittleEndian.Uint32(head[8:]) {
		return 0, nil, damaged(from, "%s does not match its checksum", kind)
	}
	if kind != trailerChunk {
		r.took(head)
		r.took(stored)
	}
	content, err := unpack(head[1], stored)
	if err != nil {
		return 0, nil, damaged(from, "%s: %v", kind, err)
	}
	return kind, content, nil
}

// cut says that the file ended n bytes into what began at from.
func (r *Reader) cut(err error, from int64, n int, within string) error {
	if !early(err) {
		return err
	}
	if n == 0 {
		within = "its trailer"
		if r.at == headBytes {
			within = "its header"
		}
	}
	return &TruncatedError{At: from + int64(n), Within: within, From: from, Records: r.records, Of: total(r.header.Records)}
}

func total(kinds map[string]uint64) uint64 {
	sum := uint64(0)
	for _, n := range kinds {
		sum += n
	}
	return sum
}

// Each passes every record, in ascending order of keys, and then checks that the
// backup is whole: what was passed counts for nothing when it fails. The value is
// valid during the call only.
func (r *Reader) Each(pass func(key string, value []byte) error) (Trailer, error) {
	for {
		from := r.at
		kind, content, err := r.chunk()
		if err != nil {
			return Trailer{}, err
		}
		switch kind {
		case recordsChunk:
			if err := r.split(from, content, pass); err != nil {
				return Trailer{}, err
			}
		case trailerChunk:
			return r.end(from, content)
		default:
			return Trailer{}, damaged(from, "there is %s where records or the trailer should be", kind)
		}
	}
}

func (r *Reader) split(from int64, content []byte, pass func(string, []byte) error) error {
	for len(content) > 0 {
		key, rest, ok := cutField(content)
		if !ok {
			return damaged(from, "a key does not fit into its chunk, after %q", r.last)
		}
		value, rest, ok := cutField(rest)
		if !ok {
			return damaged(from, "the value of %q does not fit into its chunk", key)
		}
		if r.records > 0 && string(key) <= r.last {
			return damaged(from, "key %q comes after %q", key, r.last)
		}
		r.last = string(key)
		r.records++
		r.kinds[KindOf(r.last)]++
		if err := pass(r.last, value); err != nil {
			return err
		}
		content = rest
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

// end compares what was read with what the trailer and the header say.
func (r *Reader) end(from int64, content []byte) (Trailer, error) {
	var t Trailer
	if err := json.Unmarshal(content, &t); err != nil {
		return t, damaged(from, "the trailer cannot be decoded: %v", err)
	}
	if sum := hex.EncodeToString(r.sum.Sum(nil)); t.Bytes != from || t.SHA256 != sum {
		return t, damaged(from, "the trailer is of %d bytes with SHA-256 %s, before it are %d with %s", t.Bytes, t.SHA256, from, sum)
	}
	if t.Records != r.records {
		return t, damaged(from, "there are %d records, the trailer says %d", r.records, t.Records)
	}
	for kind, n := range r.header.Records {
		if r.kinds[kind] != n {
			return t, damaged(from, "there are %d records of kind %s, the header says %d", r.kinds[kind], kind, n)
		}
	}
	if total(r.header.Records) != r.records {
		return t, damaged(from, "there are %d records, the header says %d", r.records, total(r.header.Records))
	}
	n, err := io.Copy(io.Discard, r.in)
	if err == nil && n > 0 {
		err = damaged(from, "%d bytes follow the trailer", n)
	}
	return t, err
}
