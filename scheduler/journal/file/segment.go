package file

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/perigee-sched/perigee/scheduler/journal"
)

// A segment is one file of the log: a header, then frames without gaps.
//
//	 0  "PERIGLOG"
//	 8  layout, 4 bytes
//	12  salt, 4 bytes
//	16  number of the segment, 8 bytes
//	24  index of its first entry, 8 bytes
//	32  0, 4 bytes
//	36  CRC-32C of the 36 bytes before, 4 bytes
type segment struct {
	path   string
	number uint64
	base   uint64 // index of its first entry, also while it has none
	salt   uint32
	end    int64 // offset after its last durable frame
}

const (
	segmentMagic       = "PERIGLOG"
	segmentHeaderBytes = 40
	segmentPattern     = "*.log"
)

// createSegment makes an empty segment, durably, and opens it for writing.
func createSegment(d disk, dir string, number, base uint64) (*segment, handle, error) {
	s := &segment{
		path:   filepath.Join(dir, fmt.Sprintf("%08d.log", number)),
		number: number, base: base, salt: rand.Uint32(), end: segmentHeaderBytes,
	}
	if err := replace(d, s.path, s.header()); err != nil {
		return nil, nil, fmt.Errorf("create log segment: %w", err)
	}
	f, err := d.open(s.path, os.O_WRONLY)
	if err != nil {
		return nil, nil, fmt.Errorf("create log segment: %w", err)
	}
	return s, f, nil
}

func (s *segment) header() []byte {
	b := make([]byte, segmentHeaderBytes)
	copy(b, segmentMagic)
	binary.LittleEndian.PutUint32(b[8:], layout)
	binary.LittleEndian.PutUint32(b[12:], s.salt)
	binary.LittleEndian.PutUint64(b[16:], s.number)
	binary.LittleEndian.PutUint64(b[24:], s.base)
	binary.LittleEndian.PutUint32(b[36:], checksum(0, b[:36]))
	return b
}

// readSegment reads a whole segment and checks its header. A segment gets its name when its header
// is durable, so a bad one is corruption also in the last segment.
func readSegment(path string) (*segment, []byte, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, fmt.Errorf("read log: %w", err)
	}
	if len(b) < segmentHeaderBytes || string(b[:8]) != segmentMagic ||
		checksum(0, b[:36]) != binary.LittleEndian.Uint32(b[36:]) {
		return nil, nil, corrupt(path, 0, "this is not the header of a log segment")
	}
	return &segment{
		path:   path,
		salt:   binary.LittleEndian.Uint32(b[12:]),
		number: binary.LittleEndian.Uint64(b[16:]),
		base:   binary.LittleEndian.Uint64(b[24:]),
		end:    segmentHeaderBytes,
	}, b, nil
}

// scan passes the frames of data, the segment's content, and moves s.end past each. It returns the
// index after the last entry, and a *tornError when what follows s.end is a write that was never
// completed.
func (s *segment) scan(data []byte, pass func(frame) error) (next uint64, err error) {
	next = s.base
	for s.end < int64(len(data)) {
		f, err := parseFrame(data[s.end:], s.salt)
		if err != nil {
			if s.torn(data, f, err) {
				return next, &tornError{cause: err}
			}
			return next, corrupt(s.path, s.end, "%v", err)
		}
		if f.index != next || f.count == 0 {
			return next, corrupt(s.path, s.end, "holds %d entries from %d where entry %d is next", f.count, f.index, next)
		}
		if err := pass(f); err != nil {
			return next, err
		}
		next = f.end()
		s.end += int64(f.size)
	}
	return next, nil
}

// tornError says that a file ends with an incomplete write.
type tornError struct{ cause error }

func (e *tornError) Error() string { return e.cause.Error() }

// torn reports whether the unreadable frame at s.end can be a write that a crash cut short. Only one
// write is under way at a time, so nothing follows a torn one; a file system may have kept any of
// its pages and not the others. Whether it was acknowledged is for the caller to know.
func (s *segment) torn(data []byte, f frame, problem error) bool {
	switch {
	case errors.Is(problem, errCut):
		return true
	case errors.Is(problem, errPayload):
		return s.end+int64(f.size) == int64(len(data))
	}
	for i := s.end + 1; i < int64(len(data)); i++ {
		if _, err := parseFrame(data[i:], s.salt); err == nil {
			return false
		}
	}
	return true
}

func corrupt(path string, offset int64, reason string, args ...any) error {
	return &journal.CorruptError{File: path, Offset: offset, Reason: fmt.Sprintf(reason, args...)}
}
