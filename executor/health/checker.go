package health

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/executor/process"
)

// Checker makes one task's checks.
type Checker struct {
	health   api.Health
	judge    *Judge
	timeout  time.Duration
	check    func(context.Context) Result
	ports    map[string]uint32
	children *process.Children
	command  process.Command
}

// Options are what checks need to know of a task.
type Options struct {
	Health    api.Health
	Successes int               // in a row that make it healthy
	Ports     map[string]uint32 // by name
	Children  *process.Children
	// Command is how the check's command is run; its Args are filled in.
	Command process.Command
}

// NewChecker returns the checker, or an error that says what is wrong with the
// job's health check.
func NewChecker(o Options) (*Checker, error) {
	c := &Checker{
		health:   o.Health,
		judge:    NewJudge(o.Health, o.Successes),
		timeout:  orDefault(o.Health.Timeout.Std(), 5*time.Second),
		ports:    o.Ports,
		children: o.Children,
		command:  o.Command,
	}
	switch h := o.Health; {
	case h.HTTP != nil:
		return c, c.useHTTP(*h.HTTP)
	case h.TCP != nil:
		return c, c.useTCP(*h.TCP)
	case h.Command != nil:
		c.command.Args = process.Shell(h.Command.Command)
		c.check = c.runCommand
		return c, nil
	}
	return nil, errors.New("health: none of http, tcp and command is given")
}

// Run checks until ctx is done, which returns "", or the task has failed, which
// returns why. Verdicts that are worth telling are told, that one included.
func (c *Checker) Run(ctx context.Context, tell func(Verdict)) (failed string) {
	start := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ""
		case <-timer.C:
		}
		result := c.once(ctx)
		if ctx.Err() != nil {
			return "" // it says nothing about the task
		}
		at := time.Since(start)
		v := c.judge.Observe(at, result)
		if v.Tell {
			tell(v)
		}
		if v.Failed != "" {
			return v.Failed
		}
		timer.Reset(c.judge.Pause(at))
	}
}

func (c *Checker) once(ctx context.Context) Result {
	ctx, cancel := context.WithTimeoutCause(ctx, c.timeout, fmt.Errorf("no answer within %s", api.Duration(c.timeout)))
	defer cancel()
	return c.check(ctx)
}

func (c *Checker) address(port string) (string, error) {
	n, ok := c.ports[port]
	if !ok {
		return "", fmt.Errorf("health: port %q is not among the job's ports", port)
	}
	return net.JoinHostPort("127.0.0.1", strconv.FormatUint(uint64(n), 10)), nil
}

func (c *Checker) useHTTP(h api.HTTPCheck) error {
	address, err := c.address(h.Port)
	if err != nil {
		return err
	}
	path, query, _ := strings.Cut(h.Path, "?")
	target := url.URL{Scheme: h.Scheme, Host: address, Path: path, RawQuery: query}
	if target.Path == "" {
		target.Path = "/healthz"
	}
	if target.Scheme == "" {
		target.Scheme = "http"
	}
	req, err := http.NewRequest(http.MethodGet, target.String(), nil)
	if err != nil {
		return fmt.Errorf("health: %w", err)
	}
	req.Header.Set("User-Agent", "perigee-executor")
	req.Close = true // each check is of a new connection
	c.check = func(ctx context.Context) Result { return get(ctx, req, h.FailAtOnce) }
	return nil
}

// get makes one request over a connection of its own. http.Client would do, but
// its machinery for keeping connections is most of what a check costs.
func get(ctx context.Context, req *http.Request, failAtOnce []int) Result {
	failed := func(err error) Result {
		return Result{Err: fmt.Errorf("GET %s: %w", req.URL, explain(ctx, err))}
	}
	conn, err := connect(ctx, req.URL)
	if err != nil {
		return failed(err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if err := req.Write(conn); err != nil {
		return failed(err)
	}
	resp, err := http.ReadResponse(bufio.NewReaderSize(io.LimitReader(conn, maxAnswer), 1<<10), req)
	if err != nil {
		return failed(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 200 && resp.StatusCode < 400 {
		return Result{}
	}
	r := failed(errors.New(strings.TrimSpace(resp.Status + " " + firstLine(resp.Body))))
	r.Fatal = slices.Contains(failAtOnce, resp.StatusCode)
	return r
}

// maxAnswer bounds what is read of an answer, headers included.
const maxAnswer = 64 << 10

func connect(ctx context.Context, target *url.URL) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", target.Host)
	if err != nil || target.Scheme != "https" {
		return conn, err
	}
	// The check goes to the task's own host, where nobody can be in between,
	// and where no certificate names 127.0.0.1.
	secure := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, ServerName: "localhost"})
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return secure, nil
}

// firstLine returns the beginning of a body, which often says what is wrong.
func firstLine(body io.Reader) string {
	b, _ := io.ReadAll(io.LimitReader(body, 160)) // part of it is good enough
	line, _, _ := strings.Cut(strings.TrimSpace(strings.ToValidUTF8(string(b), "?")), "\n")
	if line == "" {
		return ""
	}
	return "(" + line + ")"
}

func (c *Checker) useTCP(t api.TCPCheck) error {
	address, err := c.address(t.Port)
	if err != nil {
		return err
	}
	c.check = func(ctx context.Context) Result {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err != nil {
			return Result{Err: fmt.Errorf("connect to %s: %w", address, explain(ctx, err))}
		}
		conn.Close()
		return Result{}
	}
	return nil
}

func (c *Checker) runCommand(ctx context.Context) Result {
	exit, out, err := c.children.Output(ctx, c.command, 160)
	if err == nil && exit.OK() {
		return Result{}
	}
	if err == nil {
		err = errors.New(exit.String())
	}
	if said := firstLine(strings.NewReader(string(out))); said != "" {
		err = fmt.Errorf("%w %s", err, said)
	}
	return Result{Err: fmt.Errorf("command %q: %w", c.health.Command.Command, err)}
}

// explain leaves of a network error what a person needs.
func explain(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	var system *os.SyscallError
	if errors.As(err, &system) {
		return system.Err
	}
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}
