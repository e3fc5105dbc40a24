package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/engine"
	"github.com/perigee-sched/perigee/scheduler/lease"
)

const (
	schedulerPath = "/v1/scheduler"
	stepDownPath  = schedulerPath + "/step-down"
	// askSchedulerTimeout bounds how long another scheduler is asked how far it is.
	askSchedulerTimeout = time.Second
)

type schedulerOutput struct {
	Body api.Scheduler
}

func (s *Server) getScheduler(ctx context.Context, _ *struct{}) (*schedulerOutput, error) {
	out := &schedulerOutput{s.scheduler()}
	if b := &out.Body; b.Role == api.RoleStandby && b.Leader != "" && b.Leader != b.Address {
		if of, err := s.askScheduler(ctx, b.Leader); err == nil && of.Role == api.RoleLeader {
			b.Lag = behind(b, of)
		}
	}
	return out, nil
}

// behind is how many entries a standby is behind its leader.
func behind(standby, leader *api.Scheduler) *uint64 {
	lag := max(leader.Index, standby.Index) - standby.Index
	return &lag
}

type schedulersOutput struct {
	Body api.Page[api.Scheduler]
}

// listSchedulers asks all schedulers that live. One that does not answer is shown
// with what it told the others before.
func (s *Server) listSchedulers(ctx context.Context, _ *struct{}) (*schedulersOutput, error) {
	status := s.Scheduler.Status()
	all := make([]api.Scheduler, len(status.Schedulers))
	var asking sync.WaitGroup
	for i, m := range status.Schedulers {
		if m.Address == status.Address {
			all[i] = s.scheduler()
			continue
		}
		asking.Go(func() {
			if is, err := s.askScheduler(ctx, m.Address); err == nil {
				all[i] = *is
			} else {
				all[i] = asTold(m)
				all[i].Unreachable = err.Error()
			}
			all[i].Lag = nil // as it was when the leader was asked by it
		})
	}
	asking.Wait()
	if len(all) == 0 { // who else lives is not known
		all = append(all, s.scheduler())
	}
	for i := range all {
		all[i].Schedulers = nil
		if leader := &all[0]; i > 0 && leader.Role == api.RoleLeader && leader.Unreachable == "" && all[i].Unreachable == "" {
			all[i].Lag = behind(&all[i], leader)
		}
	}
	return &schedulersOutput{api.Page[api.Scheduler]{Items: all}}, nil
}

// asTold is a scheduler as it told of itself.
func asTold(m lease.Member) api.Scheduler {
	out := api.Scheduler{Address: m.Address, Version: m.Version, Role: api.RoleStandby, Index: m.Index, Epoch: m.Epoch, Features: m.Features}
	if m.Skew != nil {
		ahead := api.Duration(-*m.Skew)
		out.ClockAhead = &ahead
	}
	return out
}

func (s *Server) scheduler() api.Scheduler {
	v, status := s.Scheduler.View(), s.Scheduler.Status()
	out := api.Scheduler{
		Address: status.Address, Version: s.apiConfig().Info.Version, Cluster: s.Cluster, Role: api.RoleStandby,
		Leader: status.Leader, Index: v.Index, Epoch: v.Epoch, NotWritable: status.Stalled,
	}
	if status.Leads {
		out.Role, out.UsableFeatures = api.RoleLeader, v.Observed.Features
	}
	for _, m := range status.Schedulers {
		if m.Stands {
			out.Schedulers = append(out.Schedulers, m.Address)
		}
		if m.Address == status.Address {
			told := asTold(m)
			out.Features, out.ClockAhead = told.Features, told.ClockAhead
		}
	}
	if out.NotWritable == "" && out.Leader == "" {
		out.NotWritable = nobodyLeads(status)
	}
	return out
}

// nobodyLeads says what is known of a leader that is not known.
func nobodyLeads(status engine.Status) string {
	if status.Problem != "" {
		return "who leads is not known: " + status.Problem
	}
	return "nobody leads"
}

// askScheduler asks another scheduler what part it has.
func (s *Server) askScheduler(ctx context.Context, address string) (*api.Scheduler, error) {
	ctx, cancel := context.WithTimeout(ctx, askSchedulerTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address+schedulerPath, nil)
	if err != nil {
		return nil, err
	}
	s.prove(r, "")
	answer, err := s.peers.RoundTrip(r)
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, fmt.Errorf("it does not answer within %s", askSchedulerTimeout)
	}
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answered %s", answer.Status)
	}
	out := new(api.Scheduler)
	return out, json.NewDecoder(io.LimitReader(answer.Body, 1<<20)).Decode(out)
}

// stepDown hands over, once it is durable who asked. Who asks twice moves two
// leaders, unless with one Idempotency-Key.
func (s *Server) stepDown(ctx context.Context, _ *struct{}) (*schedulerOutput, error) {
	s.Log.Info("asked to step down", "actor", writingOf(ctx).actor)
	if !s.Scheduler.Standby() {
		return nil, engine.ErrAlone
	}
	result, _, err := s.execute(ctx, core.StepDown{})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, doTimeout)
	defer cancel()
	if !result.Repeated {
		if err := s.Scheduler.StepDown(ctx); err != nil {
			return nil, err
		}
	}
	return &schedulerOutput{s.scheduler()}, nil
}
