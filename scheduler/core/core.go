package core

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/perigee-sched/perigee/scheduler/record"
)

// Config is what operators set.
type Config struct {
	// Overhead is what an executor takes beside its task.
	Overhead Amounts
	// DefaultUser runs tasks whose spec names none.
	DefaultUser string
	// ReplaceAfter, in ms, is how long a task may be unreachable unless its
	// job says otherwise; 5 minutes when 0.
	ReplaceAfter int64
	// FinishedKeep bounds the finished tasks that stay in the journal, and the
	// finished runs likewise; 50,000 when 0.
	FinishedKeep int
	// History says that histories tell what they have (Histories), and that what
	// is finished is not to go before they do. Then FinishedFor, in ms, is how
	// long it stays at the most; 0: as long as there is room.
	History     bool
	FinishedFor int64
	// InstancesMost of a service, and PendingMost tasks that wait to be placed
	// before more runs are refused; 10,000 and 100,000 when 0.
	InstancesMost, PendingMost int
	// WebhooksPerTeam and WebhooksMost bound the webhooks of one team, and of all;
	// 100 and 1,000 when 0.
	WebhooksPerTeam, WebhooksMost int
}

// Core decides. See the package's documentation for how to use it.
type Core struct {
	cfg Config
	now int64 // Unix ms

	cluster *record.Cluster
	leader  *record.Leader
	elected *Elected // nil until this scheduler leads
	seq     uint64   // last id given out

	jobs   map[string]*job
	tasks  map[string]*task
	groups map[string]*group
	// deployGroups are several jobs' deploys that go together.
	deployGroups deployGroups

	webhooks    map[string]*webhook // by id
	webhookTail *record.WebhookTail // nil until it was noted
	deadLetters int                 // of all webhooks

	tokens      map[string]*record.Token // by id
	idempotency idempotency
	retention   retention
	histories   histories
	timers      timers
	instants    timers // of crons, by the wall clock
	behind      int64  // how far the wall clock is behind now, ms
	dirty       []*job // services to look at before the step ends
	cut         int    // how often lookedTooOften was true
	mesos       mesos
	census      census
	settling    settling
	settledAt   int64 // when that ended, in this leadership
	queue       queue
	pool        pool

	acting string // who asks for the request that is executed
	step   uint64 // number of this step
	edits  []edit // what this step changes, in order
	ready  Ready

	features []string // that every live scheduler knows
}

// edit is one record to write when the step ends, by then in its last version.
type edit struct {
	key     string
	current func() Record // nil result: delete
}

// loadStep is the step of what is loaded; what Load edits is written by the
// first Step.
const loadStep = 1

// newCore returns a Core that knows nothing yet.
func newCore(cfg Config) *Core {
	if cfg.ReplaceAfter == 0 {
		cfg.ReplaceAfter = 5 * 60 * 1000
	}
	if cfg.FinishedKeep == 0 {
		cfg.FinishedKeep = 50_000
	}
	if cfg.InstancesMost == 0 {
		cfg.InstancesMost = 10_000
	}
	if cfg.PendingMost == 0 {
		cfg.PendingMost = 100_000
	}
	if cfg.WebhooksPerTeam == 0 {
		cfg.WebhooksPerTeam = 100
	}
	if cfg.WebhooksMost == 0 {
		cfg.WebhooksMost = 1_000
	}
	return &Core{
		cfg:         cfg,
		step:        loadStep,
		jobs:        map[string]*job{},
		tasks:       map[string]*task{},
		groups:      map[string]*group{},
		webhooks:    map[string]*webhook{},
		tokens:      map[string]*record.Token{},
		idempotency: idempotency{replies: map[string]*record.IdempotentReply{}},
		mesos:       mesos{strays: map[string]int64{}},
		census:      census{known: map[string]*record.Agent{}},
		pool:        newPool(),
	}
}

// Step applies events at a time, Unix ms, and says what follows. Before
// Elected it does nothing.
func (c *Core) Step(now int64, events []Event) Ready {
	c.now = max(c.now, now) // a clock that jumps back stands still
	c.step++
	c.ready = Ready{}
	for _, e := range events {
		c.apply(e)
	}
	if c.elected == nil {
		return c.ready
	}
	c.fire()
	c.reconcileDirty()
	c.place()
	c.settleOffers()
	c.finish()
	return c.ready
}

func (c *Core) apply(e Event) {
	if _, ok := e.(Elected); !ok && c.elected == nil {
		return
	}
	switch e := e.(type) {
	case Elected:
		c.beginLeading(e)
	case Connecting:
		c.connecting()
	case Subscribed:
		c.subscribed(e)
	case Disconnected:
		c.disconnected(e.Reason)
	case Offers:
		c.offered(e.Offers)
	case ClockBehind:
		c.behind = e.By
	case Rescinded:
		c.rescinded(e.Offer)
	case Update:
		c.update(&e)
	case Accepted:
		c.accepted(e)
	case ListingAgents:
		c.census.listing()
	case Agents:
		c.agentsKnown(e.Agents)
		c.counted(e)
	case AgentRemoved:
		c.agentRemoved(e.Agent)
		c.gaveUp(e.Agent)
	case GateAnswered:
		c.gateAnswered(e)
	case Features:
		c.features = e.Names
	case Histories:
		c.historiesTold(e)
	case Request:
		c.request(&e)
	default:
		panic(fmt.Sprintf("core: no such event: %T", e))
	}
}

// fire looks at everything whose time has come.
func (c *Core) fire() {
	for {
		t, ok := c.timers.pop(c.now)
		if !ok {
			break
		}
		switch t.kind {
		case timerBackoff:
			c.enqueue(t.task)
		case timerKill:
			c.kill(t.task)
		case timerReady:
			c.judgeReady(t.task)
		case timerUnreachable:
			c.giveUp(t.task)
		case timerConfirm:
			c.confirmLaunch(t.task)
		case timerDeploy:
			c.rolloutDue(t.job)
		case timerTimed:
			c.revertDue(t.job)
		case timerReconcile:
			c.reconcileAgain()
		case timerSettle:
			c.settleDue()
		case timerIdempotency:
			c.forgetReplies()
		case timerFinished: // prune looks at every step
		case timerCensus:
			c.countMore()
		case timerOffers:
			c.pool.timer = 0 // settleOffers looks at every step
		}
	}
	for {
		t, ok := c.instants.pop(c.wall())
		if !ok {
			return
		}
		c.instantDue(t.job, t.at)
	}
}

// finish turns the step's edits into writes.
func (c *Core) finish() {
	c.prune()
	c.ready.Writes = make([]Write, 0, len(c.edits))
	for _, e := range c.edits {
		c.ready.Writes = append(c.ready.Writes, Write{Key: e.key, Record: e.current()})
	}
	clear(c.edits)
	c.edits = c.edits[:0]
	c.ready.Step = c.step
	c.ready.Wake, c.ready.Instant = c.wake(), c.instants.next()
}

func (c *Core) write(key string, current func() Record) {
	c.edits = append(c.edits, edit{key, current})
}

func (c *Core) delete(key string) {
	c.write(key, func() Record { return nil })
}

func (c *Core) call(call Call) { c.ready.Calls = append(c.ready.Calls, call) }

// emit tells an event. What a request causes at once, who asks for it causes,
// unless the event says who.
func (c *Core) emit(e *record.Event) {
	e.At = c.now
	if e.Actor == "" {
		e.Actor = c.acting
	}
	c.ready.Events = append(c.ready.Events, e)
}

// beginLeading makes the state, which was loaded, act.
func (c *Core) beginLeading(e Elected) {
	c.elected = &e
	if c.cluster == nil {
		c.cluster = &record.Cluster{Incarnation: e.Incarnation, CreatedAt: c.now}
	}
	c.seq = c.cluster.SequenceThrough
	if cluster := c.editCluster(); len(cluster.Secret) == 0 {
		cluster.Secret = e.Secret
	}
	c.writeLeader(&record.Leader{Scheduler: e.Scheduler, Address: e.Address, Version: e.Version, ElectedAt: c.now})
	c.emit(&record.Event{Type: "scheduler.elected", Object: e.Scheduler, Message: e.Address})
	c.resume()
}

func (c *Core) writeLeader(leader *record.Leader) {
	c.leader = leader
	c.write(record.KeyLeader, func() Record { return leader })
}

func (c *Core) editCluster() *record.Cluster {
	cluster := proto.CloneOf(c.cluster)
	c.cluster = cluster
	c.write(record.KeyCluster, func() Record { return cluster })
	return cluster
}

// sequenceBlock ids are taken from the journal at once, so that giving one out
// costs no write.
const sequenceBlock = 10_000

// nextID returns a number never given out before, in six digits or more, so
// that ids sort by age.
func (c *Core) nextID() string {
	if c.seq >= c.cluster.SequenceThrough {
		c.editCluster().SequenceThrough = c.seq + sequenceBlock
	}
	c.seq++
	return base36(c.seq)
}

func base36(n uint64) string {
	const digits = "0123456789abcdefghijklmnopqrstuvwxyz"
	var b [13]byte
	i := len(b)
	for n > 0 || i > len(b)-6 {
		i--
		b[i] = digits[n%36]
		n /= 36
	}
	return string(b[i:])
}
