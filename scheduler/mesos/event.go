package mesos

import (
	"encoding/json"
	"fmt"
	"strings"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/core"
)

var states = map[mesos.TaskState]core.MesosState{
	mesos.TASK_STAGING:          core.MesosStaging,
	mesos.TASK_STARTING:         core.MesosStarting,
	mesos.TASK_RUNNING:          core.MesosRunning,
	mesos.TASK_KILLING:          core.MesosKilling,
	mesos.TASK_FINISHED:         core.MesosFinished,
	mesos.TASK_FAILED:           core.MesosFailed,
	mesos.TASK_KILLED:           core.MesosKilled,
	mesos.TASK_ERROR:            core.MesosError,
	mesos.TASK_LOST:             core.MesosLost,
	mesos.TASK_DROPPED:          core.MesosDropped,
	mesos.TASK_UNREACHABLE:      core.MesosUnreachable,
	mesos.TASK_GONE:             core.MesosGone,
	mesos.TASK_GONE_BY_OPERATOR: core.MesosGoneByOperator,
	mesos.TASK_UNKNOWN:          core.MesosUnknown,
}

var sources = map[mesos.TaskStatus_Source]core.UpdateSource{
	mesos.SOURCE_MASTER:   core.SourceMaster,
	mesos.SOURCE_AGENT:    core.SourceAgent,
	mesos.SOURCE_EXECUTOR: core.SourceExecutor,
}

// update converts a status. A report that cannot be read is left out, and the
// error says so; the update is good without it.
func update(s *mesos.TaskStatus) (core.Update, error) {
	u := core.Update{
		Task:    s.TaskID.Value,
		Message: s.GetMessage(),
		UUID:    s.UUID,
		Healthy: s.Healthy,
		// A state of a newer Mesos is as good as unknown: it may go anywhere.
		State: core.MesosUnknown,
	}
	if s.State != nil {
		if state, known := states[*s.State]; known {
			u.State = state
		}
	}
	if s.Source != nil {
		u.Source = sources[*s.Source]
	}
	if s.Reason != nil {
		u.Reason = strings.TrimPrefix(s.Reason.String(), "REASON_")
	}
	if s.AgentID != nil {
		u.Agent = s.AgentID.Value
	}
	if s.Timestamp != nil {
		u.Timestamp = fixed(*s.Timestamp)
	}
	if len(s.Data) == 0 || u.Source != core.SourceExecutor {
		return u, nil
	}
	report := new(api.Report)
	if err := json.Unmarshal(s.Data, report); err != nil {
		return u, fmt.Errorf("report of task %s: %w", u.Task, err)
	}
	u.Report = report
	return u, nil
}
