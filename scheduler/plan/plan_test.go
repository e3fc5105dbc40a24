package plan

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/record"
)

var update = flag.Bool("update", false, "write the transcripts as they are now")

// TestPlans plays the scripts in testdata. Lines that begin with ">" are
// commands, what follows a plan is what it says. Comments begin with "#".
//
//	> agent a1 cpus=4 mem=8192 [used=2] [offers=1.5] [ports=3] [inactive] [rack=r1]
//	> job {spec} [deploy=N] [instances=N] [paused] [removing] [state=failed]
//	> tasks FIRST-LAST AGENT [deploy=N] [ports=N] [stopping]     running ones of the job
//	> rollout N [keeping]                   a deploy is in progress, or keeps its old set
//	> waiting JOB N                         tasks of it have no place
//	> plan {spec}
func TestPlans(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			var out strings.Builder
			w := newWorld(t)
			for line := range strings.Lines(string(text)) {
				switch command, ok := strings.CutPrefix(strings.TrimSpace(line), "> "); {
				case ok:
					out.WriteString("> " + command + "\n")
					w.do(command, &out)
				case strings.HasPrefix(line, "#"), strings.TrimSpace(line) == "":
					out.WriteString(line)
				}
			}
			if *update {
				require.NoError(t, os.WriteFile(file, []byte(out.String()), 0o644))
				return
			}
			require.Equal(t, string(text), out.String(), "run with -update, and look at the difference")
		})
	}
}

// world is what a plan is made of.
type world struct {
	testing.TB
	observed core.Observed
	job      *record.Job
	deploys  map[uint32]*record.Deploy
	rollout  *record.Rollout
	tasks    []*record.Task
}

func newWorld(t testing.TB) *world {
	return &world{TB: t, deploys: map[uint32]*record.Deploy{}, observed: core.Observed{Subscribed: true, Pending: map[string][]api.PendingReason{},
		Overhead: core.Amounts{CPUs: 10, Memory: 32_000}}}
}

func (w *world) Job(key string) *record.Job {
	if w.job == nil || w.job.Key != key {
		return nil
	}
	return w.job
}
func (w *world) Deploy(_ string, number uint32) *record.Deploy { return w.deploys[number] }
func (w *world) Rollout(string) *record.Rollout                { return w.rollout }
func (w *world) JobTasks(job, _ string, yield func(*record.Task) bool) {
	for _, t := range w.tasks {
		if t.Job == job && !yield(t) {
			return
		}
	}
}

func (w *world) do(command string, out *strings.Builder) {
	verb, rest, _ := strings.Cut(command, " ")
	switch verb {
	case "agent":
		w.agent(strings.Fields(rest))
	case "job":
		w.put(rest)
	case "tasks":
		w.start(strings.Fields(rest))
	case "rollout":
		number, keeping, _ := strings.Cut(rest, " ")
		w.rollout = &record.Rollout{Job: w.job.Key, Deploy: uint32(w.number(number))}
		if keeping == "" {
			w.deploys[w.rollout.Deploy].State = record.DeployState_DEPLOY_STATE_IN_PROGRESS
		}
	case "waiting":
		job, n, _ := strings.Cut(rest, " ")
		w.observed.Pending[job] = []api.PendingReason{{Tasks: w.number(n)}}
	case "disconnect":
		w.observed.Subscribed, w.observed.Agents = false, nil
	case "plan":
		write(out, Of(w, &w.observed, w.spec(rest)))
	default:
		w.Fatalf("no such command: %s", command)
	}
}

func (w *world) agent(words []string) {
	a := core.AgentStatus{ID: words[0], Host: "host-" + words[0], Active: true}
	for _, word := range words[1:] {
		name, value, _ := strings.Cut(word, "=")
		switch name {
		case "cpus":
			a.Total.CPUs = w.thousandths(value)
		case "mem":
			a.Total.Memory = w.thousandths(value)
			a.Total.Disk = w.thousandths("100000")
		case "used":
			a.Used.CPUs = w.thousandths(value)
		case "offers":
			a.Holds, a.Offered, a.Ports = true, a.Total, 10
			a.Offered.CPUs = w.thousandths(value)
		case "ports":
			a.Ports = w.number(value)
		case "inactive":
			a.Active = false
		default:
			a.Attributes = append(a.Attributes, core.Attribute{Name: name, Value: value})
		}
	}
	w.observed.Agents = append(w.observed.Agents, a)
}

func (w *world) put(text string) {
	text, flags := cut(text)
	spec := w.spec(text)
	canonical, err := spec.Canonical()
	require.NoError(w, err)
	d := &record.Deploy{Job: spec.Job, Number: 1, Spec: canonical, State: record.DeployState_DEPLOY_STATE_SUCCEEDED}
	w.job = &record.Job{Key: spec.Job, Instances: 1}
	if spec.Instances != nil {
		w.job.Instances = uint32(*spec.Instances)
	}
	for _, flag := range flags {
		switch name, value, _ := strings.Cut(flag, "="); name {
		case "deploy":
			d.Number = uint32(w.number(value))
		case "instances":
			w.job.Instances = uint32(w.number(value))
		case "paused":
			w.job.Paused = true
		case "removing":
			w.job.Removing = true
		case "state":
			d.State = record.DeployState_DEPLOY_STATE_FAILED
		default:
			w.Fatalf("no such flag: %s", flag)
		}
	}
	w.job.Deploy = d.Number
	w.deploys[d.Number] = d
}

func (w *world) start(words []string) {
	first, last, _ := strings.Cut(words[0], "-")
	if last == "" {
		last = first
	}
	deploy, stopAt := w.job.Deploy, int64(0)
	var ports []uint32
	for _, word := range words[2:] {
		switch name, value, _ := strings.Cut(word, "="); name {
		case "deploy":
			deploy = uint32(w.number(value))
		case "ports":
			ports = make([]uint32, w.number(value))
		case "stopping":
			stopAt = 1
		default:
			w.Fatalf("no such flag: %s", word)
		}
	}
	spec, err := api.ParseSpec(w.deploys[deploy].Spec)
	require.NoError(w, err)
	i := slices.IndexFunc(w.observed.Agents, func(a core.AgentStatus) bool { return a.ID == words[1] })
	a := &w.observed.Agents[i]
	for n := w.number(first); n <= w.number(last); n++ {
		t := &record.Task{Id: fmt.Sprintf("t-%d", len(w.tasks)), Job: w.job.Key, Deploy: deploy, Instance: uint32(n),
			StopAt: stopAt, Ports: ports,
			State: record.TaskState_TASK_STATE_RUNNING, Agent: a.ID, Host: a.Host, PlacedOn: map[string]string{}}
		for _, at := range a.Attributes {
			t.PlacedOn[at.Name] = at.Value
		}
		w.tasks = append(w.tasks, t)
		a.Tasks++
		a.Used.CPUs += int64(spec.Resources.CPUs*1000) + w.observed.Overhead.CPUs
		a.Used.Memory += int64(spec.Resources.Memory.Mebi()*1000) + w.observed.Overhead.Memory
	}
}

// spec is JSON with what every spec needs added.
func (w *world) spec(text string) *api.Spec {
	w.Helper()
	fields := map[string]any{"command": "./serve", "resources": map[string]any{"cpus": 1, "memory": "100MiB"}}
	require.NoError(w, json.Unmarshal([]byte(text), &fields), text)
	full, err := json.Marshal(fields)
	require.NoError(w, err)
	spec, err := api.DecodeSpec(full)
	require.NoError(w, err, text)
	return spec
}

// cut parts JSON from the words behind it.
func cut(text string) (string, []string) {
	i := strings.LastIndex(text, "}") + 1
	return text[:i], strings.Fields(text[i:])
}

func (w *world) number(s string) int {
	n, err := strconv.Atoi(s)
	require.NoError(w, err)
	return n
}

func (w *world) thousandths(s string) int64 {
	f, err := strconv.ParseFloat(s, 64)
	require.NoError(w, err)
	return int64(f * 1000)
}

func write(out *strings.Builder, p api.Plan) {
	line := func(format string, args ...any) { fmt.Fprintf(out, "  "+format+"\n", args...) }
	line("%s %s from %d, starts %d, stops %d", p.Action, p.Job, p.From, p.Starts, p.Stops)
	if p.Blocked != "" {
		line("BLOCKED: %s", p.Blocked)
	}
	for _, c := range p.Changes {
		a, _ := json.Marshal(c.Old)
		b, _ := json.Marshal(c.New)
		line("change %s: %s -> %s, restart %t", c.Field, a, b, c.Restart)
	}
	for _, b := range p.Restarts {
		text := fmt.Sprintf("restart %v", b.Instances)
		if b.Step != "" {
			text += " in step " + b.Step
		}
		if b.Bake != "" {
			text += ", bake " + b.Bake
		}
		if b.Manual {
			text += ", manual"
		}
		line("%s", text)
	}
	line("fits %t: needs %d, room %d, agents %d: %s", p.Fit.Fits, p.Fit.Needs, p.Fit.Room, p.Fit.Agents, p.Fit.Summary)
	for _, r := range p.Fit.Refused {
		line("refused by %s on %d: %s", r.Filter, r.Agents, r.Detail)
	}
	for _, warning := range p.Warnings {
		line("warning: %s", warning)
	}
}
