package fault

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
)

// load is users who write all the time: one starts a run, one scales a service.
// Each repeats a write under its idempotency key, at one scheduler after the
// other, until it is answered. It remembers every answer.
type load struct {
	schedulers []*scheduler
	runs       string // name of a batch job
	scaled     string // name of a service
	pace       time.Duration

	answers *answers

	mu      sync.Mutex
	started map[string]string // run by the key it was asked for with
	scale   int               // last one answered
	refused []string          // distinct problems, of writes that were repeated
	failed  error             // answers that no user can make sense of
}

// run writes until ctx ends; a write under way is then repeated until it is
// answered.
func (l *load) run(ctx context.Context) {
	var users sync.WaitGroup
	every := func(write func(n int)) {
		users.Go(func() {
			pace := time.NewTicker(l.pace)
			defer pace.Stop()
			for n := 0; ctx.Err() == nil; n++ {
				write(n)
				select {
				case <-pace.C:
				case <-ctx.Done():
				}
			}
		})
	}
	every(l.startRun)
	every(l.rescale)
	users.Wait()
}

func (l *load) startRun(int) { l.start(fmt.Sprintf("run-%d", l.count()), nil) }

// askFirst asks one scheduler to start a run, however long its answer takes, and
// others only if that is none. What it returns waits for an answer.
func (l *load) askFirst(first *scheduler, key string) (answered func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.start(key, first)
	}()
	return func() { <-done }
}

func (l *load) start(key string, first *scheduler) {
	once := func(ctx context.Context, s *scheduler) (*api.Written, error) {
		return s.StartRuns(ctx, l.runs, []api.NewRun{{Parameters: map[string]string{"key": key}}}, client.WriteOptions{IdempotencyKey: key})
	}
	var answer *api.Written
	if first != nil {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if answer, _ = once(ctx, first); answer != nil {
			l.answers.note(key)
		}
	}
	if answer == nil {
		answer = l.write(key, once)
	}
	if answer == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(answer.Runs) != 1 {
		l.failed = fmt.Errorf("the write %s was answered with runs %v", key, answer.Runs)
		return
	}
	l.started[key] = answer.Runs[0]
}

func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.started)
}

func (l *load) rescale(n int) {
	to := n%3 + 1
	key := "scale-" + strconv.FormatInt(time.Now().UnixNano(), 10)
	answer := l.write(key, func(ctx context.Context, s *scheduler) (*api.Written, error) {
		return s.ScaleJob(ctx, l.scaled, to, client.WriteOptions{IdempotencyKey: key})
	})
	if answer != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.scale = to
	}
}

// write repeats a write until it is answered, or gives up after a while.
func (l *load) write(key string, once func(context.Context, *scheduler) (*api.Written, error)) *api.Written {
	var last error
	for n, over := 0, time.Now().Add(2*patience); time.Now().Before(over); n++ {
		s := l.schedulers[n%len(l.schedulers)]
		ctx, cancel := context.WithTimeout(context.Background(), impatience)
		answer, err := once(ctx, s)
		cancel()
		if err == nil {
			l.answers.note(key)
			return answer
		}
		last = err
		l.refuse(err)
		if n%len(l.schedulers) == len(l.schedulers)-1 {
			<-time.After(50 * time.Millisecond) // all were asked: as a user's client would
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed = fmt.Errorf("the write %s was not answered: %w", key, last)
	return nil
}

func (l *load) refuse(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if text := err.Error(); !slices.Contains(l.refused, text) && len(l.refused) < 1000 {
		l.refused = append(l.refused, text)
	}
}

// impatience is how long a user waits for one scheduler before another is asked.
const impatience = 3 * time.Second

// answers are the writes that were answered, by their idempotency keys.
type answers struct {
	mu sync.Mutex
	at map[string]time.Time
}

func (a *answers) note(key string) {
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.at[key] = now
}

func (a *answers) all() map[string]time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.at)
}
