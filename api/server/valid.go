package server

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/engine"
)

// openStreams are the answers that are still being given to those who showed a
// token of ours. One goroutine looks whether tokens are still valid whenever the
// state has changed, while there are any: not one for each.
type openStreams struct {
	work sync.WaitGroup
	mu   sync.Mutex
	open map[string]map[*openStream]bool // by token
	stop context.CancelFunc              // of who looks; nil while there are none
}

type openStream struct {
	token, from string
	end         context.CancelCauseFunc
}

// whileValid ends with the request, when the server stops, and when what the caller
// showed is no longer valid: then with a *problem as its cause.
func (s *Server) whileValid(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, free := s.whileShown(ctx)
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.life, cancel)
	return ctx, func() { stop(); cancel(); free() }
}

// whileShown is whileValid for what is finished when the server stops.
func (s *Server) whileShown(ctx context.Context) (context.Context, context.CancelFunc) {
	c := callerOf(ctx)
	ctx, cancel := context.WithCancelCause(ctx)
	free := func() { cancel(nil) }
	if c.ends != 0 {
		var over context.CancelFunc
		ctx, over = context.WithDeadlineCause(ctx, time.UnixMilli(c.ends), expired(c))
		free = func() { over(); cancel(nil) }
	}
	if !c.token {
		return ctx, free
	}
	one := &openStream{c.ID, c.from, cancel}
	s.streams.add(s, one)
	return ctx, func() { s.streams.remove(one); free() }
}

// ended returns why a context of whileValid ended, nil when the caller may go on.
func ended(ctx context.Context) *problem {
	var p *problem
	if errors.As(context.Cause(ctx), &p) {
		return p
	}
	return nil
}

func (o *openStreams) add(s *Server, one *openStream) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.open == nil {
		o.open = map[string]map[*openStream]bool{}
	}
	if o.open[one.token] == nil {
		o.open[one.token] = map[*openStream]bool{}
	}
	o.open[one.token][one] = true
	o.look(s.Scheduler.View()) // it may have been revoked since the request was looked at
	if o.stop == nil {
		ctx, stop := context.WithCancel(s.life)
		o.stop = stop
		o.work.Go(func() { o.watch(ctx, s) })
	}
}

func (o *openStreams) remove(one *openStream) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if delete(o.open[one.token], one); len(o.open[one.token]) == 0 {
		delete(o.open, one.token)
	}
	if len(o.open) == 0 && o.stop != nil {
		o.stop()
		o.stop = nil
	}
}

// watch ends what is revoked, until ctx does.
func (o *openStreams) watch(ctx context.Context, s *Server) {
	for v := s.Scheduler.View(); ctx.Err() == nil; _ = s.nextView(ctx, &v, lookPause) {
		o.mu.Lock()
		o.look(v)
		o.mu.Unlock()
	}
}

// look ends those whose tokens are valid no more. The lock is held.
func (o *openStreams) look(v *engine.View) {
	if !v.Loaded {
		return
	}
	for id, all := range o.open {
		p := errShown()
		if t := v.Token(id); t != nil && t.RevokedAt == 0 {
			continue
		} else if t != nil {
			p = revoked(t)
		}
		for one := range all {
			one.end(p)
		}
	}
}

// streamUse is how often an answer that lasts is noted as a use of its token.
const streamUse = 10 * time.Minute

// uses are those of the tokens whose streams are open, and which were not noted for
// a while.
func (o *openStreams) uses(v *engine.View) (all []core.TokenUse) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	for id, open := range o.open {
		t := v.Token(id)
		if t == nil || now.Sub(time.UnixMilli(t.LastUsedAt)) < streamUse {
			continue
		}
		for one := range open {
			all = append(all, core.TokenUse{ID: id, From: one.from, At: now.UnixMilli()})
			break
		}
	}
	return all
}
