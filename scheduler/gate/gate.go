// Package gate asks the HTTP services that decide whether a deploy goes on.
//
// It owns how a question is put, how long an answer may take, what counts as
// one, and that no gate, however slow, holds up another job's or the engine.
// When to ask and what becomes of an answer is core's.
package gate

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/core"
)

const (
	// timeout of a question, its answer's last byte included.
	timeout = 10 * time.Second
	// most questions at a time.
	most = 32
)

// Options of a Runner. Deliver is required.
type Options struct {
	// Deliver takes answers; one that it refuses is dropped, since another
	// scheduler leads then, and asks itself.
	Deliver func(ctx context.Context, events ...core.Event) error
	// Leads says whether this scheduler still leads: questions that are waiting
	// when it no longer does are not asked. Always when nil.
	Leads func() bool
	// OnAnswer, when not nil, is told each question's outcome and duration.
	OnAnswer func(decision api.GateDecision, took time.Duration)
	// Transport to the gates; http.DefaultTransport's copy when nil.
	Transport http.RoundTripper
	// Log is slog's default when nil.
	Log *slog.Logger
}

// Runner asks gates. Its methods may be called by many.
type Runner struct {
	Options
	client *http.Client
	wake   chan struct{} // has a token while there may be something to do

	mu    sync.Mutex
	jobs  map[string]*asking // at most one question of each job
	queue []string           // jobs whose question waits
	busy  int
}

// asking is a job's question that waits or is being asked.
type asking struct {
	ask    core.AskGate
	cancel context.CancelFunc // nil while it waits
	next   *core.AskGate      // takes the place of ask, which is cancelled
}

// New returns a Runner that is to Run.
func New(o Options) *Runner {
	if o.Leads == nil {
		o.Leads = func() bool { return true }
	}
	if o.OnAnswer == nil {
		o.OnAnswer = func(api.GateDecision, time.Duration) {}
	}
	if o.Transport == nil {
		o.Transport = http.DefaultTransport.(*http.Transport).Clone()
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	return &Runner{
		Options: o, wake: make(chan struct{}, 1), jobs: map[string]*asking{},
		client: &http.Client{Transport: o.Transport, Timeout: timeout, CheckRedirect: checkRedirect},
	}
}

// Ask has questions asked. It never blocks. A question of a job takes the place
// of the one before, unless it is the same.
func (r *Runner) Ask(asks []core.AskGate) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, ask := range asks {
		job := ask.Question.Job
		switch a := r.jobs[job]; {
		case a == nil:
			r.jobs[job] = &asking{ask: ask}
			r.queue = append(r.queue, job)
		case a.cancel == nil:
			a.ask = ask
		case a.next == nil && a.ask == ask:
		default:
			a.next = &ask
			a.cancel()
		}
	}
	r.token()
}

func (r *Runner) token() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Run asks until ctx ends, and returns nil once no question is under way.
func (r *Runner) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	for {
		select {
		case <-r.wake:
		case <-ctx.Done():
			return nil
		}
		for a, life := r.take(ctx); a != nil; a, life = r.take(ctx) {
			running.Go(func() {
				r.ask(life, a.ask)
				r.done(a)
			})
		}
	}
}

// take returns the next question that may be asked now, nil when there is none.
func (r *Runner) take(ctx context.Context) (*asking, context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.busy >= most || len(r.queue) == 0 || ctx.Err() != nil {
		return nil, nil
	}
	a := r.jobs[r.queue[0]]
	r.queue = r.queue[1:]
	r.busy++
	ctx, a.cancel = context.WithCancel(ctx)
	return a, ctx
}

// done makes room for the question behind one that was asked.
func (r *Runner) done(a *asking) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a.cancel()
	r.busy--
	job := a.ask.Question.Job
	delete(r.jobs, job)
	if a.next != nil {
		r.jobs[job] = &asking{ask: *a.next}
		r.queue = append(r.queue, job)
	}
	r.token()
}

// ask asks one question and delivers what came of it.
func (r *Runner) ask(ctx context.Context, ask core.AskGate) {
	if !r.Leads() {
		return
	}
	start, q := time.Now(), ask.Question
	answer := r.put(ctx, ask)
	if ctx.Err() != nil {
		return // another question took its place, or nobody waits any more
	}
	r.OnAnswer(answer.Decision, time.Since(start))
	r.Log.Debug("a gate answered", "job", q.Job, "deploy", q.Deploy, "step", q.Step, "decision", answer.Decision, "reason", answer.Reason)
	if err := r.Deliver(ctx, core.GateAnswered{
		Job: q.Job, Deploy: q.Deploy, Step: ask.Step, Decision: answer.Decision, Reason: answer.Reason,
	}); err != nil {
		r.Log.Debug("nobody waits for a gate's answer", "job", q.Job, "deploy", q.Deploy, "error", err)
	}
}
