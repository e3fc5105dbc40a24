package server

import (
	"sort"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/cloudevent"
	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/engine"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// names of an enumeration's values as users see them: running, in_progress.
func names(values map[int32]string, prefix string) []string {
	list := make([]string, len(values))
	for n, name := range values {
		list[n] = strings.ToLower(strings.TrimPrefix(name, prefix))
	}
	return list
}

var (
	taskStates   = names(record.TaskState_name, "TASK_STATE_")
	runStates    = names(record.RunState_name, "RUN_STATE_")
	deployStates = names(record.DeployState_name, "DEPLOY_STATE_")
	deployKinds  = append([]string{string(api.DeployOfSpec)}, names(record.DeployKind_name, "DEPLOY_KIND_")[1:]...)
	phases       = names(record.RolloutPhase_name, "ROLLOUT_PHASE_")
)

// name is a state's, also of one that only a newer version knows.
func name(list []string, n int32) string {
	if n < 0 || int(n) >= len(list) {
		return "unknown"
	}
	return list[n]
}

func millis(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// moment is nil for "not yet".
func moment(ms int64) *time.Time {
	if ms == 0 {
		return nil
	}
	t := millis(ms)
	return &t
}

func second(s int64) *time.Time { return moment(s * 1000) }

// job tells a job, its spec only if asked to.
func (s *Server) job(v *engine.View, r *record.Job, withSpec bool) api.Job {
	tasks := take(v, r)
	current, latest := v.Deploy(r.Key, r.Deploy), v.Deploy(r.Key, r.LastDeploy)
	j := api.Job{
		Job: r.Key, Revision: r.Revision, CreatedAt: millis(r.CreatedAt), UpdatedAt: millis(r.UpdatedAt),
		Deploy: r.Deploy, Paused: r.Paused, PauseReason: r.PauseReason, Tasks: tasks.Counts,
		LastRun: second(r.LastRunAt), Pending: v.Observed.Pending[r.Key], Timed: timed(r), SkipHealth: r.SkipHealth,
	}
	if p := s.specs.of(current); p != nil {
		j.Kind = p.spec.Kind
		if withSpec {
			spec := p.spec
			j.Spec = &spec
		}
		if j.Kind == api.KindService {
			j.Instances = int(r.Instances)
		}
		if p.schedule != nil && !r.Paused && !r.Removing {
			if next := p.schedule.Next(time.Unix(r.DecidedThrough, 0)); !next.IsZero() {
				j.NextRun = &next
			}
		}
	}
	if latest != nil {
		d := s.deploy(v, latest, r, tasks)
		j.LatestDeploy = &d
	}
	j.State = jobState(r, j.Kind, latest, tasks)
	return j
}

// jobState is a job's state in one word.
func jobState(r *record.Job, kind api.Kind, latest *record.Deploy, tasks census) string {
	deploying := latest != nil && (latest.State == record.DeployState_DEPLOY_STATE_IN_PROGRESS ||
		latest.State == record.DeployState_DEPLOY_STATE_ROLLING_BACK)
	switch {
	case r.Removing:
		return "removing"
	case r.Paused:
		return "paused"
	case deploying:
		return "deploying"
	case tasks.live == 0 && (kind != api.KindService || r.Instances == 0):
		return "idle"
	case kind == api.KindService && tasks.Running < int(r.Instances):
		return "waiting"
	case kind != api.KindService && tasks.Running == 0 && tasks.Pending > 0:
		return "waiting"
	}
	return "running"
}

func run(r *record.Run) api.Run {
	return api.Run{
		Job: r.Job, ID: r.Id, Deploy: r.Deploy, State: name(runStates, int32(r.State)), Reason: r.Reason,
		Parameters: r.Parameters, Group: r.Group, Priority: int(r.Priority), Instant: second(r.Instant),
		CreatedAt: millis(r.CreatedAt), StartedAt: moment(r.StartedAt), EndedAt: moment(r.EndedAt),
		Attempts: int(r.Attempts), Failures: int(r.Failures), Retries: int(r.Retries), Task: r.Task,
		RequestedBy: r.RequestedBy, Missed: int(r.Missed),
	}
}

// task tells a task without its timeline.
func (s *Server) task(v *engine.View, r *record.Task) api.Task {
	t := api.Task{
		ID: r.Id, Job: r.Job, Deploy: r.Deploy, Run: r.Run, Attempt: int(r.Attempt),
		State: name(taskStates, int32(r.State)), Ready: serves(v.Job(r.Job), r), Message: r.Message, Reason: r.Reason,
		Agent: r.Agent, Host: r.Host, CreatedAt: millis(r.CreatedAt),
		LaunchedAt: moment(r.LaunchedAt), RunningAt: moment(r.RunningAt), ReadyAt: moment(r.ReadyAt), EndedAt: moment(r.EndedAt), Sandbox: r.SandboxDir(),
	}
	if r.Run == "" {
		n := int(r.Instance)
		t.Instance = &n
	}
	if r.HasHealth {
		healthy := r.Healthy
		t.Healthy = &healthy
	}
	if r.StopAt > 0 {
		t.Stopping = r.StopReason
	}
	// The record does not say whether the main process exited: one that ended
	// otherwise has the code 0.
	if r.ExitCode != 0 || r.State == record.TaskState_TASK_STATE_FINISHED {
		code := int(r.ExitCode)
		t.ExitCode = &code
	}
	if r.State == record.TaskState_TASK_STATE_PENDING {
		t.NotBefore = moment(r.NotBefore)
		t.Pending = pendingOf(v, r)
	}
	if len(r.Ports) > 0 {
		t.Ports = portNames(s.specs.of(v.Deploy(r.Job, r.Deploy)), r.Ports)
	}
	return t
}

func portNames(p *parsedSpec, ports []uint32) map[string]uint32 {
	named := map[string]uint32{}
	for i, port := range ports {
		if p != nil && i < len(p.spec.Ports) {
			named[p.spec.Ports[i]] = port
		}
	}
	return named
}

// pendingOf says why a task waits, nil when that is not known yet.
func pendingOf(v *engine.View, r *record.Task) *api.PendingReason {
	reasons := v.Observed.Pending[r.Job]
	for i := range reasons {
		if reasons[i].Deploy == r.Deploy {
			return &reasons[i]
		}
	}
	return nil
}

// timeline decodes a task's history; what cannot be read is left out.
func timeline(r *record.Task) []api.Moment {
	var history record.Timeline
	if proto.Unmarshal(r.Timeline, &history) != nil {
		return nil
	}
	moments := make([]api.Moment, len(history.Moments))
	for i, m := range history.Moments {
		moments[i] = api.Moment{At: millis(m.At), State: name(taskStates, int32(m.State)), Message: m.Message, Reason: m.Reason}
	}
	sort.SliceStable(moments, func(a, b int) bool { return moments[a].At.Before(moments[b].At) })
	return moments
}

func agent(v *engine.View, a *core.AgentStatus) api.Agent {
	out := api.Agent{ID: a.ID, Host: a.Host, URL: a.URL, Tasks: a.Tasks, Total: resources(a.Total), Offered: resources(a.Offered)}
	if len(a.Attributes) > 0 {
		out.Attributes = make(map[string]string, len(a.Attributes))
		for _, attribute := range a.Attributes {
			out.Attributes[attribute.Name] = attribute.Value
		}
	}
	if rec := v.Agent(a.ID); rec != nil {
		out.JoinedAt = moment(rec.JoinedAt)
	}
	return out
}

func resources(a core.Amounts) api.Resources {
	return api.Resources{CPUs: float64(a.CPUs) / 1000, Memory: mebis(a.Memory), Disk: mebis(a.Disk)}
}

// mebis converts thousandths of a MiB, rounded to a whole KiB.
func mebis(thousandths int64) api.Bytes {
	return (api.Bytes(thousandths)*api.MiB/1000 + api.KiB/2) / api.KiB * api.KiB
}

// event tells an event. Its source names the cluster.
func (s *Server) event(p engine.Published) api.Event {
	return cloudevent.Of(s.Cluster, p.ID.String(), p.Event)
}
