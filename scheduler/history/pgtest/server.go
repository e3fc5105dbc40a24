// Package pgtest runs real PostgreSQL servers for tests.
//
// It owns their processes, which end with the test's, also when that is killed,
// and their directories. The servers are those of Debian's package postgresql,
// reached through a socket in a directory of their own, and run as an
// unprivileged user, since they refuse to run as root. They do not sync to disk:
// a test kills processes, not machines.
package pgtest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // registers "pgx"
)

// ErrMissing says that there is no PostgreSQL on this machine.
var ErrMissing = errors.New("needs Debian's package postgresql, which is not installed")

// Server is one PostgreSQL server. Its methods are for one goroutine at a time,
// those that make databases excepted.
type Server struct {
	dir  string // data, socket and log
	bin  string
	as   *syscall.Credential // nil: as the test runs
	cmd  *exec.Cmd
	made atomic.Int64
	do   chan func() // on the thread that starts processes
}

// Start makes a server and waits until it serves.
func Start() (*Server, error) {
	bin, err := programs()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "perigee-pg-") // short, for the socket's path
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, bin: bin, do: make(chan func())}
	go s.thread()
	if err := s.prepare(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// programs is where the newest version's are.
func programs() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		return "", ErrMissing
	}
	version := func(path string) int {
		n, _ := strconv.Atoi(strings.Split(path, "/")[4])
		return n
	}
	return filepath.Dir(slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) })), nil
}

func (s *Server) prepare() error {
	if err := s.unprivileged(); err != nil {
		return err
	}
	initdb := s.command("initdb", "-D", s.data(), "-U", "perigee", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
	if said, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, said)
	}
	if err := s.Restart(); err != nil {
		return err
	}
	return s.WaitServing(time.Minute)
}

// unprivileged gives the directory to a user that a server may run as.
func (s *Server) unprivileged() error {
	if os.Getuid() != 0 {
		return nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		if u, err = user.Lookup("nobody"); err != nil {
			return fmt.Errorf("find a user to run PostgreSQL as: %w", err)
		}
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	s.as = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return errors.Join(err1, err2, os.Chown(s.dir, int(uid), int(gid)))
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }
func (s *Server) log() string  { return filepath.Join(s.dir, "log") }

func (s *Server) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.bin, program), args...)
	cmd.Dir = s.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.as, Pdeathsig: syscall.SIGQUIT}
	return cmd
}

// thread starts the server's processes: one that dies with its parent dies with
// the thread that started it, so that must be one that stays.
func (s *Server) thread() {
	runtime.LockOSThread()
	for f := range s.do {
		f()
	}
}

// Restart starts the server's process, after Kill, with what its directory holds.
// It does not wait until it serves.
func (s *Server) Restart() error {
	if s.cmd != nil {
		return errors.New("the server runs already")
	}
	log, err := os.OpenFile(s.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o666)
	if err != nil {
		return err
	}
	defer log.Close() // the process has its own
	cmd := s.command("postgres", "-D", s.data(), "-k", s.dir, "-c", "listen_addresses=", "-c", "fsync=off",
		"-c", "max_connections=100", "-c", "shared_buffers=64MB", "-c", "timezone=UTC")
	cmd.Stdout, cmd.Stderr = log, log
	started := make(chan error)
	s.do <- func() { started <- cmd.Start() }
	if err := <-started; err != nil {
		return err
	}
	s.cmd = cmd
	return nil
}

// WaitServing waits until the server serves clients.
func (s *Server) WaitServing(patience time.Duration) error {
	db, err := sql.Open("pgx", s.URL("postgres"))
	if err != nil {
		return err
	}
	defer db.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		if err = db.PingContext(ctx); err == nil {
			return nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			said, _ := os.ReadFile(s.log())
			return fmt.Errorf("PostgreSQL does not serve after %v: %w; it said at last:\n%s", patience, err, said[max(0, len(said)-4<<10):])
		}
	}
}

// URL of a database.
func (s *Server) URL(database string) string {
	return "postgres:///" + database + "?host=" + s.dir + "&user=perigee"
}

// Database makes an empty database and returns its URL.
func (s *Server) Database() (string, error) {
	db, err := sql.Open("pgx", s.URL("postgres"))
	if err != nil {
		return "", err
	}
	defer db.Close()
	name := fmt.Sprintf("test%d", s.made.Add(1))
	if _, err := db.Exec("CREATE DATABASE " + name); err != nil {
		return "", fmt.Errorf("make a database: %w", err)
	}
	return s.URL(name), nil
}

// Kill ends the server and all its processes with kill -9, and waits for their
// end.
func (s *Server) Kill() {
	if s.cmd == nil {
		return
	}
	server := s.cmd.Process.Pid
	_ = syscall.Kill(server, syscall.SIGSTOP) // it begins no others
	others := children(server)
	for _, pid := range append(others, server) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	_ = s.cmd.Wait()
	s.cmd = nil
	for _, pid := range others { // a server that starts waits for none of them
		for lives(pid) {
			time.Sleep(time.Millisecond)
		}
	}
}

// children of a process.
func children(of int) (pids []int) {
	all, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range all {
		if state, parent := stat(path); state != "" && parent == of {
			pid, _ := strconv.Atoi(strings.Split(path, "/")[2])
			pids = append(pids, pid)
		}
	}
	return pids
}

func lives(pid int) bool {
	state, _ := stat(fmt.Sprintf("/proc/%d/stat", pid))
	return state != "" && state != "Z" && state != "X"
}

// stat is the state of a process, "" when there is none, and its parent.
func stat(path string) (state string, parent int) {
	said, _ := os.ReadFile(path)
	_, rest, _ := strings.Cut(string(said), ") ") // behind the program's name
	fields := strings.Fields(rest)
	if len(fields) < 2 {
		return "", 0
	}
	parent, _ = strconv.Atoi(fields[1])
	return fields[0], parent
}

// Close ends the server for good, and removes its directory.
func (s *Server) Close() {
	if s.cmd != nil {
		_ = s.cmd.Process.Signal(syscall.SIGQUIT) // with all its processes, at once; their shared memory goes too
		_ = s.cmd.Wait()
		s.cmd = nil
	}
	close(s.do)
	_ = os.RemoveAll(s.dir)
}

// Shared is a server that a package's tests share. Its Close is for TestMain.
type Shared struct {
	once   sync.Once
	server *Server
	err    error
}

// Server returns the server, which the first one to ask starts. It skips the test
// where there is no PostgreSQL.
func (s *Shared) Server(t testing.TB) *Server {
	t.Helper()
	s.once.Do(func() { s.server, s.err = Start() })
	Require(t, s.err)
	return s.server
}

// Database is an empty one of the server's.
func (s *Shared) Database(t testing.TB) string {
	t.Helper()
	address, err := s.Server(t).Database()
	Require(t, err)
	return address
}

// Close ends the server, if there is one.
func (s *Shared) Close() {
	if s.server != nil {
		s.server.Close()
	}
}

// Require skips the test where there is no PostgreSQL, and fails it for any other
// error.
func Require(t testing.TB, err error) {
	t.Helper()
	if errors.Is(err, ErrMissing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
}
