package endpoints

import (
	"context"
	"errors"
	"iter"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/perigee-sched/perigee/api"
)

// Source tells of jobs and their endpoints: a client.Client.
type Source interface {
	Job(ctx context.Context, job string) (*api.Job, error)
	FollowEndpoints(ctx context.Context, job string) iter.Seq2[*api.Endpoints, error]
}

// Follower follows the endpoints of several jobs.
type Follower struct {
	Source Source
	Jobs   []string
	// Tell is told what keeps it from following.
	Tell func(string)

	mu    sync.Mutex
	away  bool // nobody answers
	known map[string]*known
	// changed has a place for one: what is known has changed since it was read.
	changed chan struct{}
}

// known is what was told of a job.
type known struct {
	ports   []string
	deploys map[uint32]bool // whose ports are among ports
	serving *api.Endpoints
}

// goneFor is how long to wait before a job that is gone is looked for again.
const goneFor = 5 * time.Second

// Run sends all services, in the order of Jobs, whenever one has changed; not
// before something is known of each. It ends with ctx, and with an error when the
// token that is shown is valid no more, which no waiting mends. A job that is gone
// stays as it was last: its end is told by its endpoints.
func (f *Follower) Run(ctx context.Context, updates chan<- []Service) error {
	ctx, refuse := context.WithCancelCause(ctx)
	defer refuse(nil)
	f.known, f.changed = map[string]*known{}, make(chan struct{}, 1)
	var work sync.WaitGroup
	defer work.Wait()
	for _, job := range f.Jobs {
		work.Go(func() {
			if err := f.follow(ctx, job); err != nil {
				refuse(err)
			}
		})
	}
	for {
		select {
		case <-ctx.Done():
			return refused(context.Cause(ctx))
		case <-f.changed:
		}
		services := f.services()
		if services == nil {
			continue
		}
		select {
		case <-ctx.Done():
			return refused(context.Cause(ctx))
		case updates <- services:
		}
	}
}

// refused is err if it says that the token is not valid, or no more.
func refused(err error) error {
	var p *api.Problem
	if errors.As(err, &p) && p.Status == http.StatusUnauthorized {
		return err
	}
	return nil
}

// follow follows one job, again and again.
func (f *Follower) follow(ctx context.Context, job string) error {
	said := ""
	for {
		for e, err := range f.Source.FollowEndpoints(ctx, job) {
			switch {
			case ctx.Err() != nil:
				return nil
			case refused(err) != nil:
				return err
			case err == nil:
				said = ""
				f.learn(ctx, job, e)
			case err.Error() != said:
				said = err.Error()
				f.Tell(said + "; what was known stays")
			}
		}
		select {
		case <-time.After(goneFor):
		case <-ctx.Done():
			return nil
		}
	}
}

// Lost is to be called when the Source has lost a job's stream, why says how; it
// opens it again by itself.
func (f *Follower) Lost(why string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.away {
		f.away = true
		f.Tell(why + "; what was known stays")
	}
}

// learn takes the endpoints of a job. The ports that its spec names are asked for
// when instances of another deploy serve.
func (f *Follower) learn(ctx context.Context, job string, e *api.Endpoints) {
	f.mu.Lock()
	if f.away {
		f.away = false
		f.Tell("a scheduler answers again")
	}
	k := f.known[job]
	f.mu.Unlock()
	next := &known{serving: e}
	if k != nil {
		next.ports, next.deploys = k.ports, k.deploys
	}
	if k == nil || slices.ContainsFunc(e.Endpoints, func(e api.Endpoint) bool { return !k.deploys[e.Deploy] }) {
		next.ports, next.deploys = f.ports(ctx, job, next.ports), map[uint32]bool{}
		for _, e := range e.Endpoints {
			next.deploys[e.Deploy] = true
		}
	}
	f.mu.Lock()
	f.known[job] = next
	f.mu.Unlock()
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

// ports are those of a job's spec, or what was known of them when that cannot be
// had.
func (f *Follower) ports(ctx context.Context, job string, before []string) []string {
	j, err := f.Source.Job(ctx, job)
	var p *api.Problem
	switch {
	case err == nil && j.Spec != nil:
		return j.Spec.Ports
	case err != nil && ctx.Err() == nil && !(errors.As(err, &p) && p.Status == http.StatusNotFound):
		f.Tell(err.Error())
	}
	return before
}

// services are all jobs as they are known, nil while one is not.
func (f *Follower) services() []Service {
	f.mu.Lock()
	defer f.mu.Unlock()
	services := make([]Service, 0, len(f.Jobs))
	for _, job := range f.Jobs {
		k := f.known[job]
		if k == nil {
			return nil
		}
		services = append(services, NewService(k.ports, k.serving))
	}
	return services
}
