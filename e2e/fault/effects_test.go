package fault

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// effects is the file that tasks append to, one line each when they start.
type effects string

// effect is what one task did.
type effect struct {
	job, task, what string // the instance or the run
	attempt         int
	executor, pid   int
}

// tell is the command by which a task appends its line.
func (f effects) tell() string {
	return `echo "$PERIGEE_JOB $PERIGEE_TASK ${PERIGEE_RUN:-$PERIGEE_INSTANCE} $PERIGEE_ATTEMPT $PPID $$" >>` + string(f)
}

func (f effects) read() ([]effect, error) {
	text, err := os.ReadFile(string(f))
	if err != nil {
		return nil, err
	}
	var all []effect
	for line := range strings.Lines(string(text)) {
		parts := strings.Fields(line)
		if len(parts) != 6 || !strings.HasSuffix(line, "\n") {
			return nil, fmt.Errorf("a task wrote %q", line)
		}
		e := effect{job: parts[0], task: parts[1], what: parts[2]}
		for i, n := range []*int{&e.attempt, &e.executor, &e.pid} {
			if *n, err = strconv.Atoi(parts[3+i]); err != nil {
				return nil, fmt.Errorf("a task wrote %q: %w", line, err)
			}
		}
		all = append(all, e)
	}
	return all, nil
}
