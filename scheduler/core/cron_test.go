package core

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/scheduler/record"
)

// TestCron_TellsOfEveryInstantOfAnOutage: however many instants an outage has,
// each is in a record: run, skipped, waiting or missed; and no more run at once
// than may.
func TestCron_TellsOfEveryInstantOfAnOutage(t *testing.T) {
	t.Parallel()
	for policy, want := range map[string]map[string]int{
		`"missed":"skip"`: {"active": 1, "skipped": 1, "missed": 2158},
		`"missed":"once"`: {"active": 1, "skipped": 2, "missed": 2157},
		`"missed":"all","max_missed":1000,"overlap":"allow","max_runs":3`: {"active": 3, "waiting": 994, "skipped": 2, "missed": 1161},
		`"deadline":"48h","overlap":"queue","max_runs":1000`:              {"active": 1, "waiting": 998, "missed": 1161},
	} {
		w := newWorld(t)
		w.do("lead")
		w.do(fmt.Sprintf(`put {"job":"ops/prod/tick","kind":"cron","schedule":{"cron":"* * * * *",%s}}`, policy))
		w.do("sleep 36h")
		w.do("fail over")
		got := map[string]int{}
		for _, m := range w.records {
			if r, ok := m.(*record.Run); ok {
				got[StateName(r.State)] += max(1, int(r.Missed))
			}
		}
		require.Equal(t, want, got, policy)
	}
}

// TestCron_KeepsOneTimer: changes of a cron leave no timers behind that renew
// themselves.
func TestCron_KeepsOneTimer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.do("lead")
	for i := range 50 {
		w.do(fmt.Sprintf(`put {"job":"ops/prod/tick","kind":"cron","priority":%d,"schedule":{"cron":"* * * * *"}}`, i))
		w.do("pause ops/prod/tick")
		w.do("resume ops/prod/tick")
	}
	w.do("wait 5m")
	require.Len(t, w.core.instants.heap, 1)
}
