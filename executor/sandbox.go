package executor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/perigee-sched/perigee/executor/process"
)

// openSandbox finds the task's user and gives the sandbox to it, with the
// directories that tasks are promised.
func (t *task) openSandbox(ctx context.Context) error {
	user, err := t.chooseUser(ctx)
	if err != nil {
		return err
	}
	t.user = user
	if t.root, err = os.OpenRoot(t.config.Agent.Sandbox); err != nil {
		return fmt.Errorf("open the sandbox: %w", err)
	}
	for _, dir := range []string{"tmp", "logs"} {
		if err := t.root.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("make %s in the sandbox: %w", dir, err)
		}
	}
	if user.IsOwn() {
		return nil
	}
	for _, dir := range []string{".", "tmp", "logs"} {
		if err := t.root.Lchown(dir, int(user.UID), int(user.GID)); err != nil {
			return fmt.Errorf("give the sandbox to user %s: %w", user.Name, err)
		}
	}
	return nil
}

// chooseUser is the job's user, by default the executor's own, if it may be it.
func (t *task) chooseUser(ctx context.Context) (process.User, error) {
	own := process.Own()
	user, name := own, t.definition.Spec.User
	if name != "" && name != own.Name {
		var err error
		if user, err = t.children.LookUp(ctx, name); err != nil {
			return user, err
		}
	}
	switch {
	case user.UID == 0 && !t.config.AllowRoot:
		return user, errors.New("user root is not allowed: name another user in the job, or ask the operator to allow root (PERIGEE_ALLOW_ROOT=1 for executors)")
	case !user.IsOwn() && own.UID != 0:
		return user, fmt.Errorf("cannot run as user %s: perigee-executor runs as %s here, and only root may change users", name, own.Name)
	}
	return user, nil
}

func (t *task) openLogs() (*process.Logs, error) {
	dir, err := t.root.OpenRoot("logs")
	if err != nil {
		return nil, fmt.Errorf("open the logs: %w", err)
	}
	keep := t.definition.Spec.Logs
	return process.OpenLogs(process.LogOptions{Dir: dir, Owner: t.user, Size: int64(keep.Size), Keep: keep.Keep})
}

// command runs a line of the job.
func (t *task) command(line string) process.Command {
	sandbox := t.config.Agent.Sandbox
	return process.Command{
		Args:   process.Shell(line),
		Dir:    sandbox,
		Env:    environment(t.definition, sandbox, t.user, t.config.Inherited),
		User:   t.user,
		Stdout: t.logs.Stdout(),
		Stderr: t.logs.Stderr(),
	}
}
