package sim

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/perigee-sched/perigee/devcluster/model"
)

// Options of one simulation.
type Options struct {
	Seed   uint64
	Agents int
	Steps  int
	// Trace, when set, is told every step.
	Trace func(string)
	// Mutant breaks the scheduler on purpose, to see that it is found out.
	Mutant Mutant
}

// Mutant is a deliberate fault in how effects are released.
type Mutant string

// The mutants.
const (
	MutantNone        Mutant = ""
	MutantCallEarly   Mutant = "calls before the journal" // acknowledges and launches first
	MutantForgetEntry Mutant = "a lost entry"             // now and then an entry is not written
)

// world is the cluster, one scheduler, its journal, and time.
type world struct {
	opts Options
	rng  *rand.Rand
	now  time.Time
	n    int // steps done

	model     *model.Model
	agents    []*agent
	byName    map[string]*agent
	registry  map[string][]byte
	masterUp  bool
	scheduler *schedulerProcess
	journal   *journal
	users     *users
	checks    *checks
	timers    timers
	calm      bool // no more faults, no more work
}

// Failure is an invariant that did not hold.
type Failure struct {
	Seed          uint64
	Agents, Steps int
	Step          int
	What          string
	Recent        []string // the last steps
}

func (f *Failure) Error() string {
	return fmt.Sprintf("%s\nafter step %d; play it again with\n  go test ./scheduler/sim -run TestSeeds -sim.seed %d -sim.agents %d -sim.steps %d -v\n\nthe last steps were\n  %s",
		f.What, f.Step, f.Seed, f.Agents, f.Steps, strings.Join(f.Recent, "\n  "))
}

// failed is thrown by checks and caught by Run.
type failed string

// Run plays one seed. It returns a *Failure when an invariant did not hold.
func Run(opts Options) (failure error) {
	w := newWorld(opts)
	defer func() {
		if p := recover(); p != nil {
			what := fmt.Sprint(p)
			if _, ours := p.(failed); !ours {
				what = fmt.Sprintf("panic: %v\n%s", p, stack())
			}
			failure = &Failure{Seed: opts.Seed, Agents: opts.Agents, Steps: opts.Steps, Step: w.n, What: what, Recent: w.checks.recent()}
		}
	}()
	for w.n = 0; w.n < opts.Steps; w.n++ {
		w.step()
	}
	w.settle()
	return nil
}

func newWorld(opts Options) *world {
	w := &world{
		opts:     opts,
		rng:      rand.New(rand.NewPCG(opts.Seed, 0x9e3779b97f4a7c15)),
		now:      time.Date(2026, 3, 28, 22, 0, 0, 0, time.UTC), // a clock change is near
		byName:   map[string]*agent{},
		registry: map[string][]byte{},
	}
	w.checks = newChecks(w)
	w.journal = newJournal(w)
	w.users = newUsers(w)
	w.model = model.New(model.Options{
		UUID: func() (u [16]byte) {
			binary.LittleEndian.PutUint64(u[:8], w.rng.Uint64())
			binary.LittleEndian.PutUint64(u[8:], w.rng.Uint64())
			u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
			return u
		},
		Hostname: "master", IP: "10.0.0.1", Port: 5050,
		AgentReregisterTimeout: 2 * time.Minute,
	})
	w.model.StartMaster(w.now, nil)
	w.masterUp = true
	for i := range opts.Agents {
		w.addAgent(i)
	}
	w.scheduler = newScheduler(w)
	w.scheduler.start()
	w.settleEffects()
	return w
}

// chance is true once in n.
func (w *world) chance(n int) bool { return w.rng.IntN(n) == 0 }

func (w *world) trace(format string, args ...any) {
	line := fmt.Sprintf("%s %s", w.now.Format("15:04:05.000"), fmt.Sprintf(format, args...))
	w.checks.note(line)
	if w.opts.Trace != nil {
		w.opts.Trace(line)
	}
}

// step does one thing: what the weights make likely, or the next best.
func (w *world) step() {
	switch n := w.rng.IntN(1000); {
	case n < 330:
		w.scheduler.receive()
	case n < 560:
		w.scheduler.progress()
	case n < 880:
		w.advance()
	case n < 950:
		w.users.act()
	default:
		w.fault()
	}
	w.settleEffects()
	w.checks.run()
}

// advance lets time pass up to the next thing that is due, or a little less.
func (w *world) advance() {
	next := w.now.Add(time.Duration(w.rng.IntN(20_000)) * time.Millisecond)
	for _, due := range []time.Time{w.model.Wake(), w.timers.next(), w.scheduler.wake()} {
		if !due.IsZero() && due.Before(next) {
			next = due
		}
	}
	w.moveTo(next)
}

func (w *world) moveTo(next time.Time) {
	if next.After(w.now) {
		w.now = next
	}
	w.model.Tick(w.now)
	w.settleEffects()
	w.timers.fire(w.now)
	w.settleEffects()
	w.scheduler.tick()
}

// settle ends all faults, lets everything come to rest, and checks that what
// runs is what is wanted.
func (w *world) settle() {
	w.calm = true
	w.trace("-- calm: no more faults, no more work")
	w.heal()
	w.users.retry()
	end := w.now.Add(45 * time.Minute)
	for rounds := 0; w.now.Before(end) && rounds < 100_000; rounds++ {
		for w.scheduler.receive() || w.scheduler.progress() {
			w.settleEffects()
		}
		w.settleEffects()
		if rounds%16 == 0 && w.checks.atRest() {
			break
		}
		next := end
		for _, due := range []time.Time{w.model.Wake(), w.timers.next(), w.scheduler.wake()} {
			if !due.IsZero() && due.Before(next) {
				next = due
			}
		}
		if !next.After(w.now) {
			next = w.now.Add(time.Millisecond)
		}
		w.moveTo(next)
		w.checks.run()
	}
	w.checks.quiet()
}

// settleEffects performs what the model wants.
func (w *world) settleEffects() {
	for {
		effects := w.model.Effects()
		if len(effects) == 0 {
			return
		}
		for _, e := range effects {
			switch e := e.(type) {
			case model.SchedulerEvent:
				w.scheduler.arrived(e)
			case model.ExecutorEvent:
				w.byName[e.Agent].told(e)
			case model.CloseStream:
				w.closed(e.Stream)
			case model.LaunchContainer:
				w.byName[e.Agent].launch(e)
			case model.DestroyContainer:
				w.byName[e.Agent].destroy(e.Container)
			case model.Store:
				w.store(e)
			case model.AgentExits:
				w.byName[e.Agent].up = false
			}
		}
	}
}

func (w *world) closed(stream model.StreamID) {
	if w.scheduler.stream == stream {
		w.scheduler.disconnect("the master closed the stream")
		return
	}
	for _, a := range w.agents {
		a.streamClosed(stream)
	}
}

func (w *world) store(e model.Store) {
	records := w.registry
	if e.Agent != "" {
		records = w.byName[e.Agent].records
	}
	if e.Value == nil {
		delete(records, e.Key)
	} else {
		records[e.Key] = e.Value
	}
}
