package executor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"sync"
	"time"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/executor/agent"
	"github.com/perigee-sched/perigee/executor/artifact"
	"github.com/perigee-sched/perigee/executor/health"
	"github.com/perigee-sched/perigee/executor/process"
)

// task is the one task of an executor.
type task struct {
	id         string
	definition *api.Definition
	config     Config
	children   *process.Children
	send       func(agent.Status)

	wanted   context.Context // done when the task is to stop
	cancel   context.CancelCauseFunc
	patience *patience

	mu       sync.Mutex
	stopping bool // was asked to, and told so
	over     bool // the last update is out

	// Set once the sandbox is ready.
	user  process.User
	root  *os.Root
	logs  *process.Logs
	began time.Time // of the main process
}

// outcome is how a task ended.
type outcome struct {
	state   agent.State
	message string
	exit    *process.Exit // of the main process, if it ran
}

// errStopped is why wanted is done when someone asked for it.
var errStopped = errors.New("stopped")

// endedError is why a task is ended that is not wanted to go on as it does:
// unhealthy, or out of time.
type endedError struct{ message string }

func (e *endedError) Error() string { return e.message }

func newTask(id string, x *Executor) *task {
	t := &task{id: id, config: x.config, children: x.children, send: x.session.Send,
		patience: newPatience(api.DefaultStopGrace.Std())}
	t.wanted, t.cancel = context.WithCancelCause(context.Background())
	return t
}

// run runs the task to its end and reports it.
func (t *task) run() {
	t.report(agent.Starting, api.Report{Phase: api.PhaseFetch}, "")
	o := t.live(t.wanted)
	t.clear()
	r := api.Report{Phase: api.PhaseEnd}
	if o.exit != nil {
		r.Exited, r.ExitCode = true, o.exit.Code()
	}
	if o.state == agent.Failed && t.logs != nil {
		if said := t.logs.LastError(); said != "" {
			o.message += "; its last line on stderr: " + said
		}
	}
	t.report(o.state, r, o.message)
}

// live takes the task through its phases.
func (t *task) live(ctx context.Context) outcome {
	if err := t.openSandbox(ctx); err != nil {
		return t.failed(ctx, err)
	}
	if err := t.fetch(ctx); err != nil {
		return t.failed(ctx, err)
	}
	logs, err := t.openLogs()
	if err != nil {
		return t.failed(ctx, err)
	}
	t.logs = logs
	if limit := t.definition.Spec.Timeout.Std(); limit > 0 {
		late := &endedError{fmt.Sprintf("timed out after %s", api.Duration(limit))}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, limit, late)
		defer cancel()
	}
	if o := t.prepare(ctx); o != nil {
		return *o
	}
	return t.execute(ctx)
}

// failed is the outcome of a phase before the main process that went wrong, or
// was interrupted.
func (t *task) failed(ctx context.Context, err error) outcome {
	if errors.Is(context.Cause(ctx), errStopped) {
		return outcome{state: agent.Killed, message: "stopped before the main process was started"}
	}
	return outcome{state: agent.Failed, message: err.Error()}
}

func (t *task) fetch(ctx context.Context) error {
	spec := &t.definition.Spec
	if len(spec.Artifacts) == 0 {
		return nil
	}
	f := artifact.Fetcher{Cache: t.config.openCache(), Idle: t.config.FetchIdle, Total: t.config.FetchTotal}
	for _, a := range spec.Artifacts {
		start := time.Now()
		if err := f.Fetch(ctx, a, artifact.Sandbox{Root: t.root, Owner: t.user}); err != nil {
			return err
		}
		log.Printf("fetched %s in %s", a.FileName(), time.Since(start).Round(time.Millisecond))
	}
	return nil
}

// prepare runs the setup commands, and returns nil when all went well.
func (t *task) prepare(ctx context.Context) *outcome {
	setup := t.definition.Spec.Setup
	if len(setup) == 0 {
		return nil
	}
	t.report(agent.Starting, api.Report{Phase: api.PhasePrepare}, "")
	for i, line := range setup {
		step := fmt.Sprintf("setup step %d of %d (%s)", i+1, len(setup), shorten(line))
		p, err := t.children.Start(t.command(line))
		if err != nil {
			return &outcome{state: agent.Failed, message: fmt.Sprintf("%s: %v", step, err)}
		}
		start := time.Now()
		if o := t.watch(ctx, p, start); !p.Exit().OK() || o.state != agent.Finished {
			o.message = step + ": " + o.message
			o.exit = nil // it is the main process's
			return &o
		}
	}
	return nil
}

// execute runs the main process with its health checks.
func (t *task) execute(ctx context.Context) outcome {
	if ctx.Err() != nil {
		return t.failed(ctx, context.Cause(ctx))
	}
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	checker, err := t.checker()
	if err != nil {
		return t.failed(ctx, err)
	}
	p, err := t.children.Start(t.command(t.definition.Spec.Command))
	if err != nil {
		return t.failed(ctx, err)
	}
	t.began = time.Now()
	log.Printf("started process %d as %s", p.Pid, t.user.Name)
	t.report(agent.Running, api.Report{Phase: api.PhaseRun}, "")
	releaseMemory()
	var checks sync.WaitGroup
	if checker != nil {
		checks.Go(func() {
			if why := checker.Run(ctx, t.tellHealth); why != "" {
				fail(&endedError{why})
			}
		})
	}
	o := t.watch(ctx, p, t.began)
	fail(nil)
	checks.Wait()
	return o
}

func (t *task) checker() (*health.Checker, error) {
	spec := &t.definition.Spec
	if spec.Health == nil {
		return nil, nil
	}
	o := health.Options{Health: *spec.Health, Ports: t.definition.Ports, Children: t.children, Command: t.command("")}
	o.Command.Stdout, o.Command.Stderr = nil, nil
	if spec.Ready != nil {
		o.Successes = spec.Ready.Successes
	}
	return health.NewChecker(o)
}

func (t *task) tellHealth(v health.Verdict) {
	r := api.Report{Phase: api.PhaseRun, Successes: v.Successes, Failures: v.Failures}
	log.Printf("healthy: %v %s", v.Healthy, v.Failed)
	t.reportHealth(agent.Running, r, v.Failed, &v.Healthy)
}

// watch waits for a process to end, or ends it.
func (t *task) watch(ctx context.Context, p *process.Process, start time.Time) outcome {
	select {
	case <-p.Done():
		return exited(p, start)
	case <-ctx.Done():
	}
	how := t.end(p)
	exit := p.Exit()
	var ended *endedError
	if errors.As(context.Cause(ctx), &ended) {
		return outcome{agent.Failed, ended.message, &exit}
	}
	return outcome{agent.Killed, how, &exit}
}

func exited(p *process.Process, start time.Time) outcome {
	exit := p.Exit()
	message := fmt.Sprintf("%s after %s", exit, api.Duration(roundly(time.Since(start))))
	if exit.OK() {
		return outcome{agent.Finished, message, &exit}
	}
	return outcome{agent.Failed, message, &exit}
}

// roundly shortens a duration to what people read.
func roundly(d time.Duration) time.Duration {
	switch {
	case d > time.Minute:
		return d.Round(time.Second)
	case d > time.Second:
		return d.Round(100 * time.Millisecond)
	}
	return d.Round(time.Millisecond)
}

func shorten(line string) string {
	const most = 80
	if r := []rune(line); len(r) > most {
		return string(r[:most]) + "…"
	}
	return line
}

func (t *task) report(state agent.State, r api.Report, message string) {
	t.reportHealth(state, r, message, nil)
}

// reportHealth sends an update, unless it would come after one that it must not
// come after.
func (t *task) reportHealth(state agent.State, r api.Report, message string, healthy *bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over || t.stopping && r.Phase != api.PhaseEnd {
		return
	}
	t.over = r.Phase == api.PhaseEnd
	t.stopping = t.stopping || state == agent.Killing
	r.Sandbox = t.config.Agent.Sandbox
	data, err := json.Marshal(r)
	if err != nil {
		panic(err) // a struct of strings and numbers
	}
	log.Printf("%s %s", state, message)
	t.send(agent.Status{Task: t.id, State: state, Message: message, Healthy: healthy, Data: data})
}
