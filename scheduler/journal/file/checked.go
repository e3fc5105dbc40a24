package file

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// The small files of a journal. Those that must be right end in a line with the CRC-32C of what is
// above it; they are replaced as a whole.
const (
	layoutFile   = "LAYOUT"
	epochFile    = "epoch"
	manifestFile = "manifest"
	markFile     = "acknowledged"
)

// layout is the version of everything in the directory. A scheduler opens its own and older ones.
const layout = 1

const layoutFormat = "perigee journal, layout %d\n"

// checkLayout reports whether dir holds a journal, and refuses one that only a newer version reads.
func checkLayout(dir string) (exists bool, err error) {
	path := filepath.Join(dir, layoutFile)
	b, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var found int
	if _, err := fmt.Sscanf(string(b), layoutFormat, &found); err != nil || found < 1 {
		return false, corrupt(path, 0, "does not say which layout the journal has")
	}
	if found > layout {
		return false, fmt.Errorf("%s: the journal was written by a newer Perigee (layout %d, this one reads up to %d): start that version, or restore a backup made by this one",
			path, found, layout)
	}
	return true, nil
}

const checksumFormat = "crc32c %08x\n"

func writeChecked(d disk, path string, body []byte) error {
	return replace(d, path, append(body, fmt.Sprintf(checksumFormat, checksum(0, body))...))
}

func readChecked(path string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return nil, corrupt(path, 0, "the file is missing")
	}
	if err != nil {
		return nil, err
	}
	i := bytes.LastIndex(b, []byte("crc32c "))
	if i < 0 || fmt.Sprintf(checksumFormat, checksum(0, b[:i])) != string(b[i:]) {
		return nil, corrupt(path, 0, "the content does not match its checksum")
	}
	return b[:i], nil
}

func writeEpoch(d disk, dir string, epoch uint64) error {
	return writeChecked(d, filepath.Join(dir, epochFile), fmt.Appendf(nil, "epoch %d\n", epoch))
}

func readEpoch(dir string) (uint64, error) {
	path := filepath.Join(dir, epochFile)
	b, err := readChecked(path)
	if err != nil {
		return 0, err
	}
	var epoch uint64
	if _, err := fmt.Sscanf(string(b), "epoch %d\n", &epoch); err != nil {
		return 0, corrupt(path, 0, "does not hold an epoch")
	}
	return epoch, nil
}

// manifest names the snapshots that count, newest first, at most two.
type manifest struct {
	Snapshots []snapshotRef `json:"snapshots"`
}

type snapshotRef struct {
	File    string `json:"file"`
	Index   uint64 `json:"index"` // of the last entry it includes
	Records uint64 `json:"records"`
	Bytes   int64  `json:"bytes"`
}

// needed returns the first entry that has to be kept.
func (m manifest) needed() uint64 {
	if len(m.Snapshots) < 2 {
		return 1
	}
	return m.Snapshots[1].Index + 1
}

func (m manifest) write(d disk, dir string) error {
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	return writeChecked(d, filepath.Join(dir, manifestFile), append(b, '\n'))
}

func readManifest(dir string) (manifest, error) {
	var m manifest
	path := filepath.Join(dir, manifestFile)
	b, err := readChecked(path)
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return m, corrupt(path, 0, "cannot be decoded: %v", err)
	}
	return m, nil
}

// mark says how far appends were acknowledged. It is written after each, never synced: after a
// killed process it is exact, after a power cut it may be old, but it never promises too much. With
// it, damage to an acknowledged group at the very end of the log is not mistaken for a torn write.
type mark struct {
	segment uint64 // number of the segment
	offset  uint64 // in it, after the last acknowledged frame
	next    uint64 // index after its last entry
}

const markBytes = 28

func (m mark) encode(b []byte) []byte {
	b = binary.LittleEndian.AppendUint64(b[:0], m.segment)
	b = binary.LittleEndian.AppendUint64(b, m.offset)
	b = binary.LittleEndian.AppendUint64(b, m.next)
	return binary.LittleEndian.AppendUint32(b, checksum(0, b))
}

// readMark returns the zero mark, which promises nothing, when there is no readable one.
func readMark(dir string) mark {
	b, err := os.ReadFile(filepath.Join(dir, markFile))
	if err != nil || len(b) != markBytes || checksum(0, b[:24]) != binary.LittleEndian.Uint32(b[24:]) {
		return mark{}
	}
	return mark{
		segment: binary.LittleEndian.Uint64(b),
		offset:  binary.LittleEndian.Uint64(b[8:]),
		next:    binary.LittleEndian.Uint64(b[16:]),
	}
}
