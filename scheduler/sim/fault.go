package sim

import (
	"maps"
	"time"
)

// soon and minutes are how long faults last.
func (w *world) upTo(d time.Duration) time.Duration {
	return time.Duration(w.rng.Int64N(int64(d/time.Millisecond))) * time.Millisecond
}

func (w *world) later(d time.Duration, do func()) { w.timers.add(w.now.Add(d), do) }

// victim is the leader more often than not.
func (w *world) victim() *schedulerProcess {
	if s := w.leader(); s != nil && !w.chance(3) {
		return s
	}
	return w.schedulers[w.rng.IntN(len(w.schedulers))]
}

func (w *world) schedulerDies() {
	s := w.victim()
	if !s.up {
		return
	}
	w.sees("scheduler dies")
	if len(s.decided) > 0 || s.append != nil {
		w.sees("leader dies with decisions not durable")
	}
	if len(s.calls) > 0 {
		w.sees("leader dies with calls not made")
	}
	s.crash()
	away := w.upTo(10 * time.Second)
	if w.chance(4) {
		away = w.upTo(5 * time.Minute)
	}
	w.later(away, func() {
		if !s.up {
			s.start()
		}
	})
}

// standStill stops a process for up to minutes; it goes on with what it was
// about to do. With its machine, its monotonic clock stands still too.
func (w *world) standStill(machine bool) {
	s := w.victim()
	if !s.runs() {
		return
	}
	d := w.upTo(15 * time.Second)
	if w.chance(2) {
		d = w.upTo(3 * time.Minute)
	}
	w.trace("scheduler %d stands still for %v, its machine: %v", s.number, d, machine)
	switch {
	case s.core == nil:
	case machine:
		w.sees("leader's machine stands still")
	default:
		w.sees("leader stands still")
	}
	s.paused = true
	life := s.lives
	w.later(d, func() {
		if !s.paused || s.lives != life {
			return
		}
		if machine {
			s.lag += d
			s.suspended = true
			if w.chance(2) {
				s.skew -= d
			}
		}
		s.goOn()
	})
}

func (s *schedulerProcess) goOn() {
	s.w.trace("scheduler %d goes on", s.number)
	s.paused = false
	missed := s.missed
	s.missed = nil
	for _, do := range missed {
		do()
	}
	if s.session != nil && s.session.over {
		s.learnLater()
	}
}

func (w *world) handOver() {
	if s := w.leader(); s != nil && s.runs() && !s.cut {
		w.sees("leader hands over")
		s.handOver()
	}
}

// cutOff keeps a scheduler from journal and election.
func (w *world) cutOff() {
	s := w.victim()
	if !s.up || s.cut {
		return
	}
	d := w.upTo(5 * time.Second)
	if w.chance(2) {
		d = w.upTo(time.Minute)
	}
	w.trace("scheduler %d is cut off from the journal for %v", s.number, d)
	if s.core != nil {
		w.sees("leader cut off from the journal")
	}
	s.cut = true
	w.later(d, s.reach)
}

func (s *schedulerProcess) reach() {
	if s.cut {
		s.w.trace("scheduler %d reaches the journal again", s.number)
		s.cut = false
		if s.session != nil && s.session.over {
			s.learnLater()
		}
	}
}

func (w *world) cutOffMesos() {
	s := w.victim()
	if !s.up || s.away {
		return
	}
	d := w.upTo(2 * time.Minute)
	w.trace("scheduler %d is cut off from Mesos for %v", s.number, d)
	if s.core != nil {
		w.sees("leader cut off from Mesos")
	}
	s.away = true
	w.later(d, func() { s.away = false })
	if s.stream != 0 {
		s.happens(func() { s.disconnect("no heartbeat") })
	}
}

// clockJumps sets a scheduler's clock wrong, or right again.
func (w *world) clockJumps() {
	s := w.victim()
	before := s.skew
	switch {
	case w.chance(3):
		s.skew = 0
	case w.chance(4):
		s.skew += w.upTo(40*time.Minute) - 20*time.Minute
	case w.chance(6):
		s.skew += w.upTo(2*skewMost) - skewMost
	default:
		s.skew += w.upTo(20*time.Second) - 10*time.Second
	}
	s.skew = max(-skewMost, min(skewMost, s.skew))
	switch {
	case s.core == nil:
	case s.skew > before:
		w.sees("leader's clock set forward")
	case s.skew < before:
		w.sees("leader's clock set back")
	}
	w.trace("the clock of scheduler %d is wrong by %v", s.number, s.skew)
}

// skewMost is how wrong a clock is at most.
const skewMost = 3 * time.Hour

// answersLost says whether the answer to this append is lost.
func (w *world) answersLost() bool {
	if w.losing == 0 {
		return false
	}
	w.losing--
	return true
}

func (w *world) disconnect() {
	if s := w.victim(); s.runs() {
		if s.stream != 0 {
			w.sees("subscription breaks")
		}
		s.disconnect("the connection broke")
	}
}

// busyAgent is one that runs something, if any does, more often than not.
func (w *world) busyAgent() *agent {
	first := w.rng.IntN(len(w.agents))
	if w.chance(3) {
		return w.agents[first]
	}
	for i := range w.agents {
		if a := w.agents[(first+i)%len(w.agents)]; len(a.executors) > 0 {
			return a
		}
	}
	return w.agents[first]
}

// agentStops has agents away: mostly back at once, now and then so late that
// they were given up. Of many, more go at once.
func (w *world) agentStops() {
	n := 1
	if w.scale > 1 {
		n += w.rng.IntN(w.scale)
	}
	for range n {
		a := w.busyAgent()
		if !a.up {
			continue
		}
		a.stop()
		away := w.upTo(20 * time.Second)
		if w.chance(3) {
			away = w.upTo(20 * time.Minute)
		}
		w.later(away, func() {
			if !a.up {
				a.start()
			}
		})
	}
}

func (w *world) executorDies() {
	a := w.busyAgent()
	if ids := a.ids(); len(ids) > 0 {
		x := a.executors[ids[w.rng.IntN(len(ids))]]
		w.trace("executor %s on %s is killed", x.id.Value, a.name)
		w.sees("executor dies")
		x.die(9)
	}
}

func (w *world) stopMaster() {
	if !w.masterUp {
		return
	}
	w.trace("the master is killed")
	w.sees("master fails over")
	w.masterUp = false
	w.model.StopMaster(w.now)
	for _, s := range w.schedulers {
		if stream := s.stream; stream != 0 {
			notice := func() {
				s.happens(func() {
					if s.stream == stream {
						s.disconnect("the master is gone")
					}
				})
			}
			if w.chance(3) {
				w.later(w.upTo(5*time.Second), notice)
				continue
			}
			notice()
		}
	}
	w.later(w.upTo(10*time.Second), w.startMaster)
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
	w.losing = 0
	for _, s := range w.schedulers {
		s.skew, s.away = 0, false
		if s.paused {
			s.goOn()
		}
		s.reach()
		if !s.up {
			s.start()
		}
	}
	w.settleEffects()
}
