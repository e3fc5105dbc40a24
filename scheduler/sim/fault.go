package sim

import (
	"maps"
	"time"
)

// fault makes something go wrong.
func (w *world) fault() {
	s := w.scheduler
	switch n := w.rng.IntN(100); {
	case n < 25:
		if s.up {
			s.crash()
			w.timers.add(w.now.Add(time.Duration(w.rng.IntN(10_000))*time.Millisecond), func() {
				if !s.up {
					s.start()
				}
			})
		}
	case n < 40:
		if s.up && s.stream != 0 {
			w.model.Closed(w.now, s.stream)
			s.disconnect("the connection broke")
		}
	case n < 65:
		a := w.agents[w.rng.IntN(len(w.agents))]
		if a.up {
			a.stop()
			// Mostly back at once; now and then so late that it was given up.
			away := time.Duration(w.rng.IntN(20_000)) * time.Millisecond
			if w.chance(3) {
				away = time.Duration(w.rng.IntN(20)) * time.Minute
			}
			w.timers.add(w.now.Add(away), func() {
				if !a.up {
					a.start()
				}
			})
		}
	case n < 85:
		a := w.agents[w.rng.IntN(len(w.agents))]
		if ids := a.ids(); len(ids) > 0 {
			x := a.executors[ids[w.rng.IntN(len(ids))]]
			w.trace("executor %s on %s is killed", x.id.Value, a.name)
			x.die(9)
		}
	case n < 90:
		w.stopMaster()
	default:
		w.moveTo(w.now.Add(time.Duration(w.rng.IntN(600)) * time.Second)) // nothing is done for long
	}
}

func (w *world) stopMaster() {
	if !w.masterUp {
		return
	}
	w.trace("the master is killed")
	w.masterUp = false
	w.model.StopMaster(w.now)
	w.scheduler.disconnect("the master is gone")
	w.timers.add(w.now.Add(time.Duration(w.rng.IntN(10_000))*time.Millisecond), w.startMaster)
}

func (w *world) startMaster() {
	if !w.masterUp {
		w.trace("the master starts")
		w.masterUp = true
		w.model.StartMaster(w.now, maps.Clone(w.registry))
	}
}

// heal ends all faults.
func (w *world) heal() {
	w.startMaster()
	for _, a := range w.agents {
		if !a.up {
			a.start()
		}
	}
	if !w.scheduler.up {
		w.scheduler.start()
	}
	w.settleEffects()
}
