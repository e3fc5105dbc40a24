// Package command is the default executor: it runs one task that has a command
// and no executor of its own, as Mesos's command executor does by default. It
// is a program of its own, started by the agent for each such task; Main is
// its main function.
//
// It leaves out health checks, max_completion_time and everything about
// container images.
package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/executor"
)

// Argument is the hidden command by which a program is this executor.
const Argument = "devcluster-command-executor"

const (
	// killGrace is between SIGTERM and SIGKILL, unless the task has a kill
	// policy. The policies of KILL calls are ignored, as in Mesos.
	killGrace = 3 * time.Second
	// reapDelay is how late the end of a command is noticed: Mesos polls. A
	// scheduler can tell, because the update before has time to be acknowledged.
	reapDelay = 100 * time.Millisecond
	// linger is how long Mesos's executor stays after its last update.
	linger = time.Second
)

// Executor is the life of one task.
type Executor struct {
	session *session
	sandbox string

	task     *mesos.TaskInfo
	killing  bool // has TASK_KILLING_STATE
	process  *os.Process
	ended    chan *os.ProcessState
	killed   bool
	grace    <-chan time.Time
	leave    <-chan time.Time
	shutdown bool
}

// Main runs the executor in the sandbox and environment that the agent gave it
// and returns the exit status.
func Main() int {
	x := &Executor{session: newSession(), sandbox: os.Getenv("MESOS_SANDBOX"), ended: make(chan *os.ProcessState, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if err := x.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "command executor:", err)
		return 1
	}
	return 0
}

var errAgentGone = errors.New("the agent stayed away longer than its recovery timeout")

func (x *Executor) run(ctx context.Context) error {
	events := x.session.events(ctx)
	for {
		select {
		case e, ok := <-events:
			if !ok {
				x.signalAll(killSignal)
				return errAgentGone
			}
			if err := x.handle(e); err != nil {
				return err
			}
		case state := <-x.ended:
			x.finish(state)
		case <-x.grace:
			x.signalAll(killSignal)
		case <-x.leave:
			return nil
		}
		if x.shutdown && x.process == nil && x.leave == nil {
			return nil
		}
	}
}

func (x *Executor) handle(e *executor.Event) error {
	switch e.Type {
	case executor.Event_SUBSCRIBED:
		x.killing = false
		for _, c := range e.Subscribed.FrameworkInfo.Capabilities {
			x.killing = x.killing || c.Type == mesos.FrameworkInfo_Capability_TASK_KILLING_STATE
		}
	case executor.Event_LAUNCH:
		if x.task == nil {
			x.launch(&e.Launch.Task)
		}
	case executor.Event_ACKNOWLEDGED:
		x.session.acknowledged(e.Acknowledged.TaskID.Value, e.Acknowledged.UUID)
	case executor.Event_KILL:
		x.kill()
	case executor.Event_SHUTDOWN:
		x.shutdown = true
		x.kill()
	case executor.Event_ERROR:
		return errors.New(e.Error.Message)
	}
	return nil
}

func (x *Executor) launch(t *mesos.TaskInfo) {
	x.task = t
	x.session.launched(t)
	x.update(mesos.TASK_STARTING, "")
	started := time.Now()
	p, err := start(t, x.sandbox)
	if err != nil {
		x.end(mesos.TASK_FAILED, "Failed to launch task: "+err.Error())
		return
	}
	x.process = p
	go func() { // ends when the process does, and this program not before
		state, err := p.Wait()
		if err != nil {
			fmt.Fprintln(os.Stderr, "command executor: wait:", err)
		}
		time.Sleep(time.Until(started.Add(reapDelay)))
		x.ended <- state
	}()
	x.update(mesos.TASK_RUNNING, "")
}

// kill starts to end the command. Another kill changes nothing.
func (x *Executor) kill() {
	if x.process == nil || x.killed {
		return
	}
	x.killed = true
	if x.killing {
		x.update(mesos.TASK_KILLING, "")
	}
	grace := killGrace
	if g := x.task.KillPolicy.GetGracePeriod(); g != nil {
		grace = time.Duration(g.Nanoseconds)
	}
	x.signalAll(termSignal)
	x.grace = time.After(grace)
}

func (x *Executor) finish(s *os.ProcessState) {
	x.signalAll(killSignal) // what the command left behind in its group
	x.process, x.grace = nil, nil
	state, message := outcome(s)
	if x.killed {
		state = mesos.TASK_KILLED
	}
	x.end(state, message)
}

// end sends the last update and lets some time go by before the executor ends.
func (x *Executor) end(state mesos.TaskState, message string) {
	x.update(state, message)
	x.leave = time.After(linger)
}

func (x *Executor) update(state mesos.TaskState, message string) {
	now := float64(time.Now().UnixMicro()) / 1e6
	s := mesos.TaskStatus{TaskID: x.task.TaskID, State: state.Enum(), Source: mesos.SOURCE_EXECUTOR.Enum(),
		ExecutorID: &mesos.ExecutorID{Value: x.session.executor}, Timestamp: &now, UUID: newUUID()}
	if message != "" {
		s.Message = &message
	}
	x.session.update(s)
}
