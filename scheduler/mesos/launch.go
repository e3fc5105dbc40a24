package mesos

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/perigee-sched/perigee/scheduler/core"
)

// executorFile is the executor's name in the sandbox.
const executorFile = "perigee-executor"

// launcher makes the TaskInfos of a subscription.
type launcher struct {
	framework mesos.FrameworkID
	role      string
	overhead  core.Amounts
	command   *mesos.CommandInfo // shared by all executors
}

func newLauncher(framework string, o Options) *launcher {
	return &launcher{
		framework: mesos.FrameworkID{Value: framework},
		role:      o.Framework.Role,
		overhead:  o.Executor.Overhead(),
		command:   executorCommand(o.Executor),
	}
}

// tasks cuts what launches need out of offers.
func (l *launcher) tasks(agent string, launches []core.Launch, offers []*offer) ([]mesos.TaskInfo, error) {
	pool := newPool(l.role, offers)
	tasks := make([]mesos.TaskInfo, len(launches))
	for i := range launches {
		own, err := pool.cut(launches[i].Needs, launches[i].Ports)
		if err != nil {
			return nil, fmt.Errorf("task %s: %w", launches[i].Task, err)
		}
		executors, err := pool.cut(l.overhead, nil)
		if err != nil {
			return nil, fmt.Errorf("executor of task %s: %w", launches[i].Task, err)
		}
		tasks[i] = l.task(agent, &launches[i], own, executors)
	}
	return tasks, nil
}

func (l *launcher) task(agent string, launch *core.Launch, own, executors []mesos.Resource) mesos.TaskInfo {
	grace := &mesos.DurationInfo{Nanoseconds: launch.ShutdownGrace * int64(time.Millisecond)}
	return mesos.TaskInfo{
		Name:      launch.Name,
		TaskID:    mesos.TaskID{Value: launch.Task},
		AgentID:   mesos.AgentID{Value: agent},
		Resources: own,
		Data:      launch.Definition,
		// Our executor knows its grace from the definition. This is for people
		// who look at the master.
		KillPolicy: &mesos.KillPolicy{GracePeriod: grace},
		Executor: &mesos.ExecutorInfo{
			Type:                mesos.ExecutorInfo_CUSTOM,
			ExecutorID:          mesos.ExecutorID{Value: launch.Task},
			FrameworkID:         &l.framework,
			Name:                &launch.Name,
			Source:              &launch.Name,
			Command:             l.command,
			Resources:           executors,
			ShutdownGracePeriod: grace,
		},
	}
}

// executorCommand fetches perigee-executor, checks it, since the fetcher
// verifies nothing, and becomes it.
func executorCommand(o ExecutorOptions) *mesos.CommandInfo {
	yes, no, name := true, false, executorFile
	from := executorURL(o)
	shown, _, _ := strings.Cut(from, "?") // the rest may be a key, or another's signature
	script := fmt.Sprintf(`if echo '%[1]s  %[2]s' | sha256sum -c - >/dev/null 2>&1; then exec ./%[2]s; fi; `+
		`echo "%[2]s is not started: its SHA-256 is $(sha256sum %[2]s 2>&1 | cut -d' ' -f1), expected %[1]s; it was fetched from "%[3]s >&2; exit 1`,
		strings.ToLower(o.SHA256), executorFile, shellQuoted(shown))
	command := &mesos.CommandInfo{
		Shell: &yes,
		Value: &script,
		URIs: []mesos.CommandInfo_URI{{
			Value: from, Executable: &yes, Extract: &no, Cache: &yes, OutputFile: &name,
		}},
	}
	if len(o.Environment) > 0 {
		command.Environment = &mesos.Environment{}
	}
	for _, name := range slices.Sorted(maps.Keys(o.Environment)) {
		value := o.Environment[name]
		command.Environment.Variables = append(command.Environment.Variables,
			mesos.Environment_Variable{Name: name, Value: &value})
	}
	return command
}

// executorURL is the URL that agents fetch from. The fetcher's cache knows files
// by their URL alone and keeps them, so after an upgrade it would give every
// task the old executor. The checksum in the query makes it another file.
func executorURL(o ExecutorOptions) string {
	u, err := url.Parse(o.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || strings.Contains(o.URL, o.SHA256) {
		return o.URL
	}
	query := "sha256=" + strings.ToLower(o.SHA256)
	if o.Key != nil {
		if key := o.Key(); key != "" {
			query += "&key=" + key
		}
	}
	if u.RawQuery != "" {
		query = u.RawQuery + "&" + query
	}
	u.RawQuery = query
	return u.String()
}

func shellQuoted(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
