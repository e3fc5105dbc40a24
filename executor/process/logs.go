package process

import (
	"errors"
	"os"
	"time"
)

// Logs are the files stdout and stderr of a task in a directory, with their
// rotated predecessors stdout.1, stdout.2 …, the newest first.
type Logs struct {
	out, err *logStream
}

// LogOptions are where logs are kept and how much of them.
type LogOptions struct {
	// Dir may be writable for the task's user: no name in it is ever followed.
	Dir   *os.Root
	Owner User
	Size  int64 // of each file, in bytes
	Keep  int   // files of each of stdout and stderr, the current one included
}

// logStream copies from a pipe to a file.
type logStream struct {
	write *os.File // what processes write to
	read  *os.File
	file  *logFile
	done  chan struct{}
}

// OpenLogs creates the files and starts copying to them. Close ends it.
func OpenLogs(o LogOptions) (*Logs, error) {
	out, err := openLogStream(o, "stdout")
	if err != nil {
		return nil, err
	}
	stderr, err := openLogStream(o, "stderr")
	if err != nil {
		return nil, errors.Join(err, out.close(time.Now()))
	}
	return &Logs{out, stderr}, nil
}

// Stdout is what processes get as their stdout.
func (l *Logs) Stdout() *os.File { return l.out.write }

// Stderr is what processes get as their stderr.
func (l *Logs) Stderr() *os.File { return l.err.write }

// Close gives up the executor's write ends, copies what is still in the pipes
// until nobody holds them any more, but no longer than wait, and closes the
// files.
func (l *Logs) Close(wait time.Duration) error {
	until := time.Now().Add(wait)
	return errors.Join(l.out.close(until), l.err.close(until))
}

// LastError is the last line the task wrote to stderr, shortened, for messages.
// It must be called only after Close.
func (l *Logs) LastError() string { return l.err.file.lastLine() }

func openLogStream(o LogOptions, name string) (*logStream, error) {
	file, err := openLogFile(o, name)
	if err != nil {
		return nil, err
	}
	r, w, err := pipe()
	if err != nil {
		return nil, errors.Join(err, file.close())
	}
	s := &logStream{write: w, read: r, file: file, done: make(chan struct{})}
	go s.copy()
	return s, nil
}

// copyBuffer is the most that one read takes from a pipe.
const copyBuffer = 32 << 10

func (s *logStream) copy() {
	defer close(s.done)
	buf := make([]byte, copyBuffer)
	for {
		n, err := s.read.Read(buf)
		s.file.write(buf[:n])
		if err != nil {
			return // all writers are gone, or close waits no longer
		}
	}
}

func (s *logStream) close(until time.Time) error {
	s.write.Close()
	err := s.read.SetReadDeadline(until)
	<-s.done
	return errors.Join(err, s.read.Close(), s.file.close())
}
