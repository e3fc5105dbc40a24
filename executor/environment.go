package executor

import (
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/executor/process"
)

const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// inherited picks what tasks get of the executor's own environment: where
// programs are, language and time zone. Nothing of Mesos's or of the agent's
// leaks into tasks that way.
func inherited(environ []string) []string {
	var kept []string
	for _, v := range environ {
		name, _, _ := strings.Cut(v, "=")
		if name == "PATH" || name == "LANG" || name == "TZ" || strings.HasPrefix(name, "LC_") {
			kept = append(kept, v)
		}
	}
	return kept
}

// environment is what a task's processes find, sorted by name. The job's own
// variables override what is inherited, and Perigee's override both.
func environment(d *api.Definition, sandbox string, user process.User, kept []string) []string {
	env := map[string]string{
		"PATH":    defaultPath,
		"HOME":    sandbox,
		"TMPDIR":  filepath.Join(sandbox, "tmp"),
		"USER":    user.Name,
		"LOGNAME": user.Name,
		"SHELL":   "/bin/sh",
	}
	for _, v := range kept {
		name, value, _ := strings.Cut(v, "=")
		env[name] = value
	}
	maps.Copy(env, d.Spec.Env)
	maps.Copy(env, ownVariables(d, sandbox))
	list := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		list = append(list, name+"="+env[name])
	}
	return list
}

// ownVariables are those that Perigee documents.
func ownVariables(d *api.Definition, sandbox string) map[string]string {
	env := map[string]string{
		"MESOS_SANDBOX":   sandbox,
		"PERIGEE_JOB":     d.Job,
		"PERIGEE_TASK":    d.Task,
		"PERIGEE_DEPLOY":  strconv.FormatUint(uint64(d.Deploy), 10),
		"PERIGEE_ATTEMPT": strconv.FormatUint(uint64(d.Attempt), 10),
		"PERIGEE_HOST":    d.Host,
	}
	if d.Spec.Kind == api.KindService {
		env["PERIGEE_INSTANCE"] = strconv.FormatUint(uint64(d.Instance), 10)
	}
	if d.Run != "" {
		env["PERIGEE_RUN"] = d.Run
	}
	for name, port := range d.Ports {
		env["PORT_"+variable(name)] = strconv.FormatUint(uint64(port), 10)
	}
	if len(d.Spec.Ports) > 0 {
		env["PORT"] = strconv.FormatUint(uint64(d.Ports[d.Spec.Ports[0]]), 10)
	}
	for name, value := range d.Parameters {
		env["PARAM_"+variable(name)] = value
	}
	return env
}

// variable writes a name as part of a variable's.
func variable(name string) string {
	return strings.ReplaceAll(strings.ToUpper(name), "-", "_")
}
