package sim

import (
	"fmt"
	"slices"
	"strings"
	"sync"
)

// sights are all that simulations are about, in the order in which they are
// told: what users do, what becomes of it, and what goes wrong.
var sights = []string{
	"service made", "cron made", "batch job made", "job removed", "job made again",
	"deploy begins", "deploy succeeds", "deploy fails", "deploy superseded", "deploy cancelled",
	"deploy rolled back", "deploy returns across a takeover",
	"rolling deploy", "rolling deploy that stops first", "canary deploy", "blue-green deploy", "bounce", "incremental bounce",
	"rollback to an earlier deploy", "deploy in place", "deploy ends a pause",
	"deploy across a takeover", "deploy waits during a pause", "deploy paused by hand", "deploy paused for a failure",
	"deploy waits for promotion", "deploy promoted", "deploy cancelled by hand", "deploy fails for failures of its tasks",
	"gate says go", "gate says wait", "gate says stop", "gate does not answer", "pulse missed",
	"endpoints switched", "old set stopped", "blue-green deploy undone while its old set is kept",
	"group of deploys succeeds", "group of deploys rolled back",
	"instance restarted by hand", "health skipped", "health counts again", "timed change taken back",
	"instance never ready", "instance flaps", "instance fails at once", "instance turns unhealthy", "instance fits nowhere",
	"instance waits after quick failures", "drain before a KILL",
	"scaled up", "scaled down", "paused", "resumed", "task killed by hand", "run cancelled",
	"batch run succeeds", "batch run retried", "batch run failed after its retries", "run lost with its agent and retried",
	"cron run by hand", "cron instant on time", "cron run retried", "cron instant skipped", "cron run replaced",
	"cron instant waits", "cron runs side by side", "cron instant caught up after an outage", "cron instants missed in an outage",
	"cron instant of a changed clock",
	"request refused", "stale revision refused", "request answered again as before",
	"no room", "ports run out", "limit per host met", "offers declined", "offers suppressed",

	"takeover", "scheduler dies", "leader dies with decisions not durable", "leader dies with calls not made",
	"leader stands still", "leader's machine stands still", "leader hands over",
	"leader's session expires", "leader is deposed by the fence", "entry of a deposed leader refused",
	"leader cut off from the journal", "leader cut off from Mesos", "calls withheld after the lease's deadline",
	"unknown append was durable", "unknown append was absent", "unknown append arrives late", "unknown append was fenced by another leader",
	"leader's clock set forward", "leader's clock set back", "takeover with a clock behind", "steps while a clock that was set back catches up",

	"subscription breaks", "subscription taken over by another scheduler", "master fails over",
	"update lost", "update late", "update repeated", "update overtakes another", "acknowledgement lost",
	"KILL lost", "KILL sent again", "launch not answered 202",
	"offer rescinded", "offer rescinded with its ACCEPT under way", "launch withheld, its offer is gone", "launch dropped, its offer is gone",
	"agent restarts", "agent becomes unreachable", "agent returns after it was unreachable",
	"agent lost", "agent joins again", "agents not listed", "agents listed that are not back",
	"agent deactivated", "agent drained", "agent gone", "agent set up anew",
	"task unreachable", "unreachable task returns", "unreachable task replaced", "replaced task returns and is killed",
	"history stands still", "finished record goes", "finished record left to history",
	"reconciliation finds a task gone", "executor dies", "container cannot start",
}

// Coverage counts what simulations met. It may be shared by several at a time.
type Coverage struct {
	mu     sync.Mutex
	played int
	seeds  map[string]int // that saw something
	times  map[string]int // it was seen in all
}

func (c *Coverage) add(saw map[string]int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seeds == nil {
		c.seeds, c.times = map[string]int{}, map[string]int{}
	}
	c.played++
	for what, n := range saw {
		c.seeds[what]++
		c.times[what] += n
	}
}

// Missing is what no simulation met.
func (c *Coverage) Missing() []string {
	return slices.DeleteFunc(slices.Clone(sights), func(what string) bool { return c.seeds[what] > 0 })
}

// String is a table: what was seen, by how many seeds, and how often.
func (c *Coverage) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-50s %8s %10s\n", "of "+fmt.Sprint(c.played)+" seeds saw", "seeds", "times")
	for _, what := range sights {
		fmt.Fprintf(&b, "%-50s %8d %10d\n", what, c.seeds[what], c.times[what])
	}
	return b.String()
}

var sightNamed = map[string]bool{}

func init() {
	for _, what := range sights {
		sightNamed[what] = true
	}
}

// sees notes that something happened that the simulation is about.
func (w *world) sees(what string) {
	if !sightNamed[what] {
		panic("sim: not among the sights: " + what)
	}
	w.saw[what]++
}
