package backup

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"
)

// Version of the format.
type Version struct{ Major, Minor uint16 }

func (v Version) String() string { return fmt.Sprintf("%d.%d", v.Major, v.Minor) }

// Current is the version that is written, and the newest that is read.
var Current = Version{Major: 1, Minor: 0}

const (
	magic          = "PERIGBAK"
	headBytes      = 16 // of the file, and of a chunk
	chunkRawBytes  = 256 << 10
	maxChunkBytes  = 8 << 20 // packed and not; the biggest record has half a megabyte
	packedPlain    = 0
	packedDeflate  = 1
	checkedByBytes = 12 // of a head: those before its checksum
)

// chunkKind says what a chunk holds.
type chunkKind uint8

const (
	headerChunk  chunkKind = 1
	recordsChunk chunkKind = 2
	trailerChunk chunkKind = 3
)

func (k chunkKind) String() string {
	switch k {
	case headerChunk:
		return "the header"
	case recordsChunk:
		return "a chunk of records"
	case trailerChunk:
		return "the trailer"
	}
	return fmt.Sprintf("a chunk of unknown kind %d", uint8(k))
}

// Header says what a backup is of.
type Header struct {
	Cluster     string `json:"cluster,omitempty"` // its name, "" where the journal does not tell
	Incarnation string `json:"incarnation"`
	Framework   string `json:"framework,omitempty"` // Mesos's id of it
	// Index and Epoch of the last journal entry that is in the state.
	Index uint64 `json:"index"`
	Epoch uint64 `json:"epoch"`
	// At is when the backup was made, and Program the version that made it.
	At      time.Time `json:"at"`
	Program string    `json:"program"`
	// Records by kind, which is the first part of their keys.
	Records map[string]uint64 `json:"records"`
}

// Trailer ends a backup, and proves that it is whole.
type Trailer struct {
	Records uint64 `json:"records"`
	Bytes   int64  `json:"bytes"`  // before the trailer
	SHA256  string `json:"sha256"` // of those
}

// VersionError says that a newer Perigee wrote the file.
type VersionError struct{ Found, Reads Version }

func (e *VersionError) Error() string {
	return fmt.Sprintf("this backup has format %s, and this Perigee reads up to %d.x: use the version that made it, or a newer one", e.Found, e.Reads.Major)
}

// ErrNotBackup says that a file is something else.
var ErrNotBackup = errors.New("this is not a backup of Perigee")

// TruncatedError says that the end of a file is missing.
type TruncatedError struct {
	At      int64  // where it ends
	Within  string // what it ends in
	From    int64  // where that begins
	Records uint64 // that came before
	Of      uint64 // that there should be, 0 when the header is not there
}

func (e *TruncatedError) Error() string {
	text := fmt.Sprintf("the backup is truncated: it ends at byte %d, ", e.At)
	if e.At == e.From {
		text += "before " + e.Within
	} else {
		text += fmt.Sprintf("in %s that begins at byte %d", e.Within, e.From)
	}
	if e.Of > 0 {
		text += fmt.Sprintf(", with %d of %d records", e.Records, e.Of)
	}
	return text + ": copy it again from where it is whole, or make another"
}

// DamagedError says that a file is as long as it claims to be, and is not what
// was written.
type DamagedError struct {
	Offset int64 // where what cannot be read begins
	Reason string
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("the backup is damaged at byte %d: %s; use another copy of it, or another backup", e.Offset, e.Reason)
}

func damaged(offset int64, format string, args ...any) error {
	return &DamagedError{Offset: offset, Reason: fmt.Sprintf(format, args...)}
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// fileHead is what a file begins with.
func fileHead(v Version) []byte {
	b := make([]byte, 0, headBytes)
	b = append(b, magic...)
	b = binary.LittleEndian.AppendUint16(b, v.Major)
	b = binary.LittleEndian.AppendUint16(b, v.Minor)
	return binary.LittleEndian.AppendUint32(b, checksum(b))
}

// chunkHead is what a chunk begins with.
func chunkHead(kind chunkKind, packing byte, content []byte) []byte {
	b := append(make([]byte, 0, headBytes), byte(kind), packing, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(content)))
	b = binary.LittleEndian.AppendUint32(b, checksum(content))
	return binary.LittleEndian.AppendUint32(b, checksum(b))
}

// intact says whether the head of a file, or of a chunk, is as it was written.
func intact(head []byte) bool {
	return checksum(head[:checkedByBytes]) == binary.LittleEndian.Uint32(head[checkedByBytes:])
}

// packer compresses chunks, one after the other.
type packer struct {
	w   *flate.Writer
	out bytes.Buffer
}

func newPacker() *packer {
	w, err := flate.NewWriter(nil, flate.BestSpeed)
	if err != nil {
		panic(err) // of the level only
	}
	return &packer{w: w}
}

// pack returns raw, compressed if that makes it smaller; it is valid until the
// next call.
func (p *packer) pack(raw []byte) (packing byte, content []byte) {
	p.out.Reset()
	p.w.Reset(&p.out)
	_, _ = p.w.Write(raw) // into memory
	_ = p.w.Close()
	if p.out.Len() < len(raw) {
		return packedDeflate, p.out.Bytes()
	}
	return packedPlain, raw
}

func unpack(packing byte, content []byte) ([]byte, error) {
	switch packing {
	case packedPlain:
		return content, nil
	case packedDeflate:
		raw, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(content)), maxChunkBytes+1))
		if err != nil {
			return nil, fmt.Errorf("it cannot be decompressed: %w", err)
		}
		if len(raw) > maxChunkBytes {
			return nil, fmt.Errorf("it is more than %d bytes, decompressed", maxChunkBytes)
		}
		return raw, nil
	}
	return nil, fmt.Errorf("it is packed in an unknown way (%d)", packing)
}
