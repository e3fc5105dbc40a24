package engine

import (
	"cmp"
	"context"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/perigee-sched/perigee/scheduler/core"
)

// written says which steps of the core are in which entries of the journal, the
// earliest first.
type written struct {
	mu    sync.Mutex
	steps []stepAt
}

type stepAt struct{ index, step uint64 }

// writtenMost bounds what is remembered while histories lag. Beyond it, every
// second one is forgotten: then it is told a little later that they have a step.
const writtenMost = 100_000

func (w *written) add(index, step uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.steps) >= writtenMost {
		for i := range len(w.steps) / 2 {
			w.steps[i] = w.steps[2*i+1]
		}
		w.steps = w.steps[:len(w.steps)/2]
	}
	w.steps = append(w.steps, stepAt{index, step})
}

// step returns the last step of which all is in the entries up to an index, 0
// when that is less than what was loaded.
func (w *written) step(index uint64) uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := sort.Search(len(w.steps), func(i int) bool { return w.steps[i].index > index })
	if i == 0 {
		return 0
	}
	return w.steps[i-1].step
}

// forget drops what is before the entry of a step.
func (w *written) forget(step uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := sort.Search(len(w.steps), func(i int) bool { return w.steps[i].step > step })
	if i > 1 {
		w.steps = slices.Delete(w.steps, 0, i-1)
	}
}

const (
	// historiesEvery is the least time between two tellings of how far histories
	// are, and historiesAnyway how long it is until that is told when it has not
	// changed: one that is gone for long counts no more.
	historiesEvery  = time.Second
	historiesAnyway = 10 * time.Minute
)

// tellHistories has the core know what histories have. They move with every
// entry, so it is looked at now and then.
func (l *leadership) tellHistories(ctx context.Context) error {
	if l.e.opts.History == nil {
		return nil
	}
	look := time.NewTicker(historiesEvery)
	defer look.Stop()
	var told core.Histories
	for at := (time.Time{}); ; {
		now := l.histories()
		if !slices.Equal(now.Live, told.Live) || now.Shared != told.Shared || time.Since(at) >= historiesAnyway {
			if err := l.deliver(ctx, now); err != nil {
				return err
			}
			told, at = now, time.Now()
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// SharedHistory stands for all schedulers where their history is one.
const SharedHistory = "all"

// histories are those of the schedulers that live, by address.
func (l *leadership) histories() core.Histories {
	through, shared := l.e.opts.History.Through()
	own := core.HistoryAt{Address: l.e.opts.Elected.Address, Through: through}
	if shared {
		own.Address = SharedHistory
	}
	out := core.Histories{Live: []core.HistoryAt{own}, Shared: shared}
	if !shared {
		members, _ := l.e.members()
		for _, m := range members {
			if m.History != nil && m.Address != own.Address {
				out.Live = append(out.Live, core.HistoryAt{Address: m.Address, Through: *m.History})
			}
		}
	}
	least := ^uint64(0)
	for i := range out.Live {
		out.Live[i].Step = l.written.step(out.Live[i].Through)
		least = min(least, out.Live[i].Step)
	}
	l.written.forget(least)
	slices.SortFunc(out.Live, func(a, b core.HistoryAt) int { return cmp.Compare(a.Address, b.Address) })
	return out
}
