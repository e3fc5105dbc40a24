package mesos

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"time"

	"github.com/perigee-sched/perigee/scheduler/core"
)

// Options of a Driver. Zero values that have a default are replaced by it.
type Options struct {
	// Master is "host:port[,host:port…]" or "zk://h1:2181,h2:2181/mesos".
	Master    string
	Framework FrameworkOptions
	Executor  ExecutorOptions

	// Credentials that masters are shown; FrameworkInfo has their principal.
	Credentials Credentials
	// TLS, when not nil, is what masters and agents are spoken to with.
	TLS *tls.Config

	// Deliver hands events to the engine, in order, and blocks while it is
	// full. One call carries whatever has arrived meanwhile. An error ends Run.
	Deliver func(ctx context.Context, events ...core.Event) error

	// Leads says whether this scheduler still leads. It is asked before anything
	// is written to Mesos, which would take a SUBSCRIBE from a scheduler that was
	// paused since the engine asked for it. When it does not, the subscription is
	// given up. Always, when nil.
	Leads func() bool

	Logger *slog.Logger // slog.Default() when nil

	// MaxSilence is how long, in heartbeat intervals of the master, a stream
	// may be silent before it is dropped; 2.5 when 0.
	MaxSilence float64
	// BackoffMin and BackoffMax bound the wait before the master is looked for
	// again: it doubles with each attempt and is halved at most by chance. 200 ms
	// and 15 s when 0.
	BackoffMin, BackoffMax time.Duration
	// CallTimeout bounds each call from when it is written, and connecting;
	// 10 s when 0. Past it the call's outcome is unknown, and the subscription
	// is given up.
	CallTimeout time.Duration
	// AgentsEvery is the shortest time between two GET_AGENTS; 1 s when 0. The
	// longest is AgentsAgain, 30 s when 0: an agent whose resources are not wanted
	// is not offered, so nothing else says that it joined.
	AgentsEvery, AgentsAgain time.Duration
	// Lanes is how many connections carry calls, but for RECONCILE; 8 when 0.
	Lanes int
	// Random gives numbers in [0,1) for the jitter; math/rand when nil.
	Random func() float64

	// dial replaces the network in tests.
	dial func(ctx context.Context, address string) (net.Conn, error)
}

// FrameworkOptions is what Mesos is told about this framework.
type FrameworkOptions struct {
	Name string // "perigee" when empty
	// User that executors run as, unless a command says otherwise. Mesos does
	// not let it change in a framework's life. "root" when empty.
	User string
	Role string // "perigee" when empty
	// FailoverTimeout is how long Mesos keeps the tasks of a framework that is
	// not subscribed; one week when 0.
	FailoverTimeout time.Duration
	Principal       string // the credentials' when empty
	WebUI           string // URL
	Hostname        string // the machine's when empty
}

// ExecutorOptions is how tasks' executors are started.
type ExecutorOptions struct {
	// URL that agents fetch perigee-executor from.
	URL string
	// SHA256 of it, in hex. It is checked before every start.
	SHA256 string
	// Key, when not nil, is asked at each subscription for what the URL's query has
	// as key, so that agents may download; none when "".
	Key func() string
	// CPUs and Memory (MB) that each executor takes beside its task; at least,
	// and when 0, Mesos's minimum of 0.01 and 32.
	CPUs, Memory float64
	// Environment of the executor.
	Environment map[string]string
}

// Mesos's MIN_CPUS and MIN_MEM (src/master/constants.hpp): below them it warns
// for every executor, and its isolators round up.
const (
	minExecutorCPUs   = 0.01
	minExecutorMemory = 32
)

// Overhead is what each task takes on its agent beside its own needs.
func (o ExecutorOptions) Overhead() core.Amounts {
	return core.Amounts{
		CPUs:   fixed(max(o.CPUs, minExecutorCPUs)),
		Memory: fixed(max(o.Memory, minExecutorMemory)),
	}
}

// Validate says what is missing or malformed.
func (o Options) Validate() error {
	var errs []error
	if _, err := parseMaster(o.Master); err != nil {
		errs = append(errs, err)
	}
	if o.Executor.URL == "" {
		errs = append(errs, errors.New("the executor's URL is missing: agents fetch perigee-executor from there"))
	}
	if b, err := hex.DecodeString(o.Executor.SHA256); err != nil || len(b) != 32 {
		errs = append(errs, fmt.Errorf("the executor's SHA-256 %q is not 64 hexadecimal digits", o.Executor.SHA256))
	}
	return errors.Join(errs...)
}

func (o Options) withDefaults() Options {
	if o.Leads == nil {
		o.Leads = func() bool { return true }
	}
	setDefault(&o.Framework.Name, "perigee")
	setDefault(&o.Framework.User, "root")
	setDefault(&o.Framework.Role, "perigee")
	setDefault(&o.Framework.FailoverTimeout, 7*24*time.Hour)
	if o.Framework.Hostname == "" {
		o.Framework.Hostname, _ = os.Hostname()
	}
	setDefault(&o.Framework.Principal, o.Credentials.Principal)
	setDefault(&o.MaxSilence, 2.5)
	setDefault(&o.BackoffMin, 200*time.Millisecond)
	setDefault(&o.BackoffMax, 15*time.Second)
	setDefault(&o.CallTimeout, 10*time.Second)
	setDefault(&o.AgentsEvery, time.Second)
	setDefault(&o.AgentsAgain, 30*time.Second)
	setDefault(&o.Lanes, 8)
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Random == nil {
		o.Random = rand.Float64
	}
	if o.dial == nil {
		dialer := net.Dialer{Timeout: o.CallTimeout, KeepAlive: 15 * time.Second}
		o.dial = func(ctx context.Context, address string) (net.Conn, error) {
			return dialer.DialContext(ctx, "tcp", address)
		}
	}
	if o.TLS != nil {
		o.dial = overTLS(o.dial, o.TLS)
	}
	return o
}

func setDefault[T comparable](value *T, otherwise T) {
	var zero T
	if *value == zero {
		*value = otherwise
	}
}
