package executor

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/executor/agent"
	"github.com/perigee-sched/perigee/executor/process"
)

const (
	// callFor is how long the HTTP shutdown call may take.
	callFor = 5 * time.Second
	// clearFor is how long processes may take to disappear after SIGKILL: only
	// those that hang in the kernel need any time.
	clearFor = 5 * time.Second
	// drainFor is how long the logs are read on when someone who could not be
	// killed still holds them.
	drainFor = 2 * time.Second
	// groupPoll is how often the rest of a group is looked for once its main
	// process has ended: nobody is told when a grandchild ends.
	groupPoll = 20 * time.Millisecond
)

// stop asks the task to end. It does not wait, and may be called again to
// hasten the end.
func (t *task) stop(o order) {
	t.report(agent.Killing, api.Report{Phase: api.PhaseStop}, o.why)
	t.hurry(o)
	t.cancel(errStopped)
}

func (t *task) hurry(o order) {
	var before time.Duration
	if t.definition != nil && t.definition.Spec.Stop.HTTP != nil {
		before = callFor
	}
	t.patience.shrink(o, time.Now(), before)
}

// end ends a process's group: the HTTP call, SIGTERM, grace, SIGKILL. It says
// how it went.
func (t *task) end(p *process.Process) string {
	t.hurry(order{}) // when nobody gave an order, the time begins now
	t.callShutdown(p)
	if err := p.Signal(syscall.SIGTERM); err != nil {
		log.Print(err)
	}
	termed := time.Now()
	gone := make(chan struct{})
	waiting, cancel := context.WithCancel(context.Background())
	go func() {
		defer close(gone)
		awaitGroup(waiting, p)
	}()
	inTime := t.patience.wait(gone, termed, 0)
	cancel()
	<-gone
	if inTime {
		return fmt.Sprintf("stopped: %s %s after SIGTERM", p.Exit(), api.Duration(roundly(time.Since(termed))))
	}
	if err := p.Signal(syscall.SIGKILL); err != nil {
		log.Print(err)
	}
	<-p.Done()
	return fmt.Sprintf("killed: it was still running %s after SIGTERM", api.Duration(roundly(time.Since(termed))))
}

// awaitGroup waits until no process of p's group is left: the shell of a
// compound command dies of SIGTERM at once, while its server still finishes.
func awaitGroup(ctx context.Context, p *process.Process) {
	select {
	case <-p.Done():
	case <-ctx.Done():
		return
	}
	tick := time.NewTicker(groupPoll)
	defer tick.Stop()
	for p.GroupLives() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// callShutdown makes the job's HTTP call, if it has one and p is the process
// that would answer.
func (t *task) callShutdown(p *process.Process) {
	call := t.definition.Spec.Stop.HTTP
	if call == nil || t.began.IsZero() {
		return
	}
	var parts sync.WaitGroup
	defer parts.Wait()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	called, over := make(chan struct{}), make(chan struct{})
	parts.Go(func() {
		defer close(called)
		if err := postTo(ctx, t.definition.Ports[call.Port], call.Path); err != nil {
			log.Printf("shutdown call: %v", err)
		}
	})
	parts.Go(func() { // the process may well end because of the call
		defer close(over)
		select {
		case <-called:
		case <-p.Done():
		}
	})
	t.patience.wait(over, time.Now(), callFor)
}

func postTo(ctx context.Context, port uint32, path string) error {
	target := "http://" + net.JoinHostPort("127.0.0.1", strconv.FormatUint(uint64(port), 10)) + path
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, nil)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	log.Printf("shutdown call: POST %s was answered %s", target, resp.Status)
	return nil
}

// clear makes sure that nothing of the task is left: its processes, wherever
// they went, and what they wrote.
func (t *task) clear() {
	ctx, cancel := context.WithTimeout(context.Background(), clearFor)
	defer cancel()
	killed, err := process.KillAll(ctx)
	if err != nil {
		log.Print(err)
	}
	if killed > 0 {
		log.Printf("killed %d processes that the task left behind", killed)
	}
	if t.logs != nil {
		if err := t.logs.Close(drainFor); err != nil {
			log.Printf("logs: %v", err)
		}
	}
	if t.root != nil {
		t.root.Close()
	}
}
