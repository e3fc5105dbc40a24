package server

import (
	"context"
	"fmt"
	"time"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// Timing is what changes take that may be taken back.
type Timing struct {
	For string `query:"for" maxLength:"32" doc:"Take it back after this long: 1h, at most 720h. It is for good when absent"`
}

// until is when a change is taken back, Unix ms; 0 is never.
func (t Timing) until() (int64, error) {
	d, err := lasting("query.for", t.For, api.MaxTimed)
	switch {
	case err != nil:
		return 0, err
	case t.For == "":
		return 0, nil
	case d < time.Second:
		return 0, wrongInput("query.for", t.For, "is %s: it must be from 1s to %s", api.Duration(d), api.Duration(api.MaxTimed))
	}
	return time.Now().Add(d).UnixMilli(), nil
}

type pauseInput struct {
	JobChange
	Timing
	Reason string `query:"reason" maxLength:"1024"`
}

func (s *Server) pauseJob(ctx context.Context, in *pauseInput) (*written, error) {
	revision, err := in.revision()
	if err != nil {
		return nil, err
	}
	until, err := in.until()
	if err != nil {
		return nil, err
	}
	return s.do(ctx, core.PauseJob{Job: in.key(), Reason: in.Reason, Until: until, IfMatch: revision})
}

type timedInput struct {
	JobChange
	Timing
}

func (s *Server) scaleFor(ctx context.Context, in *timedInput) (*written, error) {
	until, err := in.until()
	if err != nil {
		return nil, err
	}
	return s.scale(ctx, &in.JobChange, until)
}

func (s *Server) skipHealth(ctx context.Context, in *timedInput) (*written, error) {
	revision, err := in.revision()
	if err != nil {
		return nil, err
	}
	until, err := in.until()
	if err != nil {
		return nil, err
	}
	if until == 0 {
		return nil, wrongInput("query.for", nil, "is missing: health is skipped for a time only, for example for=1h")
	}
	return s.do(ctx, core.SkipHealth{Job: in.key(), Until: until, IfMatch: revision})
}

func (s *Server) heedHealth(ctx context.Context, in *JobChange) (*written, error) {
	revision, err := in.revision()
	if err != nil {
		return nil, err
	}
	return s.do(ctx, core.SkipHealth{Job: in.key(), IfMatch: revision})
}

// timed tells the changes of a job that are taken back.
func timed(r *record.Job) []api.TimedAction {
	var out []api.TimedAction
	for _, t := range r.Timed {
		a := api.TimedAction{Until: millis(t.Until), By: t.By}
		switch t.Action {
		case record.TimedAction_TIMED_ACTION_SCALE:
			a.Action, a.Revert = api.TimedScale, fmt.Sprintf("scale to %d", t.Instances)
		case record.TimedAction_TIMED_ACTION_PAUSE:
			a.Action, a.Revert = api.TimedPause, "resume"
		case record.TimedAction_TIMED_ACTION_SKIP_HEALTH:
			a.Action, a.Revert = api.TimedSkipHealth, "heed health checks again"
		default:
			continue // of a newer version
		}
		out = append(out, a)
	}
	return out
}
