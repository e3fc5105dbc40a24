package server

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/backup"
)

// backupsMost are made at a time: each takes a processor.
const backupsMost = 2

// backupState answers with a backup of the state as this scheduler shows it. A
// view never changes, so the loop is not kept, and all records are of one index.
func (s *Server) backupState(ctx context.Context, in *Reading) (*huma.StreamResponse, error) {
	v, err := s.view(ctx, *in)
	if err != nil {
		return nil, err
	}
	cluster := v.Cluster()
	if cluster == nil {
		return nil, newProblem(http.StatusServiceUnavailable, "there is no state yet: no scheduler ever led").kind("unavailable").retryAfter(1)
	}
	select {
	case s.backups <- struct{}{}:
	default:
		return nil, newProblem(http.StatusServiceUnavailable, "%d backups are being made already", backupsMost).kind("unavailable").retryAfter(5)
	}
	h := backup.Header{
		Cluster: s.Cluster, Incarnation: cluster.Incarnation, Framework: cluster.FrameworkId, Index: v.Index, Epoch: v.Epoch,
		At: time.Now().UTC(), Program: s.apiConfig().Info.Version, Records: backup.CountKinds(v.Keys()),
	}
	c := callerOf(ctx)
	s.Log.Info("a backup is being made", "by", c.Name, "from", c.from) // it changes nothing, and so is in no audit trail
	return stream(func(ctx context.Context, w *response) {
		defer func() { <-s.backups }()
		ctx, cancel := s.whileShown(ctx)
		defer cancel()
		asBytes(w)
		w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", backup.FileName(h)))
		w.Header().Set(api.HeaderIndex, strconv.FormatUint(v.Index, 10))
		w.WriteHeader(http.StatusOK)
		if w.head {
			return
		}
		if _, err := backup.Write(patient{ctx, w}, h, v.Records("")); err != nil {
			s.Log.Info("a backup was not taken to its end", "error", err)
			panic(http.ErrAbortHandler) // the reader must not take it for the whole
		}
	}), nil
}

// patient gives the reader of an answer time for each part of it.
type patient struct {
	ctx context.Context
	w   *response
}

func (p patient) Write(b []byte) (int, error) {
	if p.ctx.Err() != nil {
		return 0, context.Cause(p.ctx)
	}
	extend(p.w)
	return p.w.Write(b)
}
