package process

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

// logFile is one rotated log. A write never fails for the writer: what the disk
// does not take is dropped and counted, so that a full disk neither stops nor
// ends a task, and a line in the log says how much is missing.
type logFile struct {
	LogOptions
	name    string
	file    io.WriteCloser // nil after a rotation that failed
	written int64          // to file
	dropped int64          // bytes since the last note
	cause   error
	tail    []byte // the last bytes of the task
}

// lastLineMax bounds what lastLine returns, in bytes.
const lastLineMax = 200

func openLogFile(o LogOptions, name string) (*logFile, error) {
	f := &logFile{LogOptions: o, name: name}
	if err := f.create(); err != nil {
		return nil, fmt.Errorf("create log %s: %w", name, err)
	}
	return f, nil
}

// create opens a new file under the log's name. O_EXCL follows no link that the
// task's user might have put there.
func (f *logFile) create() error {
	const flags = os.O_WRONLY | os.O_CREATE | os.O_EXCL | os.O_APPEND
	file, err := f.Dir.OpenFile(f.name, flags, 0o644)
	if errors.Is(err, fs.ErrExist) {
		if err = f.Dir.RemoveAll(f.name); err == nil {
			file, err = f.Dir.OpenFile(f.name, flags, 0o644)
		}
	}
	if err != nil {
		return err
	}
	if !f.Owner.IsOwn() {
		if err := file.Chown(int(f.Owner.UID), int(f.Owner.GID)); err != nil {
			file.Close()
			return err
		}
	}
	f.file, f.written = file, 0
	return nil
}

// write appends b, rotating at the end of a line where there is one.
func (f *logFile) write(b []byte) {
	f.remember(b)
	for len(b) > 0 {
		if f.file == nil && !f.try(f.create) {
			f.dropped += int64(len(b))
			return
		}
		f.note()
		room := f.Size - f.written
		if int64(len(b)) <= room {
			f.append(b)
			return
		}
		head := b[:max(room, 0)]
		if i := bytes.LastIndexByte(head, '\n'); i >= 0 {
			head = head[:i+1]
		}
		f.append(head)
		b = b[len(head):]
		f.try(f.rotate)
	}
}

func (f *logFile) remember(b []byte) {
	b = b[max(0, len(b)-2*lastLineMax):]
	f.tail = append(f.tail, b...)
	if extra := len(f.tail) - 2*lastLineMax; extra > 0 {
		f.tail = append(f.tail[:0], f.tail[extra:]...)
	}
}

// append writes b to the current file, and drops what does not go.
func (f *logFile) append(b []byte) {
	n, err := f.file.Write(b)
	f.written += int64(n)
	if err != nil {
		f.dropped += int64(len(b) - n)
		f.cause = err
	}
}

// try does what may fail on a bad disk, and remembers why it did.
func (f *logFile) try(do func() error) bool {
	err := do()
	if err != nil {
		f.cause = err
	}
	return err == nil
}

// note says in the log that something is missing from it, once there is room
// again.
func (f *logFile) note() {
	if f.dropped == 0 {
		return
	}
	n, err := fmt.Fprintf(f.file, "\n[perigee-executor: %d bytes are missing here: %s]\n", f.dropped, innermost(f.cause))
	f.written += int64(n)
	if err == nil {
		f.dropped = 0
	}
}

func innermost(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// rotate moves each file one number up, drops the oldest, and starts anew.
func (f *logFile) rotate() error {
	f.file.Close()
	f.file = nil
	for i := f.Keep - 1; i > 0; i-- {
		if err := f.rename(f.numbered(i-1), f.numbered(i)); err != nil {
			return fmt.Errorf("rotate log %s: %w", f.name, err)
		}
	}
	return f.create()
}

func (f *logFile) rename(from, to string) error {
	err := f.Dir.Rename(from, to)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		// Something that is no file is in the way.
		if err = f.Dir.RemoveAll(to); err == nil {
			err = f.Dir.Rename(from, to)
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (f *logFile) numbered(i int) string {
	if i == 0 {
		return f.name
	}
	return fmt.Sprintf("%s.%d", f.name, i)
}

func (f *logFile) lastLine() string {
	text := strings.TrimSpace(strings.ToValidUTF8(string(f.tail), "?"))
	if i := strings.LastIndexByte(text, '\n'); i >= 0 {
		text = text[i+1:]
	}
	if extra := len(text) - lastLineMax; extra > 0 {
		text = "…" + strings.ToValidUTF8(text[extra:], "")
	}
	return text
}

func (f *logFile) close() error {
	if f.file == nil {
		return nil
	}
	f.note()
	return f.file.Close()
}
