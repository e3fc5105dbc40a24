package container

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// process is one line of the process table, from /proc/PID/stat.
type process struct {
	pid, parent, group, session int
	start                       uint64 // ticks since boot: with pid it names a process for good
	ended                       bool   // a zombie: nothing of it runs
}

// readProcess fails with fs.ErrNotExist when there is no such process.
func readProcess(pid int) (process, error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if errors.Is(err, syscall.ESRCH) { // it ended between open and read
		err = fs.ErrNotExist
	}
	if err != nil {
		return process{}, fmt.Errorf("look up process %d: %w", pid, err)
	}
	p, err := parseStat(string(text))
	if err != nil {
		return process{}, fmt.Errorf("look up process %d: %w", pid, err)
	}
	return p, nil
}

// parseStat reads proc_pid_stat(5). The second field, the program's name in
// parentheses, may have anything in it, parentheses and spaces too.
func parseStat(text string) (process, error) {
	before, _, ok := strings.Cut(text, " (")
	end := strings.LastIndex(text, ") ")
	if !ok || end < 0 {
		return process{}, fmt.Errorf("unexpected form of stat: %q", text)
	}
	fields := strings.Fields(text[end+2:]) // from the third on
	if len(fields) < 20 {
		return process{}, fmt.Errorf("unexpected form of stat: %q", text)
	}
	p := process{ended: strings.Contains("ZXx", fields[0])}
	var err error
	number := func(s string) int {
		n, e := strconv.Atoi(s)
		err = errors.Join(err, e)
		return n
	}
	p.pid, p.parent, p.group, p.session = number(before), number(fields[1]), number(fields[2]), number(fields[3])
	start, e := strconv.ParseUint(fields[19], 10, 64)
	p.start = start
	return p, errors.Join(err, e)
}

// processes is the whole process table but for what ended meanwhile.
func processes() ([]process, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var all []process
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		p, err := readProcess(pid)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

// bootID tells pids of this boot from those of another.
func bootID() (string, error) {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(text)), err
}
