package sim

import "time"

// Choice is one step: its number, which all that is chosen at random within it
// depends on, and what it does.
type Choice struct {
	Step   int
	Action string
}

// action is what a step may do.
type action struct {
	name   string
	weight int // of 10,000
	do     func(*world)
}

var actions = []action{
	{"receive", 3100, func(w *world) { w.anyOf((*schedulerProcess).receive) }},
	{"progress", 2500, func(w *world) { w.anyOf((*schedulerProcess).progress) }},
	{"advance", 2925, (*world).advance},
	{"user", 900, func(w *world) { w.users.act() }},

	{"scheduler-dies", 80, (*world).schedulerDies},
	{"scheduler-stands-still", 40, func(w *world) { w.standStill(false) }},
	{"machine-suspended", 10, func(w *world) { w.standStill(true) }},
	{"hand-over", 20, (*world).handOver},
	{"journal-cut-off", 40, (*world).cutOff},
	{"answers-lost", 60, func(w *world) { w.losing += 1 + w.rng.IntN(3) }},
	{"clock-jumps", 40, (*world).clockJumps},
	{"disconnect", 50, (*world).disconnect},
	{"mesos-cut-off", 15, (*world).cutOffMesos},
	{"agent-stops", 100, (*world).agentStops},
	{"executor-dies", 70, (*world).executorDies},
	{"master-dies", 20, (*world).stopMaster},
	{"agent-deactivated", 15, (*world).deactivate},
	{"agent-drained", 15, (*world).drain},
	{"agent-gone", 5, (*world).markGone},
	{"agent-reactivated", 15, (*world).reactivateAll},
	{"silence", 30, func(w *world) { w.moveTo(w.now.Add(time.Duration(w.rng.IntN(600)) * time.Second)) }},
}

var (
	actionsWeight int
	actionNamed   = map[string]func(*world){}
)

func init() {
	for _, a := range actions {
		actionsWeight += a.weight
		actionNamed[a.name] = a.do
	}
}
