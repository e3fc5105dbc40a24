package executor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"sync"
	"time"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/executor/agent"
	"github.com/perigee-sched/perigee/executor/process"
)

// Executor runs one task.
type Executor struct {
	config   Config
	session  *agent.Session
	children *process.Children

	task     *task
	finished chan struct{} // the task's last update is queued
	gone     error         // why there is no agent any more
}

// Run runs the one task that the agent launches. It returns nil once the
// agent has acknowledged the task's last update, or when there is nothing to
// run; otherwise it says why not. When ctx is done, the task is stopped as if
// the agent had asked.
func Run(ctx context.Context, c Config) error {
	x := &Executor{
		config:   c,
		session:  agent.NewSession(c.Agent),
		children: process.NewChildren(),
		finished: make(chan struct{}),
	}
	var parts sync.WaitGroup
	background, end := context.WithCancel(context.Background())
	broken, gone := make(chan error, 1), make(chan error, 1)
	parts.Go(func() { broken <- x.children.Run(background) })
	parts.Go(func() { gone <- x.session.Run(background) })
	err := x.loop(ctx, broken, gone)
	end()
	parts.Wait()
	return err
}

// settleFor is how long a connected agent may take to acknowledge the last
// update; it is answered from its disk.
const settleFor = time.Minute

// loop reacts until there is nothing left to do. It never blocks elsewhere,
// since the session delivers acknowledgements only between events that are
// taken.
func (x *Executor) loop(ctx context.Context, broken, gone <-chan error) error {
	interrupt, finished := ctx.Done(), x.finished
	settling, cancel := context.WithCancel(context.Background())
	defer cancel()
	settled := make(chan error, 1)
	for {
		select {
		case e := <-x.session.Events():
			if x.handle(e) {
				return nil
			}
		case <-interrupt:
			interrupt = nil
			if x.shutdown("the executor was told to end by a signal") {
				return nil
			}
		case err := <-broken:
			return err
		case x.gone = <-gone:
			if x.task == nil || finished == nil {
				return x.gone
			}
			log.Printf("stopping the task: %v", x.gone)
			x.task.stop(order{why: x.gone.Error()})
		case <-finished:
			finished = nil
			if x.gone != nil {
				return x.gone
			}
			settling, cancel = context.WithTimeout(settling, x.config.Agent.RecoveryTimeout+settleFor)
			defer cancel()
			go func() { settled <- x.session.Settled(settling) }()
		case err := <-settled:
			if err != nil {
				return errors.New("the agent did not acknowledge the task's last update")
			}
			log.Print("done: the agent has the task's last update")
			return nil
		}
	}
}

// handle reacts to an event, and says whether the executor is done.
func (x *Executor) handle(e agent.Event) (done bool) {
	switch e := e.(type) {
	case agent.Launch:
		x.launch(e)
	case agent.Kill:
		x.kill(e)
	case agent.Shutdown:
		return x.shutdown("the agent shut the executor down")
	}
	return false
}

func (x *Executor) launch(l agent.Launch) {
	if x.task != nil {
		if l.Task != x.task.id {
			other := newTask(l.Task, x)
			other.report(agent.Failed, api.Report{Phase: api.PhaseEnd}, "this executor runs another task: "+x.task.id)
		}
		return
	}
	log.Printf("task %s", l.Task)
	t := newTask(l.Task, x)
	x.task = t
	var d api.Definition
	if err := json.Unmarshal(l.Data, &d); err != nil {
		t.report(agent.Failed, api.Report{Phase: api.PhaseEnd},
			fmt.Sprintf("perigee-executor cannot read the task's definition; is it older than the scheduler? %v", err))
		close(x.finished)
		return
	}
	d.Spec = d.Spec.WithDefaults()
	t.definition, t.patience = &d, newPatience(d.Spec.Stop.Grace.Std())
	go func() {
		defer close(x.finished) // loop waits for it
		t.run()
	}()
}

func (x *Executor) kill(k agent.Kill) {
	if x.task == nil || x.task.id != k.Task {
		log.Printf("KILL of a task that is not here: %s", k.Task)
		return
	}
	log.Print("KILL")
	x.task.stop(order{grace: k.Grace, why: "the scheduler asked"})
}

// shutdown stops the task before the agent kills what is left, and says whether
// there is no task to stop.
func (x *Executor) shutdown(why string) (done bool) {
	log.Print(why)
	if x.task == nil {
		return true
	}
	grace := x.config.Agent.ShutdownGrace
	x.task.stop(order{within: grace - min(time.Second, grace/4), why: why})
	return false
}
