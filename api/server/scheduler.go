package server

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"time"

	"github.com/perigee-sched/perigee/api"
)

const (
	schedulerPath = "/v1/scheduler"
	stepDownPath  = schedulerPath + "/step-down"
	// askLeaderTimeout bounds how long the leader is asked how far it is.
	askLeaderTimeout = time.Second
)

type schedulerOutput struct {
	Body api.Scheduler
}

func (s *Server) getScheduler(ctx context.Context, _ *struct{}) (*schedulerOutput, error) {
	out := &schedulerOutput{s.scheduler()}
	if b := &out.Body; b.Role == api.RoleStandby && b.Leader != "" && b.Leader != b.Address {
		if of, err := s.askLeader(ctx, b.Leader); err == nil && of.Role == api.RoleLeader {
			lag := max(of.Index, b.Index) - b.Index
			b.Lag = &lag
		}
	}
	return out, nil
}

func (s *Server) scheduler() api.Scheduler {
	v, status := s.Scheduler.View(), s.Scheduler.Status()
	out := api.Scheduler{
		Address: status.Address, Version: s.apiConfig().Info.Version, Cluster: s.Cluster, Role: api.RoleStandby,
		Leader: status.Leader, Index: v.Index, Epoch: v.Epoch, NotWritable: status.Stalled, Schedulers: status.Schedulers,
	}
	if status.Leads {
		out.Role = api.RoleLeader
	}
	if out.NotWritable == "" && out.Leader == "" {
		out.NotWritable = "nobody leads"
	}
	return out
}

// askLeader asks the leader the same. It asks nobody else then.
func (s *Server) askLeader(ctx context.Context, leader string) (*api.Scheduler, error) {
	ctx, cancel := context.WithTimeout(ctx, askLeaderTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, leader+schedulerPath, nil)
	if err != nil {
		return nil, err
	}
	answer, err := s.peers.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	out := new(api.Scheduler)
	return out, json.NewDecoder(io.LimitReader(answer.Body, 1<<20)).Decode(out)
}

// stepDown hands over. Who asks twice moves two leaders, so clients ask once.
func (s *Server) stepDown(ctx context.Context, _ *struct{}) (*schedulerOutput, error) {
	s.Log.Info("asked to step down", "actor", writingOf(ctx).actor)
	ctx, cancel := context.WithTimeout(ctx, doTimeout)
	defer cancel()
	if err := s.Scheduler.StepDown(ctx); err != nil {
		return nil, err
	}
	return &schedulerOutput{s.scheduler()}, nil
}
