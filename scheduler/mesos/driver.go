package mesos

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/perigee-sched/perigee/scheduler/core"
)

// Driver is one scheduler's way to Mesos. New makes it, Run runs it, once.
type Driver struct {
	o    Options
	log  *slog.Logger
	dial func(ctx context.Context, address string) (net.Conn, error)
	http *http.Client // for what is not a call of the scheduler API

	queue      queue
	offers     offerBook
	outbox     *outbox
	subscribes chan core.Subscribe // capacity 1: only one is ever expected
	stats      stats
}

// New makes a driver. Options are checked by Run.
func New(o Options) *Driver {
	o = o.withDefaults()
	return &Driver{
		o: o, log: o.Logger, dial: o.dial,
		http: &http.Client{
			Timeout: o.CallTimeout,
			Transport: o.Credentials.over(&http.Transport{
				DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
					return o.dial(ctx, address)
				},
				DisableKeepAlives: true,
			}),
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		outbox:     newOutbox(),
		subscribes: make(chan core.Subscribe, 1),
	}
}

// Perform sends calls to Mesos, in order as the package says. It never blocks.
// Without a subscription, calls are dropped; of each Accept, Accepted tells the
// outcome whatever happens.
func (d *Driver) Perform(calls []core.Call) {
	dropped, subscribe := d.queue.perform(calls)
	for _, c := range dropped {
		d.drop(c, "there is no subscription")
	}
	if subscribe != nil {
		d.subscribes <- *subscribe
	}
}

// Flush waits until all calls performed so far were answered, or dropped, at
// most until ctx ends: then it says how many were not. It does not wait for
// answers to questions.
func (d *Driver) Flush(ctx context.Context) error {
	select {
	case <-d.queue.settled():
		return nil
	case <-ctx.Done():
	}
	queued, unanswered := d.queue.depth()
	return fmt.Errorf("%d calls are not sent and %d not answered: %w", queued, unanswered, ctx.Err())
}

// drop forgets a call, for ever or because its outcome is unknown.
func (d *Driver) drop(c core.Call, why string) {
	d.stats.dropped.Add(1)
	switch c := c.(type) {
	case core.Accept:
		d.outbox.put(core.Accepted{Tasks: taskIDs(c), Err: why})
	case core.Subscribe:
		d.log.Error("SUBSCRIBE performed that nobody waits for: it is dropped")
	}
}

func taskIDs(a core.Accept) []string {
	ids := make([]string, len(a.Launches))
	for i := range a.Launches {
		ids[i] = a.Launches[i].Task
	}
	return ids
}

// Run keeps the subscription alive. It returns nil when ctx ends, a *FatalError
// when subscribing again can never succeed, and otherwise what is wrong with
// the options, or Deliver's error.
func (d *Driver) Run(ctx context.Context) error {
	if err := d.o.Validate(); err != nil {
		return err
	}
	masters, err := d.newDetector()
	if err != nil {
		return err
	}
	defer masters.close()
	// A request to ZooKeeper may wait for a server, and ends with the connection.
	defer context.AfterFunc(ctx, masters.close)()
	g, inner := errgroup.WithContext(ctx)
	g.Go(func() error { return d.outbox.run(inner, d.o.Deliver) })
	g.Go(func() error { return d.subscribeForEver(inner, masters) })
	err = g.Wait()
	if ctx.Err() != nil {
		return nil
	}
	if fatal := (*FatalError)(nil); errors.As(err, &fatal) {
		// Deliver was cut short, and the engine should know why all ends.
		return errors.Join(err, d.o.Deliver(ctx, d.outbox.take()...))
	}
	return err
}

// subscribeForEver subscribes whenever there is no subscription.
func (d *Driver) subscribeForEver(ctx context.Context, masters detector) error {
	for failures := 0; ; failures++ {
		if failures > 0 {
			if err := d.backOff(ctx, failures); err != nil {
				return err
			}
		}
		master, err := masters.detect(ctx)
		if err != nil {
			d.log.Warn("no leading mesos master found", "masters", d.o.Master, "attempt", failures+1, "error", err)
			continue
		}
		d.queue.expect()
		if err := d.outbox.offer(ctx, core.Connecting{}); err != nil {
			return err
		}
		var subscribe core.Subscribe
		select {
		case subscribe = <-d.subscribes:
		case <-ctx.Done():
			return ctx.Err()
		}
		watch := func(ctx context.Context) error { return masters.watch(ctx, master) }
		settled, err := d.serve(ctx, master, watch, subscribe)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if settled {
			failures = 0
		}
		d.log.Warn("disconnected from mesos", "master", master, "reason", err)
		d.stats.disconnects.Add(1)
		d.outbox.put(core.Disconnected{Reason: err.Error()})
		if fatal := (*FatalError)(nil); errors.As(err, &fatal) {
			return err
		}
	}
}

// backOff waits before the nth attempt after a failure, n from 1.
func (d *Driver) backOff(ctx context.Context, n int) error {
	wait := d.o.BackoffMax
	if n <= 16 {
		wait = min(wait, d.o.BackoffMin<<(n-1))
	}
	wait = wait/2 + time.Duration(d.o.Random()*float64(wait/2))
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
