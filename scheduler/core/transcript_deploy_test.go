package core

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/record"
)

func (w *world) spec(text []byte) (*api.Spec, []byte) {
	spec := new(api.Spec)
	require.NoError(w.t, json.Unmarshal(text, spec))
	if spec.Command == "" {
		spec.Command = "true"
	}
	if spec.Resources.CPUs == 0 {
		spec.Resources = api.Resources{CPUs: 1, Memory: 100 * api.MiB}
	}
	require.Empty(w.t, spec.Validate())
	canonical, err := spec.Canonical()
	require.NoError(w.t, err)
	return spec, canonical
}

// until is when a duration from now is over, 0 when none is given.
func (w *world) until(args []string) int64 {
	if len(args) == 0 {
		return 0
	}
	d, err := time.ParseDuration(args[0])
	require.NoError(w.t, err)
	return w.now + d.Milliseconds()
}

// doDeploy is do for what deploys are about.
func (w *world) doDeploy(what string, args []string, command string) {
	flag := func(name string) bool { return slices.Contains(args, name) }
	switch what {
	case "group":
		w.group(strings.TrimPrefix(command, "group "))
	case "cancel-group":
		w.request(CancelGroup{ID: args[0]})
	case "rollback":
		op := RollBack{Job: args[0], Supersede: flag("supersede")}
		for _, arg := range args[1:] {
			if n, ok := strings.CutPrefix(arg, "to="); ok {
				op.To = uint32(w.int(n))
			}
		}
		w.request(op)
	case "bounce":
		w.request(Bounce{Job: args[0], Incremental: flag("incremental")})
	case "restart":
		i := strings.LastIndex(args[0], "/")
		w.request(RestartInstance{Job: args[0][:i], Instance: uint32(w.int(args[0][i+1:]))})
	case "deploy":
		steer := map[string]Steer{"pause": SteerPause, "resume": SteerResume, "promote": SteerPromote, "cancel": SteerCancel, "pulse": SteerPulse}
		op := SteerDeploy{Job: args[0], Action: steer[args[1]], Full: flag("full")}
		require.NotZero(w.t, op.Action, args[1])
		for _, arg := range args[2:] {
			if n, ok := strings.CutPrefix(arg, "number="); ok {
				op.Number = uint32(w.int(n))
			}
		}
		w.request(op)
	case "gate":
		w.step(GateAnswered{Job: args[0], Deploy: uint32(w.int(args[1])), Step: uint32(w.int(args[2])),
			Decision: api.GateDecision(args[3]), Reason: strings.Join(args[4:], " ")})
	case "skip-health":
		w.request(SkipHealth{Job: args[0], Until: w.until(args[1:])})
	case "check-health":
		w.request(SkipHealth{Job: args[0]})
	case "serve":
		w.serve(args[0])
	case "settle":
		w.settle(args[0])
	case "deploys":
		w.printDeploys(args[0])
	case "endpoints":
		w.printEndpoints(args[0])
	case "groups":
		w.printGroups()
	}
}

func (w *world) group(text string) {
	end := strings.LastIndex(text, "}")
	op := PutGroup{Supersede: strings.Contains(text[end:], "supersede")}
	d := json.NewDecoder(bytes.NewReader([]byte(text[:end+1])))
	for {
		var raw json.RawMessage
		err := d.Decode(&raw)
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(w.t, err)
		spec, canonical := w.spec(raw)
		op.Specs, op.Canonical = append(op.Specs, spec), append(op.Canonical, canonical)
	}
	w.request(op)
}

// serve has every task of a job that was launched run and be healthy, and every
// one that is being killed end, quietly; then waits for their minimum time.
func (w *world) serve(job string) {
	out := w.out
	w.out = new(strings.Builder)
	for _, id := range slices.Sorted(maps.Keys(w.core.tasks)) {
		t := w.core.tasks[id]
		if t == nil || t.rec.Job != job || !t.live() || !t.launched() {
			continue
		}
		healthy := true
		u := Update{Task: id, Agent: t.rec.Agent, Source: SourceExecutor, State: MesosRunning, Healthy: &healthy,
			Report: &api.Report{Phase: api.PhaseRun, Successes: 1}}
		if t.stopping() {
			u = Update{Task: id, Agent: t.rec.Agent, Source: SourceExecutor, State: MesosKilled}
		}
		w.step(u)
	}
	quiet := w.out.String()
	w.out = out
	for line := range strings.Lines(quiet) {
		if strings.Contains(line, "task.ready") || strings.Contains(line, "task.killed") || strings.Contains(line, "deploy") ||
			strings.Contains(line, "task.stopping") || strings.Contains(line, "task.pending") || strings.Contains(line, "ASK") || strings.Contains(line, "KILL") {
			w.out.WriteString(line)
		}
	}
}

// settle has everything of a job go well until nothing more happens, and tells
// only what deploys do.
func (w *world) settle(job string) {
	out := w.out
	for range 30 {
		w.out = new(strings.Builder)
		pending := w.core.queue.pending
		if pending > 0 {
			w.step(Offers{[]Offer{w.offer([]string{"a1", "cpus=64", "mem=65536"})}})
		}
		w.serve(job)
		w.wait(6000)
		quiet := w.out.String()
		told := false
		for line := range strings.Lines(quiet) {
			told = told || strings.Contains(line, "task.")
			if strings.Contains(line, "deploy.") || strings.Contains(line, "deploy_group.") || strings.Contains(line, "task.stopping") {
				out.WriteString(line)
			}
		}
		if !told && pending == 0 {
			break
		}
	}
	w.out = out
}

func (w *world) printDeploys(job string) {
	var lines []string
	for _, m := range w.records {
		d, ok := m.(*record.Deploy)
		if !ok || d.Job != job {
			continue
		}
		line := record.DeployKey(job, d.Number)[len(record.PrefixDeploy):] + " " + StateName(d.State)
		if d.Reason != "" {
			line += ": " + d.Reason
		}
		lines = append(lines, line)
	}
	w.printSorted(lines)
	if r, ok := w.records[record.RolloutKey(job)].(*record.Rollout); ok {
		w.printf("rollout of %d: phase %s step %d back %d", r.Deploy, strings.ToLower(strings.TrimPrefix(r.Phase.String(), "ROLLOUT_PHASE_")), r.Step, r.Back)
	}
}

func (w *world) printEndpoints(job string) {
	j := w.records[record.JobKey(job)].(*record.Job)
	var lines []string
	for _, m := range w.records {
		t, ok := m.(*record.Task)
		if ok && t.Job == job && t.Ready && t.StopAt == 0 && t.Deploy != j.Withheld && (j.ServingOnly == 0 || j.ServingOnly == t.Deploy) {
			lines = append(lines, t.Id+" of deploy "+string(rune('0'+t.Deploy)))
		}
	}
	w.printSorted(lines)
}

func (w *world) printGroups() {
	var lines []string
	for _, m := range w.records {
		g, ok := m.(*record.Group)
		if !ok {
			continue
		}
		line := g.Id + " " + StateName(g.State) + " " + g.Reason
		for _, m := range g.Members {
			line += "; " + m.Job + " " + m.Reason
		}
		lines = append(lines, line)
	}
	w.printSorted(lines)
}
