package devcluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	process "github.com/perigee-sched/perigee/devcluster/container"
	"github.com/perigee-sched/perigee/devcluster/fetch"
	"github.com/perigee-sched/perigee/devcluster/model"
	"github.com/perigee-sched/perigee/devcluster/sandbox"
)

// container is one that an agent has launched or readopted.
type container struct {
	id       string
	process  *process.Process // nil until it is started
	started  chan struct{}    // closed when process is set, or never will be
	doomed   bool             // to be destroyed as soon as it is started
	cancel   context.CancelFunc
	launched bool // started is closed
}

// leave stops watching a container and leaves it alone.
func (x *container) leave() {
	x.cancel()
	if x.process != nil {
		x.process.Close()
	}
}

func (a *agentProcess) cacheDir() string { return filepath.Join(a.dir, "fetch") }

func (a *agentProcess) stateDir(container string) string {
	return filepath.Join(a.dir, "meta", "containers", container)
}

// sandboxDir is the sandbox of a container, where Mesos has it too.
func (a *agentProcess) sandboxDir(agentID, framework, executor, container string) string {
	return filepath.Join(a.dir, "slaves", agentID, "frameworks", framework, "executors", executor, "runs", container)
}

// lookup finds sandboxes: by their paths, and by the path that needs to know
// no agent and no container.
func (a *agentProcess) lookup(path string) (string, bool) {
	if rest, ok := strings.CutPrefix(path, a.dir+"/slaves/"); ok {
		part := strings.Split(rest, "/")
		ok = len(part) == 7 && part[1] == "frameworks" && part[3] == "executors" && part[5] == "runs"
		return path, ok && isDir(path)
	}
	part := strings.Split(path, "/")
	if len(part) != 7 || part[0] != "" || part[1] != "frameworks" || part[3] != "executors" || part[5] != "runs" || part[6] != "latest" {
		return "", false
	}
	a.c.mu.Lock()
	id := a.c.model.AgentID(a.name)
	a.c.mu.Unlock()
	real := a.sandboxDir(id, part[2], part[4], "latest")
	return real, id != "" && isDir(real)
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// launch starts a container, in the background.
func (a *agentProcess) launch(l model.LaunchContainer) {
	if a.simulator != nil {
		a.simulator.launch(l)
		return
	}
	ctx, cancel := context.WithCancel(a.life)
	x := &container{id: l.Container, started: make(chan struct{}), cancel: cancel}
	a.containers[x.id] = x
	a.c.work.Go(func() {
		p, err := a.startContainer(ctx, l)
		a.c.do(func(now time.Time) {
			x.launched = true
			close(x.started)
			if a.containers[x.id] != x {
				a.disown(x.id, p)
				return
			}
			if err != nil {
				delete(a.containers, x.id)
				a.c.opts.Logger.Info("container failed", "agent", a.name, "executor", l.Executor.ExecutorID.Value, "error", err)
				status := 256
				if x.doomed {
					status = 9
				}
				a.c.model.ContainerFailed(now, a.name, x.id, err.Error(), status)
				return
			}
			a.adopt(now, x, p)
			if x.doomed {
				a.kill9(x)
			}
		})
	})
}

// disown is for a container that was started while its agent died: the agent's
// next life may have found it, and otherwise has given it up.
func (a *agentProcess) disown(id string, p *process.Process) {
	if p == nil {
		return
	}
	adopted := a.containers[id] != nil
	a.c.work.Go(func() {
		if !adopted {
			a.destroyAll([]*process.Process{p})
		}
		p.Close()
	})
}

// startContainer makes the sandbox, fetches, and starts the executor.
func (a *agentProcess) startContainer(ctx context.Context, l model.LaunchContainer) (*process.Process, error) {
	id := l.Executor.ExecutorID.Value
	dir := a.sandboxDir(l.AgentID, l.Framework.ID.Value, id, l.Container)
	owner := a.userOf(l)
	if err := sandbox.Create(dir, owner); err != nil {
		return nil, err
	}
	if err := pointLatest(dir); err != nil {
		return nil, err
	}
	command := l.Executor.GetCommand()
	if err := fetch.All(ctx, fetch.Request{ContainerID: l.Container, Sandbox: dir, CacheDir: a.cacheDir(),
		URIs: command.GetURIs(), User: owner}); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	spec := process.Spec{Sandbox: dir, Env: a.environment(l, dir), User: owner, StateDir: a.stateDir(l.Container)}
	switch {
	case l.Task != nil:
		spec.Path, spec.Argv = a.c.opts.CommandExecutor[0], a.c.opts.CommandExecutor
	case command.GetShell():
		spec.Shell = command.GetValue()
	default:
		spec.Path, spec.Argv = command.GetValue(), command.GetArguments()
	}
	return process.Start(spec)
}

// pointLatest makes the link that leads to an executor's newest sandbox.
func pointLatest(dir string) error {
	link := filepath.Join(filepath.Dir(dir), "latest")
	if err := os.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("replace link to sandbox: %w", err)
	}
	return os.Symlink(filepath.Base(dir), link)
}

// userOf is whom an executor runs as, "" for this process's user.
func (a *agentProcess) userOf(l model.LaunchContainer) string {
	name := l.Framework.User
	if u := l.Executor.GetCommand().GetUser(); u != "" {
		name = u
	}
	if self, err := user.Current(); err != nil || self.Username == name || self.Uid != "0" {
		return ""
	}
	return name
}

// environment is what an executor finds around it, the command's own last.
func (a *agentProcess) environment(l model.LaunchContainer, dir string) []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "MESOS_") && !strings.HasPrefix(v, "LIBPROCESS_") {
			env = append(env, v)
		}
	}
	grace := a.c.opts.ExecutorShutdownGracePeriod
	if g := l.Executor.ShutdownGracePeriod; g != nil {
		grace = time.Duration(g.Nanoseconds)
	}
	env = append(env,
		"LIBPROCESS_IP="+a.spec.IP, "LIBPROCESS_PORT=0",
		"MESOS_AGENT_ENDPOINT="+a.addr(),
		"MESOS_DIRECTORY="+dir, "MESOS_SANDBOX="+dir,
		"MESOS_EXECUTOR_ID="+l.Executor.ExecutorID.Value,
		"MESOS_FRAMEWORK_ID="+l.Framework.ID.Value,
		"MESOS_SLAVE_ID="+l.AgentID,
		"MESOS_SLAVE_PID=slave(1)@"+a.addr(),
		"MESOS_HTTP_COMMAND_EXECUTOR=0",
		"MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD="+model.Duration(grace),
	)
	if a.c.opts.TLS != nil {
		env = append(env, "LIBPROCESS_SSL_ENABLED=1", "LIBPROCESS_SSL_CA_FILE="+a.c.opts.CA)
	}
	if l.Framework.GetCheckpoint() {
		env = append(env, "MESOS_CHECKPOINT=1",
			"MESOS_RECOVERY_TIMEOUT="+model.Duration(a.c.opts.RecoveryTimeout),
			"MESOS_SUBSCRIPTION_BACKOFF_MAX="+model.Duration(a.c.opts.ExecutorReregistrationTimeout))
	} else {
		env = append(env, "MESOS_CHECKPOINT=0")
	}
	return append(env, variables(l.Executor.GetCommand().GetEnvironment())...)
}

func variables(e *mesos.Environment) []string {
	var env []string
	for _, v := range e.GetVariables() {
		env = append(env, v.Name+"="+v.GetValue())
	}
	return env
}

// adopt takes a container's process under the agent's eyes.
func (a *agentProcess) adopt(now time.Time, x *container, p *process.Process) {
	x.process = p
	a.containers[x.id] = x
	a.c.model.ContainerStarted(now, a.name, x.id, p.Pid())
	life := a.life
	a.c.work.Go(func() {
		select {
		case <-p.Done():
		case <-life.Done():
			return
		}
		// What the executor left behind goes with it, as in Mesos.
		if err := p.Destroy(life); err != nil && life.Err() == nil {
			a.c.opts.Logger.Warn("destroy container", "agent", a.name, "error", err)
		}
		status, known := p.Status()
		if !known {
			return
		}
		a.c.do(func(now time.Time) {
			if a.containers[x.id] == x {
				delete(a.containers, x.id)
				a.c.model.ContainerExited(now, a.name, x.id, status)
			}
		})
		a.forgetState(x.id)
	})
}

// forgetState removes what was kept to readopt a container that is over.
func (a *agentProcess) forgetState(container string) {
	if err := os.RemoveAll(a.stateDir(container)); err != nil {
		a.c.opts.Logger.Warn("forget container", "agent", a.name, "error", err)
	}
}

// destroy kills a container, at once or as soon as it is started.
func (a *agentProcess) destroy(id string) {
	if a.simulator != nil {
		a.simulator.destroy(id)
		return
	}
	x := a.containers[id]
	switch {
	case x == nil: // gone already, or never there
		a.c.work.Go(func() {
			a.c.do(func(now time.Time) { a.c.model.ContainerExited(now, a.name, id, -1) })
		})
	case x.process == nil:
		x.doomed = true
		x.cancel()
	default:
		a.kill9(x)
	}
}

func (a *agentProcess) kill9(x *container) {
	life := a.life
	a.c.work.Go(func() {
		if err := x.process.Destroy(life); err != nil && life.Err() == nil {
			a.c.opts.Logger.Warn("destroy container", "agent", a.name, "error", err)
		}
	})
}

// readopt finds the containers that an earlier life of the agent left, and
// destroys those that it has forgotten.
func (a *agentProcess) readopt(now time.Time) {
	known := map[string]bool{}
	for _, id := range a.c.model.Containers(a.name) {
		known[id] = true
		p, err := process.Adopt(a.stateDir(id))
		if err != nil {
			a.c.model.ContainerExited(now, a.name, id, -1)
			continue
		}
		x := &container{id: id, started: make(chan struct{}), launched: true, cancel: func() {}}
		close(x.started)
		a.adopt(now, x, p)
	}
	life := a.life
	for _, id := range a.checkpointed() {
		if !known[id] {
			a.c.work.Go(func() {
				if err := a.sweep(life, id); err != nil && life.Err() == nil {
					a.c.opts.Logger.Warn("destroy container", "agent", a.name, "error", err)
				}
			})
		}
	}
}

// checkpointed are all containers that are not known to have ended, whoever
// launched them.
func (a *agentProcess) checkpointed() []string {
	dirs, err := os.ReadDir(filepath.Dir(a.stateDir("any")))
	if err != nil {
		return nil // there never was a container
	}
	var ids []string
	for _, d := range dirs {
		ids = append(ids, d.Name())
	}
	return ids
}

// sweep destroys a container that nobody knows any more.
func (a *agentProcess) sweep(ctx context.Context, container string) error {
	if p, err := process.Adopt(a.stateDir(container)); err == nil {
		defer p.Close()
		if err := p.Destroy(ctx); err != nil {
			return err
		}
	}
	a.forgetState(container)
	return nil
}

// destroyLeft destroys the containers that the agent leaves: those it watched,
// those of an agent that was stopped before, and those it was at destroying.
func (a *agentProcess) destroyLeft() error {
	ctx, cancel := context.WithTimeout(context.Background(), destroyMost)
	defer cancel()
	var errs []error
	for _, id := range a.checkpointed() {
		errs = append(errs, a.sweep(ctx, id))
	}
	return errors.Join(errs...)
}

// destroyMost bounds how long the end of containers is waited for.
const destroyMost = 10 * time.Second

// processes are those of all containers. What is still being launched is given
// up.
func (a *agentProcess) processes() []*process.Process {
	var list []*process.Process
	for _, x := range a.containers {
		x.cancel()
		if x.process != nil {
			list = append(list, x.process)
		}
	}
	return list
}

// destroyAll ends containers and waits for it.
func (a *agentProcess) destroyAll(list []*process.Process) {
	ctx, cancel := context.WithTimeout(context.Background(), destroyMost)
	defer cancel()
	for _, p := range list {
		if err := p.Destroy(ctx); err != nil {
			a.c.opts.Logger.Warn("destroy container", "agent", a.name, "error", err)
		}
	}
}
