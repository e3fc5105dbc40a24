package process

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"
)

// member is a live process below the executor.
type member struct{ pid, parent, group int }

// descendants lists every live process below this one. With Children running,
// a daemon that forked twice is found as well: it became our child.
func descendants() ([]member, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	children := map[int][]member{}
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			if m, ok := readMember(pid); ok {
				children[m.parent] = append(children[m.parent], m)
			}
		}
	}
	var below []member
	for queue := children[os.Getpid()]; len(queue) > 0; queue = queue[1:] {
		below = append(below, queue[0])
		queue = append(queue, children[queue[0].pid]...)
	}
	return below, nil
}

// readMember reads /proc/PID/stat: "pid (name) state ppid pgrp …", where the
// name may hold anything. Zombies do not count: their children are inherited,
// and they themselves are reaped by whoever is their parent.
func readMember(pid int) (member, bool) {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return member{}, false
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 3 || fields[0][0] == 'Z' || fields[0][0] == 'X' {
		return member{}, false
	}
	parent, err1 := strconv.Atoi(string(fields[1]))
	group, err2 := strconv.Atoi(string(fields[2]))
	return member{pid, parent, group}, err1 == nil && err2 == nil
}

// GroupLives says whether any process of p's group still lives, p included.
func (p *Process) GroupLives() bool {
	below, err := descendants()
	if err != nil {
		return false // then nothing can be waited for
	}
	for _, m := range below {
		if m.group == p.Pid {
			return true
		}
	}
	return false
}

// killPoll is how often KillAll looks again while killed processes disappear.
const killPoll = 2 * time.Millisecond

func deadlineSoon() time.Time { return time.Now().Add(100 * time.Millisecond) }

// KillAll kills every process below the executor, again and again until none is
// left, since some may fork meanwhile. It returns how many it killed, and an
// error that names what is left when ctx is done first.
func KillAll(ctx context.Context) (int, error) {
	killed := map[int]bool{}
	for {
		below, err := descendants()
		if err != nil || len(below) == 0 {
			return len(killed), err
		}
		for _, m := range below {
			if syscall.Kill(m.pid, syscall.SIGKILL) == nil {
				killed[m.pid] = true
			}
		}
		select {
		case <-ctx.Done():
			return len(killed), fmt.Errorf("%d processes cannot be killed, the first is %d", len(below), below[0].pid)
		case <-time.After(killPoll):
		}
	}
}
