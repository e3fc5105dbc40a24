package fault

import (
	"testing"
	"time"

	"github.com/perigee-sched/perigee/e2e/program"
)

// TestFaults has one fault after the other happen to the same schedulers, while
// users write, a cron fires and consumers follow. After each there is an audit.
func TestFaults(t *testing.T) {
	t.Parallel()
	w := newWorld(t, needsZooKeeper(t), program.Again("/fault/north"))
	for _, fault := range []struct {
		name string
		of   func(*world)
	}{
		{"LeaderKilledDuringDeploy", leaderKilledDuringDeploy},
		{"LeaderKilledAtCronInstant", leaderKilledAtCronInstant},
		{"LeaderStoppedAndContinued", leaderStoppedAndContinued},
		{"LeaderCutOffFromZooKeeper", leaderCutOffFromZooKeeper},
		{"LeaderCutOffFromMesos", leaderCutOffFromMesos},
		{"ZooKeeperNodesKilled", zooKeeperNodesKilled},
		{"MasterRestarted", masterRestarted},
		{"AgentRestarted", agentRestarted},
		{"AgentLost", agentLost},
		{"ExecutorKilled", executorKilled},
		{"HandedOver", handedOver},
		{"RollingRestart", rollingRestart},
	} {
		ok := t.Run(fault.name, func(t *testing.T) {
			w.T = t
			begun := time.Now()
			fault.of(w)
			happened := time.Since(begun)
			w.audit()
			t.Logf("%v, and %v for the audit", happened.Round(time.Millisecond), (time.Since(begun) - happened).Round(time.Millisecond))
		})
		w.T = t
		if !ok {
			t.FailNow() // what comes after it would mean nothing
		}
	}
}
