package devcluster

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
)

// records is a map on disk: a file of puts and deletes, rewritten when it is
// opened and when it has grown to several times what it holds. What was
// written survives the death of this process, not that of the machine, after
// which there would be no executors to readopt either. A write that was cut
// short is ignored.
type records struct {
	path   string
	file   *os.File
	values map[string][]byte
	size   int64 // of the file
	live   int64 // of what the map holds
}

// deleted stands for a value's length.
const deleted = 1<<32 - 1

// maxRecord bounds a record, so that a damaged length cannot make us allocate.
const maxRecord = 64 << 20

func openRecords(path string) (*records, error) {
	r := &records{path: path, values: map[string][]byte{}}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("open records: %w", err)
	}
	if err := r.read(); err != nil {
		return nil, fmt.Errorf("open records: %w", err)
	}
	if err := r.rewrite(); err != nil {
		return nil, fmt.Errorf("open records: %w", err)
	}
	return r, nil
}

func (r *records) read() error {
	f, err := os.Open(r.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	in := bufio.NewReader(f)
	for {
		key, value, err := readRecord(in)
		if err != nil {
			return nil // the end, or what was cut short
		}
		if value == nil {
			delete(r.values, key)
		} else {
			r.values[key] = value
		}
	}
}

func readRecord(in io.Reader) (key string, value []byte, err error) {
	var head [12]byte // checksum of the rest, length of key, length of value
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return "", nil, err
	}
	keys, values := binary.LittleEndian.Uint32(head[4:]), binary.LittleEndian.Uint32(head[8:])
	gone := values == deleted
	if gone {
		values = 0
	}
	if keys > maxRecord || values > maxRecord {
		return "", nil, errors.New("record too long")
	}
	body := make([]byte, keys+values)
	if _, err := io.ReadFull(in, body); err != nil {
		return "", nil, err
	}
	if sum := crc32.Update(crc32.ChecksumIEEE(head[4:]), crc32.IEEETable, body); sum != binary.LittleEndian.Uint32(head[:]) {
		return "", nil, errors.New("checksum differs")
	}
	if key = string(body[:keys]); !gone {
		value = body[keys:]
	}
	return key, value, nil
}

func appendRecord(b []byte, key string, value []byte) []byte {
	start := len(b)
	n := uint32(len(value))
	if value == nil {
		n = deleted
	}
	b = append(b, 0, 0, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(key)))
	b = binary.LittleEndian.AppendUint32(b, n)
	b = append(append(b, key...), value...)
	binary.LittleEndian.PutUint32(b[start:], crc32.ChecksumIEEE(b[start+4:]))
	return b
}

// put is one change for write.
type put struct {
	key   string
	value []byte
}

// write makes changes durable, all with one call to the system.
func (r *records) write(puts []put) error {
	var b []byte
	for _, p := range puts {
		b = appendRecord(b, p.key, p.value)
		r.live -= int64(len(r.values[p.key]))
		if p.value == nil {
			delete(r.values, p.key)
		} else {
			r.values[p.key] = p.value
			r.live += int64(len(p.value))
		}
	}
	n, err := r.file.Write(b)
	r.size += int64(n)
	if err != nil {
		return fmt.Errorf("write records: %w", err)
	}
	if r.size > 1<<20 && r.size > 8*r.live {
		return r.rewrite()
	}
	return nil
}

// rewrite replaces the file by one without what is over.
func (r *records) rewrite() error {
	var b []byte
	r.live = 0
	for key, value := range r.values {
		b = appendRecord(b, key, value)
		r.live += int64(len(value))
	}
	f, err := os.CreateTemp(filepath.Dir(r.path), "records-*")
	if err != nil {
		return err
	}
	if _, err = f.Write(b); err == nil {
		err = os.Rename(f.Name(), r.path)
	}
	if err != nil {
		return errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	if r.file != nil {
		r.file.Close()
	}
	r.file, r.size = f, int64(len(b))
	return nil
}

func (r *records) close() error { return r.file.Close() }
