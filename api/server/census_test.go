package server

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/perigee-sched/perigee/scheduler/record"
)

// What is in the endpoints, and what is not.
func TestServes(t *testing.T) {
	t.Parallel()
	ready := &record.Task{Deploy: 2, State: record.TaskState_TASK_STATE_RUNNING, Ready: true}
	for name, c := range map[string]struct {
		job    *record.Job
		change func(*record.Task)
		serves bool
	}{
		"ready":                        {serves: true},
		"not ready":                    {change: func(t *record.Task) { t.Ready = false }},
		"unreachable":                  {change: func(t *record.Task) { t.State = record.TaskState_TASK_STATE_UNREACHABLE }},
		"ended":                        {change: func(t *record.Task) { t.State = record.TaskState_TASK_STATE_FAILED }},
		"to be stopped":                {change: func(t *record.Task) { t.StopAt = 1 }},
		"withdrawn":                    {change: func(t *record.Task) { t.Withdrawn = true }},
		"withheld until the switch":    {job: &record.Job{Withheld: 2}},
		"beside what is withheld":      {job: &record.Job{Withheld: 3}, serves: true},
		"after the switch":             {job: &record.Job{ServingOnly: 2}, serves: true},
		"the old set after the switch": {job: &record.Job{ServingOnly: 3}},
	} {
		task := proto.CloneOf(ready)
		if c.change != nil {
			c.change(task)
		}
		require.Equal(t, c.serves, serves(c.job, task), name)
	}
}
