package zktest

import (
	"fmt"
	"os"
	"regexp"
	"sync"
	"sync/atomic"
	"testing"
)

// Shared is one server for all tests of a package, started when the first asks for it: a JVM takes a
// second to start. Its zero value is ready; TestMain calls Close.
type Shared struct {
	Options Options

	once   sync.Once
	dir    string
	server *Server
	err    error
	count  atomic.Int64
}

// Server returns the server, or skips the test where there is none.
func (s *Shared) Server(t testing.TB) *Server {
	t.Helper()
	s.once.Do(func() {
		if s.dir, s.err = os.MkdirTemp("", "perigee-zookeeper-"); s.err == nil {
			s.server, s.err = Start(s.dir, s.Options)
		}
	})
	Require(t, s.err)
	return s.server
}

var unfit = regexp.MustCompile(`[^A-Za-z0-9]+`)

// Chroot returns a path that no other test uses.
func (s *Shared) Chroot(t testing.TB) string {
	return fmt.Sprintf("/perigee/%s-%d", unfit.ReplaceAllString(t.Name(), "-"), s.count.Add(1))
}

// Close ends the server.
func (s *Shared) Close() {
	if s.server != nil {
		s.server.Close()
	}
	if s.dir != "" {
		_ = os.RemoveAll(s.dir)
	}
}

// Require skips the test when err is ErrMissing, and fails it for any other.
func Require(t testing.TB, err error) {
	t.Helper()
	if err == ErrMissing {
		t.Skip(err)
	}
	if err != nil {
		t.Fatalf("start zookeeper: %v", err)
	}
}
