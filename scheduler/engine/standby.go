package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/perigee-sched/perigee/scheduler/journal"
	"github.com/perigee-sched/perigee/scheduler/lease"
)

// Run leads whenever the lease says so, and follows the journal else, until ctx
// ends: then it hands over, and returns nil. A leadership that ends by itself
// is followed by standing for election again. Errors are those that waiting
// does not mend. Without a lease, Run leads once. It is called once.
func (e *Engine) Run(ctx context.Context) error {
	if e.opts.Lease == nil {
		return e.current.Load().run(ctx)
	}
	for {
		term, err := e.standBy(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}
		if err := e.lead(ctx, term); err != nil || ctx.Err() != nil {
			return err
		}
		if err := pause(ctx, standAgain); err != nil {
			return nil
		}
	}
}

const (
	// standAgain is how long a scheduler that led waits before it stands for
	// election: another is to come first.
	standAgain = 200 * time.Millisecond
	// tryAgain is how long to wait after the journal or the lease failed.
	tryAgain = time.Second
	// releaseTimeout is how long giving up the lease may take: then it runs out.
	releaseTimeout = 3 * time.Second
)

// standBy follows the journal until this scheduler is elected.
func (e *Engine) standBy(ctx context.Context) (lease.Term, error) {
	follower, ok := e.opts.Journal.(journal.Follower)
	if !ok {
		return e.acquire(ctx)
	}
	var term lease.Term
	parts, inner := errgroup.WithContext(ctx)
	following, stop := context.WithCancel(inner)
	defer stop()
	loaded := make(chan struct{})
	parts.Go(func() error { return e.follow(following, follower, sync.OnceFunc(func() { close(loaded) })) })
	parts.Go(func() (err error) {
		defer stop()
		select { // who is not up to date would make others wait
		case <-loaded:
		case <-inner.Done():
			return inner.Err()
		}
		term, err = e.acquire(inner)
		return err
	})
	err := parts.Wait()
	if err != nil && term != nil {
		e.release(ctx, term)
	}
	return term, err
}

// follow has the replica follow the journal until ctx ends.
func (e *Engine) follow(ctx context.Context, follower journal.Follower, loaded func()) error {
	for told := (rarely{}); ; {
		err := follower.Follow(ctx, &reader{e.replica, loaded})
		switch {
		case ctx.Err() != nil:
			return nil
		case final(err):
			return fmt.Errorf("follow the journal: %w", err)
		case errors.Is(err, journal.ErrBehind):
			e.log.Info("this standby fell behind the journal, and reads it anew", "index", e.View().Index)
			continue
		}
		if told.due(err) {
			e.log.Warn("the journal cannot be followed: reads show what is known so far", "index", e.View().Index, "error", err)
		}
		if pause(ctx, tryAgain) != nil {
			return nil
		}
	}
}

// reader is a replica that says when it is loaded.
type reader struct {
	*replica
	loaded func()
}

// Reached implements journal.Reader.
func (r *reader) Reached(index uint64) error {
	err := r.replica.Reached(index)
	if err == nil {
		r.loaded()
	}
	return err
}

func (e *Engine) acquire(ctx context.Context) (lease.Term, error) {
	for told := (rarely{}); ; {
		term, err := e.opts.Lease.Acquire(ctx)
		switch {
		case err == nil:
			return term, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case final(err):
			return nil, fmt.Errorf("stand for election: %w", err)
		}
		if told.due(err) {
			e.log.Warn("this scheduler cannot stand for election", "error", err)
		}
		if err := pause(ctx, tryAgain); err != nil {
			return nil, err
		}
	}
}

// lead leads for a term. It returns the errors that end a scheduler.
func (e *Engine) lead(ctx context.Context, term lease.Term) error {
	l := newLeadership(e, term)
	e.current.Store(l)
	e.log.Info("elected: this scheduler leads")
	err := l.run(ctx)
	e.current.Store(nil)
	if !errors.Is(err, errLost) {
		e.release(ctx, term)
	}
	close(l.released)
	switch {
	case ctx.Err() != nil:
		e.log.Info("handed over: this scheduler ends")
	case errors.Is(err, errResigned):
		e.log.Info("handed over: this scheduler leads no more, and stands by", "reason", err)
		return nil
	case e.fatal(err):
		return err
	default:
		e.log.Warn("this scheduler leads no more, and stands for election again; what it had not written is dropped",
			"reason", err, "epoch", l.position.Epoch, "index", e.View().Index)
		return nil
	}
	return err
}

// fatal says whether a leadership ended in a way that the next would too.
func (e *Engine) fatal(err error) bool {
	if tooBig := (*TooBigError)(nil); errors.As(err, &tooBig) {
		return false // what is durable is good
	}
	// Where nobody else can lead, the storage is this machine's, and what is
	// wrong with it is told at once.
	return !e.Standby() || final(err)
}

func (e *Engine) release(ctx context.Context, term lease.Term) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
	defer cancel()
	if err := term.Release(ctx); err != nil {
		e.log.Warn("the lease cannot be released, and others wait until it runs out", "error", err)
	}
}

// final says whether an error stays when it is tried again.
func final(err error) bool {
	var corrupt *journal.CorruptError
	var unreadable *unreadableError
	var driver *driverError
	return errors.As(err, &corrupt) || errors.As(err, &unreadable) || errors.As(err, &driver) ||
		errors.Is(err, journal.ErrRefused) || errors.Is(err, journal.ErrClosed)
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// StepDown ends this scheduler's leadership and returns when another can lead.
// Then it stands by. It fails with ErrUnavailable when it does not lead.
func (e *Engine) StepDown(ctx context.Context) error {
	l := e.current.Load()
	if l == nil {
		return fmt.Errorf("%w: it does not lead%s", ErrUnavailable, e.whoLeads())
	}
	if !e.Standby() {
		return ErrAlone
	}
	if e.opts.Leaving != nil {
		e.opts.Leaving(ctx)
	}
	l.resign()
	select {
	case <-l.released:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ErrAlone means that no other scheduler can lead.
var ErrAlone = errors.New("no other scheduler can lead: the journal is kept on this machine alone")

// Leads says whether this scheduler leads and its lease says that nobody else
// can. One that is cut off from the others does not know who leads.
func (e *Engine) Leads() bool {
	l := e.current.Load()
	return l != nil && e.View().Leads && l.inTerm(0)
}

// Leader returns the address of the scheduler that leads, "" when none does or
// that cannot be told. It may be this one's before View says that it leads.
func (e *Engine) Leader() string {
	if e.Leads() {
		return e.opts.Elected.Address
	}
	if e.opts.Lease == nil {
		return ""
	}
	return e.opts.Lease.Leader()
}

// Standby says whether another scheduler may lead instead of this one.
func (e *Engine) Standby() bool {
	_, follows := e.opts.Journal.(journal.Follower)
	return follows && e.opts.Lease != nil
}

// Status says what part a scheduler has.
type Status struct {
	Leads bool
	// Address is this scheduler's, Leader that of the one which leads, "" when
	// none does or that cannot be told.
	Address, Leader string
	// Stalled says why nothing can be written now, "" when it can.
	Stalled string
	// Problem says why who leads cannot be told, "" when it can or nobody does.
	Problem string
	// Schedulers are all that live, the leader first and those that do not stand
	// for election last; nil while the lease cannot tell.
	Schedulers []lease.Member
}

// Status of this scheduler.
func (e *Engine) Status() Status {
	s := Status{Leads: e.Leads(), Address: e.opts.Elected.Address, Leader: e.Leader()}
	if l := e.current.Load(); l != nil {
		if s.Stalled = l.stalled.reason(); s.Stalled == "" && e.View().Leads && !s.Leads {
			s.Stalled = notRenewed
		}
	}
	s.Schedulers, _ = e.members()
	if p, ok := e.opts.Lease.(interface{ Problem() string }); ok && s.Leader == "" {
		s.Problem = p.Problem()
	}
	return s
}
