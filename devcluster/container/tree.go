package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// Destroy kills the whole container with SIGKILL and returns when none of it is
// left: every descendant, and every member of a session or process group that
// one of them belongs to. Like Mesos's posix launcher it does not find a process
// that left the session and whose parent has ended. It is harmless to repeat,
// and after Done. When ctx ends first, the error names who is left.
func (p *Process) Destroy(ctx context.Context) error {
	p.destroying.Lock()
	defer p.destroying.Unlock()
	t, err := newTree(p.checkpoint)
	if err != nil {
		return fmt.Errorf("destroy container of process %d: %w", p.Pid(), err)
	}
	for t != nil {
		killed, err := 0, ctx.Err()
		if err == nil {
			killed, err = t.kill(ctx)
		}
		if err != nil {
			return fmt.Errorf("destroy container of process %d: %w", p.Pid(), err)
		}
		if killed == 0 {
			break
		}
	}
	select {
	case <-p.stopped: // by the end, or by Close: then nobody waits for the status
		return nil
	case <-ctx.Done():
		return fmt.Errorf("destroy container of process %d: %w", p.Pid(), ctx.Err())
	}
}

// tree finds what belongs to a container. What it has learnt of sessions and
// groups stays, since it cannot be learnt again once their makers are dead.
type tree struct {
	leader           checkpoint
	sessions, groups map[int]bool
}

// newTree is nil when the container is known to be gone with all its session:
// its pid has another process, and no pid is given again while a session or
// group has its name.
func newTree(leader checkpoint) (*tree, error) {
	boot, err := bootID()
	if err != nil {
		return nil, err
	}
	if boot != leader.Boot {
		return nil, nil
	}
	if now, err := readProcess(leader.Pid); err == nil && now.start != leader.Start {
		return nil, nil
	}
	return &tree{
		leader:   leader,
		sessions: map[int]bool{leader.Pid: true},
		groups:   map[int]bool{leader.Pid: true},
	}, nil
}

// members picks the container's processes out of the process table all. self is
// this process: it, its session and its group are never a container's.
func (t *tree) members(all []process, self process) []process {
	var found []process
	in := map[int]bool{}
	for again := true; again; {
		again = false
		for _, p := range all {
			if in[p.pid] || p.ended || p.pid <= 1 || p.pid == self.pid || p.start < t.leader.Start {
				continue
			}
			if !t.sessions[p.session] && !t.groups[p.group] && !in[p.parent] {
				continue
			}
			in[p.pid], again = true, true
			found = append(found, p)
			if p.session > 1 && p.session != self.session {
				t.sessions[p.session] = true
			}
			if p.group > 1 && p.group != self.group {
				t.groups[p.group] = true
			}
		}
	}
	return found
}

// victim is a member that is being killed.
type victim struct {
	process
	fd pidfd
}

// kill stops every member before it kills the first, so that none of them can
// start another unseen, waits for their ends, and returns how many there were.
// A fork that was under way when its process was stopped is left for the next call.
func (t *tree) kill(ctx context.Context) (killed int, err error) {
	var victims []victim
	for {
		fresh, e := t.freeze(victims)
		victims = append(victims, fresh...)
		if err = e; err != nil || len(fresh) == 0 {
			break
		}
	}
	// Whatever went wrong, nobody stays stopped.
	for _, v := range victims {
		if e := v.fd.signal(unix.SIGKILL); e != nil {
			err = errors.Join(err, fmt.Errorf("kill process %d: %w", v.pid, e))
		}
	}
	for _, v := range victims {
		if err == nil {
			if e := v.fd.wait(ctx); e != nil {
				err = fmt.Errorf("process %d does not end: %w", v.pid, e)
			}
		}
		err = errors.Join(err, v.fd.close())
	}
	return len(victims), err
}

// freeze stops the members that are not yet among known.
func (t *tree) freeze(known []victim) (fresh []victim, err error) {
	all, err := processes()
	if err != nil {
		return nil, err
	}
	self, err := readProcess(os.Getpid())
	if err != nil {
		return nil, err
	}
	for _, p := range t.members(all, self) {
		if slices.ContainsFunc(known, func(v victim) bool { return v.pid == p.pid && v.start == p.start }) {
			continue
		}
		fd, err := openPid(p.pid)
		if errors.Is(err, unix.ESRCH) {
			continue
		} else if err != nil {
			return fresh, err
		}
		if now, err := readProcess(p.pid); err != nil || now.start != p.start {
			fd.close() // another has the pid by now, or nobody
			continue
		}
		fresh = append(fresh, victim{p, fd})
		if err := fd.signal(unix.SIGSTOP); err != nil {
			return fresh, fmt.Errorf("stop process %d: %w", p.pid, err)
		}
	}
	return fresh, nil
}
