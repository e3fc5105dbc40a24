package core

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/perigee-sched/perigee/api"
)

// TestCrashLoops_OfAWeekLeaveTheStateAsBig: a service whose tasks end a second
// after their start, and a cron whose runs fail, for a week. What the journal has
// to hold after the first day is as much as after the last.
func TestCrashLoops_OfAWeekLeaveTheStateAsBig(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	instances := 5
	var waiting []Event
	play := func(events ...Event) {
		waiting = append(waiting, w.crash(w.step(events...))...)
	}
	play(Elected{Scheduler: "s1", Incarnation: "week"}, Connecting{})
	play(Subscribed{FrameworkID: "f", Master: "m"})
	for _, spec := range []*api.Spec{
		{Job: "web/prod/loops", Kind: api.KindService, Command: "exit 1", Instances: &instances, Resources: api.Resources{CPUs: 0.1, Memory: api.MiB}},
		{Job: "etl/prod/fails", Kind: api.KindCron, Command: "exit 1", Retries: 2, Resources: api.Resources{CPUs: 0.1, Memory: api.MiB},
			Schedule: &api.Schedule{Cron: "*/10 * * * *"}},
	} {
		canonical, err := spec.Canonical()
		require.NoError(t, err)
		play(Request{Op: PutJob{Spec: spec, Canonical: canonical}})
	}
	began, steps := w.now, 0
	var bytes, records int // after the first day
	for day := 1; day <= 7; day++ {
		for w.now < began+int64(day)*24*time.Hour.Milliseconds() {
			steps++
			if len(waiting) > 0 {
				events := waiting
				waiting = nil
				play(events...)
				continue
			}
			require.NotZero(t, w.wake)
			w.now = max(w.now+1, w.wake)
			play()
		}
		size := 0
		for key, m := range w.records {
			size += len(key) + proto.Size(m)
		}
		if day == 1 {
			bytes, records = size, len(w.records)
		}
		require.LessOrEqual(t, size, bytes*11/10, "bytes after day %d", day)
		require.LessOrEqual(t, len(w.records), records*11/10, "records after day %d", day)
	}
	require.Greater(t, steps, 10_000)
	require.Greater(t, w.uuids, uint64(10_000), "ends of tasks")
}

// crash answers what core wants of Mesos: there is always room, and what is
// launched runs, and fails.
func (w *world) crash(r Ready) (events []Event) {
	for _, call := range r.Calls {
		switch call := call.(type) {
		case Revive:
			w.offers++
			events = append(events, Offers{Offers: []Offer{{ID: fmt.Sprint("o", w.offers), Agent: "a1", Host: "host-a1",
				Free: Amounts{CPUs: 64_000, Memory: 64_000_000, Disk: 64_000_000}}}})
		case Accept:
			for _, l := range call.Launches {
				events = append(events, Accepted{Tasks: []string{l.Task}})
				for _, state := range []MesosState{MesosRunning, MesosFailed} {
					w.uuids++
					events = append(events, Update{Task: l.Task, Agent: "a1", State: state, UUID: fmt.Append(nil, w.uuids), Source: SourceExecutor,
						Message: "exited with status 1", Report: &api.Report{Phase: api.PhaseRun, Exited: state == MesosFailed, ExitCode: 1}})
				}
			}
		}
	}
	return events
}
