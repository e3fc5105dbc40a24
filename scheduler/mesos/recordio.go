package mesos

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// maxRecord bounds one record of a stream. An OFFERS event with 10,000 agents is
// about 5 MB.
const maxRecord = 64 << 20

var errTruncated = errors.New("the stream ended inside a record")

// recordReader splits a stream into records: each is its length in decimal and
// a newline, then that many bytes.
type recordReader struct {
	r   *bufio.Reader
	buf []byte
}

// next returns the next record, which is valid until the following call. It is
// io.EOF at the end between two records, errTruncated inside one.
func (d *recordReader) next() ([]byte, error) {
	n, err := d.length()
	if err != nil {
		return nil, err
	}
	d.buf = d.buf[:0]
	for len(d.buf) < n {
		// Memory grows with what has arrived, not with what was announced.
		chunk := min(n-len(d.buf), 256<<10)
		start := len(d.buf)
		d.buf = append(d.buf, make([]byte, chunk)...)
		if _, err := io.ReadFull(d.r, d.buf[start:]); err != nil {
			return nil, truncated(err)
		}
	}
	return d.buf, nil
}

func (d *recordReader) length() (int, error) {
	n := 0
	for digits := 0; ; digits++ {
		c, err := d.r.ReadByte()
		switch {
		case err != nil && digits == 0:
			return 0, err
		case err != nil:
			return 0, truncated(err)
		case c == '\n' && digits > 0:
			return n, nil
		case c < '0' || c > '9':
			return 0, fmt.Errorf("a record's length has the byte %q in it", c)
		}
		if n = 10*n + int(c-'0'); n > maxRecord {
			return 0, fmt.Errorf("a record is longer than %d bytes", maxRecord)
		}
	}
}

func truncated(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return errTruncated
	}
	return err
}
