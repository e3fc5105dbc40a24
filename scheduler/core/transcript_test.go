package core

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/record"
)

var update = flag.Bool("update", false, "write the transcripts as they are now")

// TestTranscripts plays the scripts in testdata: lines that begin with ">" are
// commands, what follows them is what core then wants of the world. Comments
// begin with "#".
//
//	> lead                        begin to lead, subscribe
//	> put {"job": …} [flag…]      a job; flags: supersede, create, match=N, resume
//	> group {"job": …} {"job": …}   several jobs; flags: supersede
//	> rollback JOB [to=N] [supersede] | bounce JOB [incremental] | restart JOB/INSTANCE
//	> deploy JOB pause|resume|promote|cancel|pulse [N] [full] [reason]
//	> gate JOB DEPLOY STEP go|wait|stop reason…
//	> skip-health JOB 10m | check-health JOB
//	> offer a1 cpus=4 mem=8192 ports=31000-31009 rack=r1
//	> update ID RUNNING [healthy] [successes=N] [by=agent] [reason=R] [silent] [uuid=U] message…
//	> accepted ID… | refused ID…
//	> wait 5s                     steps whenever core asked to be
//	> run JOB [n=2] [group=g] [priority=1] [retries=1] [p.NAME=VALUE]
//	> kill ID | cancel JOB RUN | scale JOB N [10m] | pause JOB [10m] | resume JOB | remove JOB
//	> settle JOB                  and so on with what follows, until nothing does
//	> serve JOB                   all pending tasks of a job are launched, run, and are ready
//	> fail over                   throw the core away, load what was durable
//	> listing | agents a1 cpus=4 mem=8192; a2 …; recovered=a3,a4 | gave-up a1
//	> step-down
//	> back up                     keep what is durable
//	> restore ABCD                the state of the last backup begins a new life, and is led
//	> tasks | runs | pending | timeline ID | deploys JOB | endpoints JOB | groups
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			w := newWorld(t)
			var out strings.Builder
			for line := range strings.Lines(string(text)) {
				switch command, ok := strings.CutPrefix(strings.TrimSpace(line), "> "); {
				case ok:
					out.WriteString("> " + command + "\n")
					w.out = &out
					w.do(command)
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

// world is everything around a core: what is durable, and the clock.
type world struct {
	t                       testing.TB
	cfg                     Config
	core                    *Core
	seen                    func(Ready) // told each step's, when set
	now                     int64
	wake                    int64
	records                 map[string]Record
	backup                  map[string]Record
	out                     *strings.Builder
	requests, uuids, offers uint64
	deployStates            map[string]record.DeployState
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, now: time.Date(2026, 11, 21, 1, 30, 0, 0, time.UTC).UnixMilli(), records: map[string]Record{}, deployStates: map[string]record.DeployState{}, out: new(strings.Builder)}
	w.load()
	return w
}

func (w *world) load() {
	cfg := w.cfg
	cfg.Overhead, cfg.DefaultUser, cfg.PendingMost = Amounts{CPUs: 10, Memory: 32_000}, "nobody", 50
	c, err := Load(cfg, func(yield func(string, Record) bool) {
		for key, m := range w.records {
			if !yield(key, proto.Clone(m)) {
				return
			}
		}
	})
	require.NoError(w.t, err)
	w.core = c
}

func (w *world) step(events ...Event) Ready {
	r := w.core.Step(w.now, events)
	w.wake = r.Wake
	w.checkCounts()
	if w.seen != nil {
		w.seen(r)
	}
	for _, wr := range r.Writes {
		if wr.Record == nil {
			delete(w.records, wr.Key)
			continue
		}
		// What is durable must not change behind the journal's back.
		w.records[wr.Key] = proto.Clone(wr.Record)
	}
	for _, e := range r.Events {
		w.printEvent(e)
	}
	for _, call := range r.Calls {
		w.printCall(call)
	}
	for _, ask := range r.Asks {
		b, err := json.Marshal(ask.Question)
		require.NoError(w.t, err)
		w.printf("ASK %s %s", ask.URL, b)
	}
	for _, reply := range r.Replies {
		w.printReply(reply)
	}
	return r
}

func (w *world) printf(format string, args ...any) { fmt.Fprintf(w.out, "  "+format+"\n", args...) }

func (w *world) printEvent(e *record.Event) {
	subject := e.Task
	switch {
	case subject == "" && e.Run != "":
		subject = e.Job + " run " + e.Run
	case subject == "" && e.Deploy != 0:
		subject = fmt.Sprintf("%s deploy %d", e.Job, e.Deploy)
	case subject == "":
		subject = e.Job
	case e.Run == "":
		subject += fmt.Sprintf(" %s/%d", e.Job, e.Instance)
	default:
		subject += " of run " + e.Run
	}
	if subject == "" && !strings.HasPrefix(e.Type, "scheduler.") { // there is one
		subject = cmp.Or(e.Object, e.Agent)
	}
	line := e.Type + " " + subject
	if e.Host != "" {
		line += " on " + e.Host
	}
	for _, text := range []string{e.Message, e.Reason} {
		if text != "" {
			line += ": " + text
		}
	}
	w.printf("%s", line)
}

func (w *world) printCall(call Call) {
	switch call := call.(type) {
	case Accept:
		w.printf("ACCEPT %s of %s", strings.Join(call.Offers, " "), call.Agent)
		for _, l := range call.Launches {
			w.printf("  LAUNCH %s %s cpus %s mem %s ports %v", l.Task, l.Name, millis(l.Needs.CPUs), millis(l.Needs.Memory), l.Ports)
		}
	case Decline:
		w.printf("DECLINE %s for %gs", strings.Join(call.Offers, " "), call.RefuseSeconds)
	case Acknowledge:
		w.printf("ACKNOWLEDGE %s %s", call.Task, call.UUID)
	case Reconcile:
		var ids []string
		for _, ta := range call.Tasks {
			ids = append(ids, ta.Task+" at "+ta.Agent)
		}
		w.printf("RECONCILE %s", strings.Join(ids, ", "))
	default:
		name := strings.ToUpper(strings.TrimPrefix(fmt.Sprintf("%T", call), "core."))
		w.printf("%s %s", name, strings.Trim(fmt.Sprintf("%+v", call), "{}"))
	}
}

func (w *world) printReply(r Reply) {
	if r.Err != nil {
		w.printf("=> error: %s", r.Err.Detail)
		for _, f := range r.Err.Fields {
			w.printf("   %s: %s", f.Location, f.Message)
		}
		return
	}
	b, err := json.Marshal(r.Result)
	require.NoError(w.t, err)
	w.printf("=> %s", b)
}

func (w *world) do(command string) {
	words := strings.Fields(command)
	args := words[1:]
	switch words[0] {
	case "lead":
		w.step(Elected{Scheduler: "s1", Incarnation: "abcd"})
		w.step(Connecting{})
		w.step(Subscribed{FrameworkID: "f1", Master: "m1:5050"})
	case "fail":
		w.load()
		w.step(Elected{Scheduler: "s2", Incarnation: "wxyz"})
		w.step(Connecting{})
		w.step(Subscribed{FrameworkID: "f1", Master: "m1:5050"})
	case "back":
		w.backup = maps.Clone(w.records)
	case "restore":
		w.restore(args[0])
	case "disconnect":
		w.step(Disconnected{Reason: "test"})
	case "connect":
		w.step(Connecting{})
		w.step(Subscribed{FrameworkID: "f1", Master: "m2:5050"})
	case "wait":
		d, err := time.ParseDuration(args[0])
		require.NoError(w.t, err)
		w.wait(d.Milliseconds())
	case "sleep": // time passes without a scheduler
		d, err := time.ParseDuration(args[0])
		require.NoError(w.t, err)
		w.now += d.Milliseconds()
	case "behind": // the wall clock is set back
		d, err := time.ParseDuration(args[0])
		require.NoError(w.t, err)
		w.step(ClockBehind{By: d.Milliseconds()})
	case "put":
		w.put(strings.TrimPrefix(command, "put "))
	case "offer":
		w.step(Offers{[]Offer{w.offer(args)}})
	case "offers":
		var list []Offer
		for _, part := range strings.Split(strings.TrimPrefix(command, "offers "), ";") {
			list = append(list, w.offer(strings.Fields(part)))
		}
		w.step(Offers{list})
	case "agents":
		list := Agents{}
		for _, part := range strings.Split(strings.TrimPrefix(command, "agents "), ";") {
			if ids, ok := strings.CutPrefix(strings.TrimSpace(part), "recovered="); ok {
				list.Recovered = strings.Split(ids, ",")
				continue
			}
			o := w.offer(strings.Fields(part))
			list.Agents = append(list.Agents, Agent{ID: o.Agent, Host: o.Host, Attributes: o.Attributes, Total: o.Free, Active: true})
		}
		w.step(list)
	case "listing":
		w.step(ListingAgents{})
	case "gave-up":
		w.step(AgentRemoved{args[0]})
	case "step-down":
		w.request(StepDown{})
	case "rescind":
		w.step(Rescinded{args[0]})
	case "update":
		w.update(args)
	case "accepted":
		w.step(Accepted{Tasks: args})
	case "refused":
		w.step(Accepted{Tasks: args, Err: "503"})
	case "run":
		w.request(w.newRuns(args))
	case "kill":
		w.request(KillTask{Task: args[0], Reason: strings.Join(args[1:], " ")})
	case "cancel":
		w.request(CancelRun{Job: args[0], Run: args[1]})
	case "scale":
		w.request(ScaleJob{Job: args[0], Instances: w.int(args[1]), Until: w.until(args[2:])})
	case "pause":
		w.request(PauseJob{Job: args[0], Reason: "asked", Until: w.until(args[1:])})
	case "group", "rollback", "bounce", "restart", "deploy", "gate", "skip-health", "check-health", "cancel-group", "serve", "settle", "deploys", "endpoints", "groups":
		w.doDeploy(words[0], args, command)
	case "resume":
		w.request(ResumeJob{Job: args[0]})
	case "remove":
		w.request(RemoveJob{Job: args[0]})
	case "tasks":
		w.printTasks()
	case "runs":
		w.printRuns()
	case "pending":
		w.printPending()
	case "timeline":
		for _, m := range w.records[record.TaskKey(args[0])].(*record.Task).Moments() {
			w.printf("%s %s %s %s", time.UnixMilli(m.At).UTC().Format("15:04:05.000"), StateName(m.State), m.Reason, m.Message)
		}
	default:
		w.t.Fatalf("no such command: %s", command)
	}
}

// restore begins a new life with the state of the last backup.
func (w *world) restore(incarnation string) {
	writes, events, err := BeginLife(maps.All(w.backup), Life{Incarnation: incarnation, At: w.now, By: "ann", Index: 7, MadeAt: w.now - 60_000})
	require.NoError(w.t, err)
	w.records, w.deployStates = maps.Clone(w.backup), map[string]record.DeployState{}
	for _, wr := range writes {
		if w.records[wr.Key] = wr.Record; wr.Record == nil {
			delete(w.records, wr.Key)
		}
	}
	for _, e := range events {
		w.printEvent(e)
	}
	w.load()
	w.step(Elected{Scheduler: "s1", Incarnation: "wxyz"})
	w.step(Connecting{})
	w.step(Subscribed{FrameworkID: "f1", Master: "m1:5050"})
}

// wait lets time pass, stepping whenever core wants to be.
func (w *world) wait(ms int64) {
	end := w.now + ms
	for w.wake != 0 && w.wake <= end {
		w.now = max(w.now, w.wake)
		w.step()
	}
	w.now = end
	w.step()
}

func (w *world) int(s string) int {
	n, err := strconv.Atoi(s)
	require.NoError(w.t, err)
	return n
}

func (w *world) request(op Op) {
	w.requests++
	w.step(Request{ID: w.requests, Actor: "ann", Op: op})
}

func (w *world) put(text string) {
	end := strings.LastIndex(text, "}")
	op := PutJob{}
	op.Spec, op.Canonical = w.spec([]byte(text[:end+1]))
	for _, flag := range strings.Fields(text[end+1:]) {
		switch name, value, _ := strings.Cut(flag, "="); name {
		case "supersede":
			op.Supersede = true
		case "create":
			op.Create = true
		case "resume":
			op.Resume = true
		case "match":
			n := uint64(w.int(value))
			op.IfMatch = &n
		}
	}
	w.request(op)
}

func (w *world) offer(args []string) Offer {
	w.offers++
	o := Offer{ID: fmt.Sprintf("o%d", w.offers), Agent: args[0], Host: "host-" + args[0], URL: "http://" + args[0] + ":5051"}
	for _, arg := range args[1:] {
		switch name, value, _ := strings.Cut(arg, "="); name {
		case "cpus":
			f, err := strconv.ParseFloat(value, 64)
			require.NoError(w.t, err)
			o.Free.CPUs = int64(f * 1000)
		case "mem":
			o.Free.Memory = int64(w.int(value)) * 1000
		case "disk":
			o.Free.Disk = int64(w.int(value)) * 1000
		case "ports":
			first, last, _ := strings.Cut(value, "-")
			o.Ports = append(o.Ports, PortRange{uint32(w.int(first)), uint32(w.int(last))})
		default:
			o.Attributes = append(o.Attributes, Attribute{name, value})
		}
	}
	return o
}

var mesosStates = func() map[string]MesosState {
	m := map[string]MesosState{}
	for s := MesosStaging; s <= MesosUnknown; s++ {
		m[s.String()] = s
	}
	return m
}()

func (w *world) update(args []string) {
	u := Update{Task: args[0], State: mesosStates[args[1]], Source: SourceExecutor}
	require.NotZero(w.t, u.State, args[1])
	w.uuids++
	u.UUID = []byte(fmt.Sprintf("u%d", w.uuids))
	if t := w.core.tasks[u.Task]; t != nil {
		u.Agent = t.rec.Agent
	}
	var message []string
	for _, arg := range args[2:] {
		name, value, _ := strings.Cut(arg, "=")
		switch name {
		case "healthy", "unhealthy":
			healthy := name == "healthy"
			u.Healthy = &healthy
			if healthy && u.Report == nil {
				u.Report = &api.Report{Phase: api.PhaseRun, Successes: 1}
			}
		case "successes":
			u.Report = &api.Report{Phase: api.PhaseRun, Successes: w.int(value)}
		case "by":
			u.Source = map[string]UpdateSource{"agent": SourceAgent, "master": SourceMaster}[value]
		case "reason":
			u.Reason = value
		case "silent":
			u.UUID = nil
		case "uuid":
			u.UUID = []byte(value)
		case "agent":
			u.Agent = value
		default:
			message = append(message, arg)
		}
	}
	u.Message = strings.Join(message, " ")
	w.step(u)
}

func (w *world) newRuns(args []string) StartRuns {
	op := StartRuns{Job: args[0]}
	run, n := NewRun{}, 1
	for _, arg := range args[1:] {
		switch name, value, _ := strings.Cut(arg, "="); name {
		case "n":
			n = w.int(value)
		case "group":
			run.Group = value
		case "priority":
			p := w.int(value)
			run.Priority = &p
		case "retries":
			r := w.int(value)
			run.Retries = &r
		default:
			if run.Parameters == nil {
				run.Parameters = map[string]string{}
			}
			run.Parameters[strings.TrimPrefix(name, "p.")] = value
		}
	}
	for range n {
		op.Runs = append(op.Runs, run)
	}
	return op
}

func (w *world) printTasks() {
	var lines []string
	for _, m := range w.records {
		t, ok := m.(*record.Task)
		if !ok || t.State.Terminal() {
			continue
		}
		line := fmt.Sprintf("%s %s deploy %d", t.Id, t.Job, t.Deploy)
		if t.Run == "" {
			line += fmt.Sprintf(" instance %d", t.Instance)
		} else {
			line += " run " + t.Run
		}
		line += fmt.Sprintf(" attempt %d %s", t.Attempt, StateName(t.State))
		if t.Ready {
			line += " ready"
		}
		if t.Host != "" {
			line += " on " + t.Host
		}
		if t.StopReason != "" {
			line += ", stopping: " + t.StopReason
		}
		lines = append(lines, line)
	}
	w.printSorted(lines)
}

func (w *world) printRuns() {
	var lines []string
	for _, m := range w.records {
		if r, ok := m.(*record.Run); ok {
			line := fmt.Sprintf("%s %s %s, %d attempts, %d failures", r.Job, r.Id, StateName(r.State), r.Attempts, r.Failures)
			if r.Reason != "" {
				line += ": " + r.Reason
			}
			lines = append(lines, line)
		}
	}
	w.printSorted(lines)
}

func (w *world) printPending() {
	for _, job := range slices.Sorted(func(yield func(string) bool) {
		for key := range w.core.Observe().Pending {
			if !yield(key) {
				return
			}
		}
	}) {
		for _, r := range w.core.Observe().Pending[job] {
			w.printf("%s deploy %d: %d tasks: %s", job, r.Deploy, r.Tasks, r.Summary)
			if r.Nearest != "" {
				w.printf("  nearest %s", r.Nearest)
			}
		}
	}
}

func (w *world) printSorted(lines []string) {
	slices.Sort(lines)
	for _, l := range lines {
		w.printf("%s", l)
	}
}
