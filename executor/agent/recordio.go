package agent

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// maxRecord bounds one record. A LAUNCH holds a job's definition in base64, a
// few hundred KiB at most.
const maxRecord = 8 << 20

// readRecord reads one record of Mesos's RecordIO framing: its length in
// decimal, a newline, and the record. It returns io.EOF only between records.
func readRecord(r *bufio.Reader) ([]byte, error) {
	n, err := readLength(r)
	if err != nil {
		return nil, err
	}
	record := make([]byte, n)
	if _, err := io.ReadFull(r, record); err != nil {
		return nil, fmt.Errorf("read a record of %d bytes: %w", n, unexpected(err))
	}
	return record, nil
}

func readLength(r *bufio.Reader) (int, error) {
	n := 0
	for digits := 0; ; digits++ {
		c, err := r.ReadByte()
		switch {
		case err != nil && digits == 0:
			return 0, err
		case err != nil:
			return 0, fmt.Errorf("read a record's length: %w", unexpected(err))
		case c == '\n' && digits > 0:
			return n, nil
		case c < '0' || c > '9':
			return 0, fmt.Errorf("read a record's length: %q is not a digit", c)
		}
		if n = n*10 + int(c-'0'); n > maxRecord {
			return 0, fmt.Errorf("a record is longer than %d bytes", maxRecord)
		}
	}
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
