package cli

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/perigee-sched/perigee/api"
)

// pty is a terminal whose other end is a test.
type pty struct {
	*testing.T
	master, slave *os.File
	mu            sync.Mutex
	written       bytes.Buffer
	changed       chan struct{}
}

func openPTY(t *testing.T) *pty {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("there are no pseudo terminals: %v", err)
	}
	require.NoError(t, unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	require.NoError(t, err)
	slave, err := os.OpenFile(fmt.Sprint("/dev/pts/", n), os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	require.NoError(t, unix.IoctlSetWinsize(int(slave.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 80}))
	p := &pty{T: t, master: master, slave: slave, changed: make(chan struct{}, 1)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b := make([]byte, 4096)
		for {
			n, err := master.Read(b)
			p.mu.Lock()
			p.written.Write(b[:n])
			p.mu.Unlock()
			select {
			case p.changed <- struct{}{}:
			default:
			}
			if err != nil { // the slave was closed
				return
			}
		}
	}()
	t.Cleanup(func() { slave.Close(); <-ended; master.Close() })
	return p
}

// await waits until something was written.
func (p *pty) await(part string) {
	p.Helper()
	over := time.After(30 * time.Second)
	for !strings.Contains(p.text(), part) {
		select {
		case <-p.changed:
		case <-over:
			p.Fatalf("%q was not written, but %q", part, p.text())
		}
	}
}

func (p *pty) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.written.String()
}

// run executes a command line on the terminal.
func (p *pty) run(r *recorded, args ...string) (code chan int) {
	code = make(chan int, 1)
	go func() {
		code <- Run(r.Context(), args, Streams{In: p.slave, Out: p.slave, Err: p.slave, Environ: []string{"PERIGEE_API=" + r.url}})
	}()
	return code
}

// TestTerminal_AsksBeforeProduction: with what the deploy would do; any answer
// but yes changes nothing.
func TestTerminal_AsksBeforeProduction(t *testing.T) {
	t.Parallel()
	const path = "/v1/jobs/web/prod/hello"
	d := over(api.DeploySucceeded, "")
	d.Job = "web/prod/hello"
	for answer, want := range map[string]int{"y\n": 0, "\n": codeFailed} {
		p := openPTY(t)
		r := answering(t, map[string]any{
			"POST " + path + "/plan":    api.Plan{Job: "web/prod/hello", Action: api.PlanDeploy, From: 3, Changes: []api.SpecChange{{Field: "env.V", Old: "1", New: "2"}}},
			"POST " + path + "/deploys": api.WrittenDeploy{Deploy: *d, Changed: true, Created: true},
		})
		code := p.run(r, "deploy", file(t, oneJob), "--stage", "prod")
		p.await("Deploy web/prod/hello? [y/N]")
		require.Contains(t, escape.ReplaceAllString(p.text(), ""), "~  env.V  1 → 2")
		_, err := p.master.WriteString(answer)
		require.NoError(t, err)
		require.Equal(t, want, <-code, p.text())
		require.Equal(t, want == 0, strings.HasPrefix(r.last(), "POST "+path+"/deploys "))
	}
}

// TestTerminal_LiveView: on a real terminal, the frame is there while the deploy
// goes on, and gone when it is over.
func TestTerminal_LiveView(t *testing.T) {
	t.Parallel()
	p := openPTY(t)
	recorded := record(t, "rolling")
	for _, d := range append(recorded.messages, recorded.deploy) {
		d.Job = "web/devel/hello"
	}
	number := fmt.Sprint(recorded.deploy.Number)
	r := answering(t, map[string]any{
		"POST " + helloPath + "/deploys":                      api.WrittenDeploy{Deploy: *recorded.messages[0], Changed: true},
		"GET " + helloPath + "/deploys/" + number:             recorded.deploy,
		"GET " + helloPath + "/deploys/" + number + "/events": held{recorded.messages[:4], make(chan struct{}), recorded.messages[4:]},
	})
	code := p.run(r, "deploy", file(t, oneJob), "--stage", "devel")
	p.await("batch 2")
	p.await("Ctrl-C ends the watching")
	close(r.answers["GET "+helloPath+"/deploys/"+number+"/events"].(held).until)
	require.Zero(t, <-code)
	p.await("ready, in ")
	term := &terminal{width: 80, height: 24}
	fmt.Fprint(term, p.text())
	require.Regexp(t, `^Deploy \d+ of web/devel/hello succeeded: 6 of 6 instances ready, in \S+\.$`, term.String())
}

// held is a stream that stands still in the middle.
type held struct {
	first []*api.Deploy
	until chan struct{}
	rest  []*api.Deploy
}

func (h held) write(w http.ResponseWriter) {
	stream(w, h.first)
	<-h.until
	stream(w, h.rest)
}
