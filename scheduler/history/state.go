package history

import (
	"context"
	"time"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/engine"
)

// gapsTold are the newest gaps that State tells.
const gapsTold = 20

// State says how far the history is, and what it lacks. What cannot be read now is
// left out.
func (h *History) State(ctx context.Context) api.HistoryState {
	items, _, oldest, latest := h.queue.state()
	out := api.HistoryState{Kind: "sqlite", Shared: h.dialect.shared()}
	out.Waiting = items
	if out.Shared {
		out.Kind = "postgresql"
	}
	if items > 0 {
		out.Behind = api.Duration(h.Now().Sub(oldest).Truncate(time.Millisecond))
	}
	if err := h.problem(); err != nil {
		out.Problem = err.Error()
	}
	if s := h.store.Load(); s != nil {
		if m := s.at(); latest.incarnation == "" || m.name == latest.incarnation {
			out.Incarnation, out.Through = m.name, m.through
		}
	}
	err := h.reading(ctx, func(ctx context.Context, r *reader) (err error) {
		if out.Rows, out.Bytes, err = r.counts(ctx); err == nil {
			out.Gaps, err = r.gaps(ctx)
		}
		return err
	})
	if err != nil && out.Problem == "" {
		out.Problem = err.Error()
	}
	return out
}

func (r *reader) counts(ctx context.Context) (map[string]int64, int64, error) {
	rows, err := r.query(ctx, `SELECT kind, rows, bytes FROM counts`)
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	all, sum := map[string]int64{}, int64(0)
	for rows.Next() {
		var kind string
		var n, bytes int64
		if err := rows.Scan(&kind, &n, &bytes); err != nil {
			return nil, 0, err
		}
		all[kind] = n
		sum += bytes
	}
	return all, sum, rows.Err()
}

func (r *reader) gaps(ctx context.Context) ([]api.HistoryGap, error) {
	rows, err := r.query(ctx, `SELECT i.name, g.after_index, g.after_ordinal, g.through_index, g.through_ordinal, g.after_at, g.noted_at
		FROM gaps g JOIN incarnations i ON i.n = g.incarnation ORDER BY g.n DESC LIMIT ?`, gapsTold)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []api.HistoryGap
	for rows.Next() {
		var after, through engine.EventID
		var from, to int64
		if err := rows.Scan(&after.Incarnation, &after.Index, &after.Ordinal, &through.Index, &through.Ordinal, &from, &to); err != nil {
			return nil, err
		}
		through.Incarnation = after.Incarnation
		g := api.HistoryGap{After: after.String(), Through: through.String(), To: time.UnixMilli(to).UTC()}
		if from > 0 {
			t := time.UnixMilli(from).UTC()
			g.From = &t
		}
		all = append(all, g)
	}
	return all, rows.Err()
}
