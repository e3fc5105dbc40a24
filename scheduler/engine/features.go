package engine

import (
	"context"
	"slices"

	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/lease"
)

// members are the schedulers that live, and a channel that is closed when that
// may have changed; nil while it cannot be told. Who is alone knows itself.
func (e *Engine) members() ([]lease.Member, <-chan struct{}) {
	if roll, ok := e.opts.Lease.(lease.Roll); ok {
		return roll.Members()
	}
	return []lease.Member{{Address: e.opts.Elected.Address, Version: e.opts.Elected.Version, Features: e.opts.Features, Stands: true}}, nil
}

// tellFeatures has the core know which features it may use. While the members
// cannot be told that is none: an older scheduler may have come.
func (l *leadership) tellFeatures(ctx context.Context) error {
	var told []string
	for {
		members, changed := l.e.members()
		if may := lease.Features(members); !slices.Equal(may, told) {
			l.e.log.Debug("features that all schedulers know", "features", may, "schedulers", len(members))
			if err := l.deliver(ctx, core.Features{Names: may}); err != nil {
				return err
			}
			told = may
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
