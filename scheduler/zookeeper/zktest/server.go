// Package zktest runs real ZooKeeper servers for tests.
//
// It owns their processes, which end with the test's, also when that is killed, and a TCP proxy that
// cuts connections when a test says so. The servers are those of Debian's package zookeeper, on
// loopback, each in a directory of its own. They do not sync to disk unless told: a test kills
// processes, not machines.
package zktest

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// jar names those it needs beside it. The other says on standard error what the servers log.
const (
	jar    = "/usr/share/java/zookeeper.jar"
	logJar = "/usr/share/java/slf4j-simple.jar"
)

// ErrMissing says that there is no ZooKeeper on this machine.
var ErrMissing = errors.New("needs Debian's package zookeeper, which is not installed")

// Options of servers.
type Options struct {
	Sync bool          // sync to disk, as in production
	Tick time.Duration // session timeouts are 2 to 20 of these; 0 is 250ms
	Log  string        // the servers' own log level; "" is warn
	Heap int           // of each server's JVM, in MiB; 0 is 384

	// ReadOnly has a server that is without a quorum serve reads to those who ask for no more.
	ReadOnly bool
}

// Server is one ZooKeeper server. Its methods are for one goroutine at a time.
type Server struct {
	Address string // host:port for clients

	dir string // has what it logs, too
	log string
	mib int
	ro  bool
	cmd *exec.Cmd
	own []*Port
	do  chan func() // on the thread that starts processes
}

// Start starts one server and waits until it serves. dir is its own, and is left behind.
func Start(dir string, o Options) (*Server, error) {
	servers, err := StartEnsemble(dir, 1, o)
	if err != nil {
		return nil, err
	}
	return servers[0], nil
}

// StartEnsemble starts n servers that form one ensemble and waits until it serves.
func StartEnsemble(dir string, n int, o Options) ([]*Server, error) {
	_, noJava := exec.LookPath("java")
	if _, noJar := os.Stat(jar); noJava != nil || noJar != nil {
		return nil, ErrMissing
	}
	if o.Tick == 0 {
		o.Tick = 250 * time.Millisecond
	}
	ports, err := claimPorts(3 * n)
	if err != nil {
		return nil, err
	}
	peers := ""
	for i := 0; n > 1 && i < n; i++ {
		peers += fmt.Sprintf("server.%d=127.0.0.1:%d:%d\n", i+1, ports[3*i+1].Number, ports[3*i+2].Number)
	}
	servers := make([]*Server, n)
	for i := range servers {
		servers[i] = &Server{
			Address: ports[3*i].String(), own: ports[3*i : 3*i+3],
			dir: filepath.Join(dir, strconv.Itoa(i+1)), log: o.Log, mib: cmp.Or(o.Heap, 384), ro: o.ReadOnly, do: make(chan func()),
		}
		go servers[i].thread()
		err = errors.Join(err, servers[i].prepare(i+1, ports[3*i].Number, peers, o), servers[i].Restart())
	}
	for _, s := range servers {
		err = errors.Join(err, s.WaitServing(time.Minute))
	}
	if err != nil {
		for _, s := range servers {
			s.Close()
		}
		return nil, err
	}
	return servers, nil
}

// Addresses joins the servers' addresses, as an option wants them.
func Addresses(servers []*Server) []string {
	var all []string
	for _, s := range servers {
		all = append(all, s.Address)
	}
	return all
}

func (s *Server) prepare(id, port int, peers string, o Options) error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	sync := "no"
	if o.Sync {
		sync = "yes"
	}
	config := fmt.Sprintf("tickTime=%d\nmaxSessionTimeout=60000\ninitLimit=20\nsyncLimit=10\ndataDir=%s\nclientPort=%d\nclientPortAddress=127.0.0.1\n"+
		"admin.enableServer=false\nforceSync=%s\nmaxClientCnxns=0\nautopurge.snapRetainCount=3\nautopurge.purgeInterval=1\n"+
		"4lw.commands.whitelist=srvr,ruok,mntr\n%s", o.Tick.Milliseconds(), s.dir, port, sync, peers)
	return errors.Join(
		os.WriteFile(filepath.Join(s.dir, "zoo.cfg"), []byte(config), 0o600),
		os.WriteFile(filepath.Join(s.dir, "myid"), fmt.Appendf(nil, "%d\n", id), 0o600))
}

// thread starts the server's processes: one that dies with its parent dies with the thread that
// started it, so that must be one that stays.
func (s *Server) thread() {
	runtime.LockOSThread()
	for f := range s.do {
		f()
	}
}

// Restart starts the server's process, after Kill, with what its directory holds. It does not wait
// until it serves.
func (s *Server) Restart() error {
	if s.cmd != nil {
		return errors.New("the server runs already")
	}
	cmd := exec.Command("java", fmt.Sprintf("-Xmx%dm", s.mib), "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto",
		// Servers that elect repeat what they said at least so often. By default the wait doubles up
		// to a minute, and an election takes as long when something that was said was lost.
		"-Dzookeeper.fastleader.maxNotificationInterval=500",
		"-Dreadonlymode.enabled="+strconv.FormatBool(s.ro),
		"-Dorg.slf4j.simpleLogger.defaultLogLevel="+cmp.Or(s.log, "warn"), "-Dorg.slf4j.simpleLogger.showDateTime=true",
		"-cp", jar+":"+logJar,
		"org.apache.zookeeper.server.quorum.QuorumPeerMain", filepath.Join(s.dir, "zoo.cfg"))
	log, err := os.OpenFile(s.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() // the process has its own
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	s.do <- func() { started <- cmd.Start() }
	if err := <-started; err != nil {
		return err
	}
	s.cmd = cmd
	return nil
}

// WaitServing waits until the server serves clients, which takes a quorum.
func (s *Server) WaitServing(patience time.Duration) error {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if s.mode() != "" {
			return nil
		}
	}
	said, _ := os.ReadFile(s.logFile())
	return fmt.Errorf("zookeeper at %s does not serve after %v; it said at last:\n%s", s.Address, patience, said[max(0, len(said)-4<<10):])
}

func (s *Server) logFile() string { return filepath.Join(s.dir, "log") }

// Kill kills the server as kill -9 does and waits for its end.
func (s *Server) Kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	s.cmd = nil
}

// Stop stops the server's process without ending it; Cont lets it go on.
func (s *Server) Stop() error { return s.cmd.Process.Signal(syscall.SIGSTOP) }

// Cont lets a stopped server go on.
func (s *Server) Cont() error { return s.cmd.Process.Signal(syscall.SIGCONT) }

// Leads reports whether the server leads its ensemble.
func (s *Server) Leads() bool { return s.mode() == "leader" }

// OnlyReads reports whether the server serves reads alone, for want of a quorum.
func (s *Server) OnlyReads() bool { return s.mode() == "read-only" }

// mode is standalone, leader, follower or read-only, "" while the server serves nobody.
func (s *Server) mode() string {
	c, err := net.DialTimeout("tcp", s.Address, time.Second)
	if err != nil {
		return ""
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Second))
	if _, err := c.Write([]byte("srvr")); err != nil {
		return ""
	}
	answer, _ := io.ReadAll(c)
	_, mode, _ := strings.Cut(string(answer), "Mode: ")
	mode, _, _ = strings.Cut(mode, "\n")
	return mode
}

// Close kills the server for good.
func (s *Server) Close() {
	s.Kill()
	close(s.do)
	releasePorts(s.own)
}
