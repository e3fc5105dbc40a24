package model

import (
	"fmt"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	agentapi "github.com/mesos/mesos-go/api/v1/lib/agent"
	operator "github.com/mesos/mesos-go/api/v1/lib/master"
)

// Version is the release of Mesos whose behaviour is modelled.
const Version = "1.12.0"

// Options are the master's flags. Zero durations and counts are replaced by
// Mesos's defaults.
type Options struct {
	// UUID returns random uuids (version 4). It is the model's only source of
	// what differs from run to run.
	UUID func() [16]byte

	Hostname string // of the master
	IP       string
	Port     int

	Secure bool // agents are reached by https

	AllocationInterval     time.Duration // 1 s
	AgentPingTimeout       time.Duration // 15 s
	MaxAgentPingTimeouts   int           // 5
	AgentReregisterTimeout time.Duration // 10 min
	HeartbeatInterval      time.Duration // 15 s, of streams
}

// AgentSpec is an agent's machine and flags. Zero durations are replaced by
// Mesos's defaults.
type AgentSpec struct {
	Name       string // how the front calls it; never shown to clients
	Hostname   string
	IP         string
	Port       int
	Resources  []mesos.Resource
	Attributes []mesos.Attribute

	// Durable agents store their state, so that they can be started again.
	// Agents that are never restarted save themselves the trouble.
	Durable bool

	ExecutorRegistrationTimeout   time.Duration // 1 min
	ExecutorReregistrationTimeout time.Duration // 2 s
	ExecutorShutdownGracePeriod   time.Duration // 5 s
}

// Answer is what a call is answered with. A Code of 200 with a Stream opens
// it; otherwise Text or one of the responses is the body, if any.
type Answer struct {
	Code       int
	Text       string
	Stream     StreamID
	StreamUUID string // what Mesos-Stream-Id says, for schedulers only
	Master     *operator.Response
	Agent      *agentapi.Response
}

func accepted() Answer                    { return Answer{Code: 202} }
func okay() Answer                        { return Answer{Code: 200} }
func refuse(code int, text string) Answer { return Answer{Code: code, Text: text} }
func badRequest(format string, args ...any) Answer {
	return refuse(400, fmt.Sprintf(format, args...))
}

// Model is the cluster. Its methods must not be called concurrently.
type Model struct {
	opts    Options
	now     time.Time
	effects []Effect
	inbox   []func() // messages between master and agents, in order
	timers  timers
	streams StreamID // last given
	master  *master  // nil while its process is down
	hosts   *ordered[string, *host]
}

// host is a machine: what of an agent outlives its process.
type host struct {
	spec  AgentSpec
	agent *agent // nil while the process is down
}

// New returns a cluster in which nothing runs.
func New(opts Options) *Model {
	defaultTo(&opts.AllocationInterval, time.Second)
	defaultTo(&opts.AgentPingTimeout, 15*time.Second)
	defaultTo(&opts.AgentReregisterTimeout, 10*time.Minute)
	defaultTo(&opts.HeartbeatInterval, 15*time.Second)
	if opts.MaxAgentPingTimeouts == 0 {
		opts.MaxAgentPingTimeouts = 5
	}
	return &Model{opts: opts, hosts: newOrdered[string, *host]()}
}

func defaultTo(d *time.Duration, value time.Duration) {
	if *d == 0 {
		*d = value
	}
}

// AddAgent makes a machine known. Its agent does not run yet. A second call
// with the same name replaces the flags, from the next start on.
func (m *Model) AddAgent(spec AgentSpec) {
	defaultTo(&spec.ExecutorRegistrationTimeout, time.Minute)
	defaultTo(&spec.ExecutorReregistrationTimeout, 2*time.Second)
	defaultTo(&spec.ExecutorShutdownGracePeriod, 5*time.Second)
	if h := m.hosts.get(spec.Name); h != nil {
		h.spec = spec
		return
	}
	m.hosts.set(spec.Name, &host{spec: spec})
}

// Effects returns what the steps since the last call want done.
func (m *Model) Effects() []Effect {
	e := m.effects
	m.effects = nil
	return e
}

// Wake is when Tick is to be called at the latest; the zero time when nothing
// is to come.
func (m *Model) Wake() time.Time {
	var at time.Time
	if len(m.timers.heap) > 0 {
		at = m.timers.heap[0].at
	}
	if m.master != nil {
		if batch := m.master.alloc.batch; !batch.IsZero() && (at.IsZero() || batch.Before(at)) {
			at = batch
		}
	}
	return at
}

// Tick does what is due at now.
func (m *Model) Tick(now time.Time) { m.step(now, func() {}) }

// step runs one input: first what was due before it, then the input, then all
// messages between master and agents that follow from it, then offers.
func (m *Model) step(now time.Time, input func()) {
	if now.After(m.now) {
		m.now = now
	}
	m.fireDue()
	input()
	m.deliver()
	if m.master != nil {
		m.master.allocateIfDue()
		m.deliver()
	}
}

// post queues a message between master and agent. Both may be changing while
// it is sent, so it is delivered when the sender is done.
func (m *Model) post(message func()) { m.inbox = append(m.inbox, message) }

func (m *Model) deliver() {
	for i := 0; i < len(m.inbox); i++ {
		message := m.inbox[i]
		m.inbox[i] = nil
		message()
	}
	m.inbox = m.inbox[:0]
}

func (m *Model) emit(e Effect) { m.effects = append(m.effects, e) }

func (m *Model) newStream() StreamID {
	m.streams++
	return m.streams
}

func (m *Model) uuid() string { return formatUUID(m.opts.UUID()) }

const hexDigits = "0123456789abcdef"

func formatUUID(b [16]byte) string {
	var out [36]byte
	at := 0
	for i, x := range b {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			out[at] = '-'
			at++
		}
		out[at], out[at+1] = hexDigits[x>>4], hexDigits[x&15]
		at += 2
	}
	return string(out[:])
}

// seconds is a time as Mesos's status timestamps have it.
func seconds(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }

func timeInfo(t time.Time) *mesos.TimeInfo { return &mesos.TimeInfo{Nanoseconds: t.UnixNano()} }
