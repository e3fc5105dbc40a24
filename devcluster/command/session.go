package command

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/executor"
)

// session is the connection to the agent, which survives the agent's restart.
// What the agent has not acknowledged is told again with every SUBSCRIBE.
type session struct {
	client    *http.Client
	url       string
	framework string
	executor  string
	patience  time.Duration // for which a lost agent is awaited
	queue     chan mesos.TaskStatus

	mu      sync.Mutex
	tasks   []mesos.TaskInfo // launched, no update acknowledged
	updates []mesos.TaskStatus
}

// retry is between attempts to reach an agent that is away.
const retry = 100 * time.Millisecond

func newSession() *session {
	s := &session{
		client:    client(),
		url:       scheme() + "://" + os.Getenv("MESOS_AGENT_ENDPOINT") + "/api/v1/executor",
		framework: os.Getenv("MESOS_FRAMEWORK_ID"),
		executor:  os.Getenv("MESOS_EXECUTOR_ID"),
		queue:     make(chan mesos.TaskStatus, 16), // a task has five updates at most
	}
	if os.Getenv("MESOS_CHECKPOINT") == "1" {
		s.patience = parseDuration(os.Getenv("MESOS_RECOVERY_TIMEOUT"))
	}
	return s
}

// scheme is what the agent speaks.
func scheme() string {
	if os.Getenv("LIBPROCESS_SSL_ENABLED") == "1" {
		return "https"
	}
	return "http"
}

// client trusts the certificates that the agent names, if it does.
func client() *http.Client {
	pem, err := os.ReadFile(os.Getenv("LIBPROCESS_SSL_CA_FILE"))
	if err != nil {
		return http.DefaultClient
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
}

// parseDuration reads what Mesos prints, such as "15mins"; 0 if it is none.
func parseDuration(text string) time.Duration {
	units := map[string]time.Duration{"ns": 1, "us": time.Microsecond, "ms": time.Millisecond, "secs": time.Second,
		"mins": time.Minute, "hrs": time.Hour, "days": 24 * time.Hour, "weeks": 7 * 24 * time.Hour}
	number := strings.TrimRight(text, "abcdefghijklmnopqrstuvwxyz")
	n, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return 0
	}
	return time.Duration(n * float64(units[text[len(number):]]))
}

func newUUID() []byte {
	b := make([]byte, 16)
	rand.Read(b) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return b
}

// events subscribes, again and again when the stream breaks, until the agent
// has been away for too long. The channel is closed then. Both goroutines end
// with ctx, which ends with the program.
func (s *session) events(ctx context.Context) <-chan *executor.Event {
	out := make(chan *executor.Event)
	go s.sendUpdates(ctx)
	go func() {
		defer close(out)
		lost := time.Now()
		for {
			if s.subscribe(ctx, out) {
				lost = time.Now()
			}
			if ctx.Err() != nil || time.Since(lost) > s.patience {
				return
			}
			time.Sleep(retry)
		}
	}()
	return out
}

// subscribe reads one stream to its end and says whether there was one.
func (s *session) subscribe(ctx context.Context, out chan<- *executor.Event) bool {
	s.mu.Lock()
	call := &executor.Call{Type: executor.Call_SUBSCRIBE, Subscribe: &executor.Call_Subscribe{
		UnacknowledgedTasks: slices.Clone(s.tasks)}}
	for _, u := range s.updates {
		call.Subscribe.UnacknowledgedUpdates = append(call.Subscribe.UnacknowledgedUpdates, executor.Call_Update{Status: u})
	}
	s.mu.Unlock()
	resp, err := s.post(ctx, call)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return false
	}
	in := bufio.NewReader(resp.Body)
	for {
		e, err := readEvent(in)
		if err != nil {
			return true
		}
		select {
		case out <- e:
		case <-ctx.Done():
			return true
		}
	}
}

func readEvent(in *bufio.Reader) (*executor.Event, error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return nil, err
	}
	n, err := strconv.ParseUint(strings.TrimSuffix(line, "\n"), 10, 26)
	if err != nil {
		return nil, err
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(in, b); err != nil {
		return nil, err
	}
	e := &executor.Event{}
	return e, e.Unmarshal(b)
}

func (s *session) post(ctx context.Context, call *executor.Call) (*http.Response, error) {
	call.ExecutorID, call.FrameworkID = mesos.ExecutorID{Value: s.executor}, mesos.FrameworkID{Value: s.framework}
	b, err := call.Marshal()
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/x-protobuf")
	r.Header.Set("Accept", "application/x-protobuf")
	return s.client.Do(r)
}

func (s *session) launched(t *mesos.TaskInfo) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tasks = append(s.tasks, *t)
}

// update sends a status, sooner or later.
func (s *session) update(status mesos.TaskStatus) {
	s.mu.Lock()
	s.updates = append(s.updates, status)
	s.mu.Unlock()
	s.queue <- status
}

// acknowledged says that the agent has an update.
func (s *session) acknowledged(task string, uuid []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tasks = slices.DeleteFunc(s.tasks, func(t mesos.TaskInfo) bool { return t.TaskID.Value == task })
	s.updates = slices.DeleteFunc(s.updates, func(u mesos.TaskStatus) bool { return bytes.Equal(u.UUID, uuid) })
}

func (s *session) waits(uuid []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.updates, func(u mesos.TaskStatus) bool { return bytes.Equal(u.UUID, uuid) })
}

// sendUpdates sends one status after the other, each until the agent takes it,
// has it from a SUBSCRIBE, or says that it is wrong.
func (s *session) sendUpdates(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case status := <-s.queue:
			for s.waits(status.UUID) && !s.sent(ctx, status) && ctx.Err() == nil {
				time.Sleep(retry)
			}
		}
	}
}

func (s *session) sent(ctx context.Context, status mesos.TaskStatus) bool {
	resp, err := s.post(ctx, &executor.Call{Type: executor.Call_UPDATE, Update: &executor.Call_Update{Status: status}})
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10)) // only for the message
	if resp.StatusCode >= 400 && resp.StatusCode < 500 {
		fmt.Fprintf(os.Stderr, "command executor: the agent refuses %v: %s\n", status.GetState(), text)
		return true
	}
	return resp.StatusCode == http.StatusAccepted
}
