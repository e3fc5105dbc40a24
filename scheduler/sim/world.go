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
	// Script, when set, is done instead of what the seed would choose.
	Script []Choice
	// Trace, when set, is told every step.
	Trace func(string)
	// Coverage, when set, counts what was met.
	Coverage *Coverage
	// Restore ends the play with the loss of the journal and all schedulers, and
	// the restore of a backup made at some time before.
	Restore bool
	// Mutant breaks the schedulers on purpose, to see that it is found out.
	Mutant Mutant
}

// world is the cluster, the schedulers, their journal and election, and time.
type world struct {
	opts Options
	pcg  *rand.PCG
	rng  *rand.Rand
	now  time.Time
	n    int // steps done

	model      *model.Model
	agents     []*agent
	byName     map[string]*agent
	registry   map[string][]byte
	masterUp   bool
	schedulers []*schedulerProcess
	journal    *journal
	election   *election
	scale      int // of the work
	losing     int // answers to appends that will be lost
	inactive   map[*agent]bool
	users      *users
	checks     *checks
	lists      *rand.Rand // of agents: what they draw from
	histories  *histories
	restores   *restores
	timers     timers
	calm       bool // no more faults, no more work
	chosen     []Choice
	remarks    map[int]string
	saw        map[string]int
	made       map[string]bool // jobs
	lastLedAt  int64           // by the clock of the core that was stepped last
}

const schedulerCount = 3

// clockChanges are near: one skips an hour, one repeats it.
var clockChanges = [2]time.Time{time.Date(2026, 3, 29, 1, 0, 0, 0, time.UTC), time.Date(2026, 10, 25, 1, 0, 0, 0, time.UTC)}

// Failure is an invariant that did not hold.
type Failure struct {
	Options Options // to play it again
	Step    int
	What    string
	Recent  []string       // the last steps
	Chosen  []Choice       // all that was done
	Remarks map[int]string // by step: the first thing that happened
}

func (f *Failure) Error() string {
	o := f.Options
	again := fmt.Sprintf("play it again with\n  go test ./scheduler/sim -run TestSeeds -sim.seed %d -sim.agents %d -sim.steps %d -v", o.Seed, o.Agents, o.Steps)
	if o.Script != nil {
		again = "of a script"
	}
	return fmt.Sprintf("%s\nafter step %d; %s\n\nthe last steps were\n  %s", f.What, f.Step, again, strings.Join(f.Recent, "\n  "))
}

// failed is thrown by checks and caught by Run.
type failed string

// Run plays one seed. It returns a *Failure when an invariant did not hold.
func Run(opts Options) (failure error) {
	w := &world{
		opts:     opts,
		pcg:      rand.NewPCG(opts.Seed, 0),
		now:      clockChanges[opts.Seed%2].Add(-50 * time.Minute),
		byName:   map[string]*agent{},
		registry: map[string][]byte{},
		inactive: map[*agent]bool{},
		remarks:  map[int]string{},
		saw:      map[string]int{},
		made:     map[string]bool{},
		scale:    max(1, opts.Agents/200),
	}
	w.rng = rand.New(w.pcg)
	w.checks = newChecks(w)
	w.journal = newJournal(w)
	w.histories = newHistories(w)
	w.restores = newRestores(w)
	w.lists = rand.New(rand.NewPCG(opts.Seed, 1<<62))
	w.election = &election{w: w}
	w.users = newUsers(w)
	defer func() {
		if opts.Coverage != nil {
			opts.Coverage.add(w.saw)
		}
		if p := recover(); p != nil {
			w.journal.tell()
			what := fmt.Sprint(p)
			if _, ours := p.(failed); !ours {
				what = fmt.Sprintf("panic: %v\n%s", p, stack())
			}
			failure = &Failure{Options: opts, Step: w.n, What: what, Recent: w.checks.recent(), Chosen: w.chosen, Remarks: w.remarks}
		}
	}()
	w.begin()
	w.play()
	if opts.Restore {
		w.restores.loseAll()
	}
	w.settle()
	return nil
}

// begin starts everything.
func (w *world) begin() {
	w.choose(0)
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
	for i := range w.opts.Agents {
		w.addAgent(i)
	}
	for i := range schedulerCount {
		s := &schedulerProcess{w: w, number: i + 1}
		w.schedulers = append(w.schedulers, s)
		s.start()
	}
	w.settleEffects()
}

// choose begins the choices of a step, which depend on its number alone: so a
// script may leave out others.
func (w *world) choose(step int) { w.pcg.Seed(w.opts.Seed, uint64(step)) }

// chance is true once in n.
func (w *world) chance(n int) bool { return w.rng.IntN(n) == 0 }

func (w *world) trace(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if w.opts.Script != nil && w.remarks[w.n] == "" {
		w.remarks[w.n] = text
	}
	line := w.now.Format("15:04:05.000 ") + text
	w.checks.note(line)
	if w.opts.Trace != nil {
		w.opts.Trace(line)
	}
}

// play does one thing after the other: what the weights make likely, or the
// next best.
func (w *world) play() {
	if w.opts.Script != nil {
		for _, c := range w.opts.Script {
			w.choose(c.Step)
			w.rng.IntN(actionsWeight)
			w.do(c)
		}
		return
	}
	for step := range w.opts.Steps {
		w.choose(step + 1)
		n := w.rng.IntN(actionsWeight)
		for _, a := range actions {
			if n -= a.weight; n < 0 {
				w.do(Choice{step + 1, a.name})
				break
			}
		}
	}
}

func (w *world) do(c Choice) {
	w.n = c.Step
	w.chosen = append(w.chosen, c)
	actionNamed[c.Action](w)
	w.settleEffects()
	w.checks.run()
	w.restores.look()
}

// anyOf has one of the schedulers do something: the first that can.
func (w *world) anyOf(do func(*schedulerProcess) bool) bool {
	first := w.rng.IntN(len(w.schedulers))
	for i := range w.schedulers {
		if do(w.schedulers[(first+i)%len(w.schedulers)]) {
			return true
		}
	}
	return false
}

// leading is one that believes to lead, if any does.
func (w *world) leading() *schedulerProcess {
	var found *schedulerProcess
	w.anyOf(func(s *schedulerProcess) bool {
		if s.up && s.core != nil {
			found = s
		}
		return found != nil
	})
	return found
}

// leader is the one that may write.
func (w *world) leader() *schedulerProcess {
	for _, s := range w.schedulers {
		if s.up && s.core != nil && s.epoch == w.journal.epoch {
			return s
		}
	}
	return nil
}

// next is when something is due, at the latest then.
func (w *world) next(latest time.Time) time.Time {
	dues := []time.Time{w.model.Wake(), w.timers.next(), w.election.next()}
	for _, s := range w.schedulers {
		dues = append(dues, s.wake())
	}
	for _, due := range dues {
		if !due.IsZero() && due.Before(latest) {
			latest = due
		}
	}
	return latest
}

// advance lets time pass up to the next thing that is due, or a little less.
func (w *world) advance() {
	w.moveTo(w.next(w.now.Add(time.Duration(w.rng.IntN(20_000)) * time.Millisecond)))
}

func (w *world) moveTo(next time.Time) {
	if next.After(w.now) {
		w.now = next
	}
	w.election.tick()
	w.model.Tick(w.now)
	w.settleEffects()
	w.timers.fire(w.now)
	w.settleEffects()
	w.histories.move()
	for _, s := range w.schedulers {
		s.tick()
	}
}

// settle ends all faults, lets everything come to rest, and checks that what
// runs is what is wanted.
func (w *world) settle() {
	w.choose(-1)
	w.calm = true
	w.trace("-- calm: no more faults, no more work")
	w.heal()
	end := w.now.Add(settleMost)
	for rounds := 0; w.now.Before(end) && rounds < 200_000; rounds++ {
		for w.anyOf((*schedulerProcess).receive) || w.anyOf((*schedulerProcess).progress) {
			w.settleEffects()
		}
		w.settleEffects()
		w.users.retry()
		w.users.tend()
		w.reactivateAll()
		if rounds%16 == 0 && w.checks.atRest() {
			break
		}
		next := w.next(end)
		// With many agents there is always something due: then a round does more.
		next = later(next, w.now.Add(time.Millisecond))
		if w.scale > 1 {
			next = later(next, w.now.Add(coarse))
		}
		w.moveTo(next)
		w.checks.run()
	}
	w.checks.quiet()
}

// coarse is how much time a round of settle takes at least in a large cluster.
const coarse = 2 * time.Second

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// settleMost is how long after the last fault all must be well: each step of a
// deploy may take its deadline, and so may its way back; at half the speed while
// a clock that was ahead is waited for.
const settleMost = 150 * time.Minute

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
				if s := w.subscribed(e.Stream); s != nil {
					s.happens(func() { s.arrived(e) })
				}
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
				w.byName[e.Agent].exits(e.Why)
			}
		}
	}
}

func (w *world) subscribed(stream model.StreamID) *schedulerProcess {
	for _, s := range w.schedulers {
		if s.up && s.stream == stream {
			return s
		}
	}
	return nil
}

// closed tells of a stream that ended: a scheduler now and then notices late.
func (w *world) closed(stream model.StreamID) {
	s := w.subscribed(stream)
	if s == nil {
		for _, a := range w.agents {
			a.streamClosed(stream)
		}
		return
	}
	notice := func() {
		s.happens(func() {
			if s.stream == stream {
				s.disconnect("the master closed the stream")
			}
		})
	}
	if w.calm || !w.chance(3) {
		notice()
		return
	}
	w.later(w.upTo(5*time.Second), notice)
}

func (w *world) store(e model.Store) {
	records := w.registry
	if e.Agent != "" {
		records = w.byName[e.Agent].records
	} else {
		w.checks.registered(e.Key, e.Value)
	}
	if e.Value == nil {
		delete(records, e.Key)
	} else {
		records[e.Key] = e.Value
	}
}
