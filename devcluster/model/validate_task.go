package model

import (
	"errors"
	"fmt"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
)

// validateTask returns why a task may not be launched on what remains of the
// offers, in the order in which Mesos looks. The task's resources have roles
// already, and its executor its framework's id.
func validateTask(t *mesos.TaskInfo, f *framework, s *slave, remaining bag) error {
	if err := validID(t.TaskID.Value); err != nil {
		return err
	}
	switch {
	case f.tasks.has(t.TaskID.Value):
		return errors.New("Task has duplicate ID: " + t.TaskID.Value)
	case f.unreachable.has(t.TaskID.Value):
		return errors.New("Task reuses the ID of an unreachable task: " + t.TaskID.Value)
	case t.AgentID.Value != s.id:
		return fmt.Errorf("Task uses invalid agent %s while agent %s is expected", t.AgentID.Value, s.id)
	case t.KillPolicy.GetGracePeriod().GetNanoseconds() < 0:
		return errors.New("Task's 'kill_policy.grace_period' must be non-negative")
	case t.MaxCompletionTime.GetNanoseconds() < 0:
		return errors.New("Task's `max_completion_time` must be non-negative")
	}
	if err := validateHealthCheck(t.HealthCheck); err != nil {
		return fmt.Errorf("Task uses invalid health check: %w", err)
	}
	if len(t.Resources) == 0 {
		return errors.New("Task uses no resources")
	}
	needed := bagOf(t.Resources, "")
	if (t.Executor == nil) == (t.Command == nil) {
		return errors.New("Task should have at least one (but not both) of CommandInfo or ExecutorInfo present")
	}
	if e := t.Executor; e != nil {
		if err := validateExecutorInfo(e, f, s); err != nil {
			return err
		}
		if !s.executors.has(taskKey{f.id, e.ExecutorID.Value}) {
			needed = needed.add(bagOf(e.Resources, ""))
		}
	}
	if !remaining.contains(needed) {
		return fmt.Errorf("Total resources %v required by task and its executor is more than available %v", needed, remaining)
	}
	return nil
}

func validateExecutorInfo(e *mesos.ExecutorInfo, f *framework, s *slave) error {
	switch {
	case e.Type == mesos.ExecutorInfo_DEFAULT && e.Command != nil:
		return errors.New("'ExecutorInfo.command' must not be set for 'DEFAULT' executor")
	case e.Type == mesos.ExecutorInfo_CUSTOM && e.Command == nil:
		return errors.New("'ExecutorInfo.command' must be set for 'CUSTOM' executor")
	}
	if err := validID(e.ExecutorID.Value); err != nil {
		return err
	}
	switch {
	case e.ShutdownGracePeriod.GetNanoseconds() < 0:
		return errors.New("ExecutorInfo's 'shutdown_grace_period' must be non-negative")
	case e.FrameworkID.GetValue() != f.id:
		return fmt.Errorf("ExecutorInfo has an invalid FrameworkID (Actual: %s vs Expected: %s)", e.FrameworkID.GetValue(), f.id)
	}
	if existing := s.executors.get(taskKey{f.id, e.ExecutorID.Value}); existing != nil && !existing.info.Equal(e) {
		const line = "------------------------------------------------------------\n"
		return fmt.Errorf("ExecutorInfo is not compatible with existing ExecutorInfo with same ExecutorID.\n"+
			line+"Existing ExecutorInfo:\n%v\n"+line+"ExecutorInfo:\n%v\n"+line, existing.info, e)
	}
	switch {
	case e.Type == mesos.ExecutorInfo_DEFAULT:
		return errors.New("'ExecutorInfo.type' must be 'CUSTOM'")
	case e.Command == nil:
		return errors.New("'ExecutorInfo.command' must be set")
	}
	return nil
}

func validateHealthCheck(h *mesos.HealthCheck) error {
	if h == nil {
		return nil
	}
	switch h.Type {
	case mesos.HealthCheck_COMMAND:
		if h.Command == nil {
			return errors.New("Expecting 'command' to be set for COMMAND health check")
		}
		if h.Command.Value == nil {
			if h.Command.GetShell() {
				return errors.New("Command health check must contain 'shell command'")
			}
			return errors.New("Command health check must contain 'executable path'")
		}
	case mesos.HealthCheck_HTTP:
		if h.HTTP == nil {
			return errors.New("Expecting 'http' to be set for HTTP health check")
		}
	case mesos.HealthCheck_TCP:
		if h.TCP == nil {
			return errors.New("Expecting 'tcp' to be set for TCP health check")
		}
	default:
		return errors.New("HealthCheck must specify 'type'")
	}
	for _, v := range []struct {
		name  string
		value *float64
	}{{"delay_seconds", h.DelaySeconds}, {"grace_period_seconds", h.GracePeriodSeconds},
		{"interval_seconds", h.IntervalSeconds}, {"timeout_seconds", h.TimeoutSeconds}} {
		if v.value != nil && *v.value < 0 {
			return fmt.Errorf("Expecting '%s' to be non-negative", v.name)
		}
	}
	return nil
}

// invalidTaskResource is the first resource of tasks that is malformed, "" if
// none is. One malformed resource refuses all tasks of its operation.
func invalidTaskResource(tasks []mesos.TaskInfo) string {
	for i := range tasks {
		for j := range tasks[i].Resources {
			if text := invalidResource(&tasks[i].Resources[j]); text != "" {
				return text
			}
		}
		if e := tasks[i].Executor; e != nil {
			for j := range e.Resources {
				if text := invalidResource(&e.Resources[j]); text != "" {
					return text
				}
			}
		}
	}
	return ""
}
