package history

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/record"
)

const (
	// examinedMost and pageTime bound what one page looks at. Where few rows of
	// those are chosen, a page has fewer than it may, and the next goes on.
	examinedMost = 20_000
	pageTime     = 2 * time.Second
	// stepMost bounds what is read at a time.
	stepMost = 2_000
	// severalStep is read first where only a time is given.
	severalStep = 1_000
)

// Tasks returns finished tasks that a filter chooses, newest first by when they
// ended, and the cursor of the next page, "" when there is none.
func (h *History) Tasks(ctx context.Context, f api.HistoryFilter) ([]*record.Task, string, error) {
	return list[*record.Task](ctx, h, tasks, f)
}

// Runs is like Tasks for runs.
func (h *History) Runs(ctx context.Context, f api.HistoryFilter) ([]*record.Run, string, error) {
	return list[*record.Run](ctx, h, runs, f)
}

// Deploys is like Tasks for deploys, without their specs.
func (h *History) Deploys(ctx context.Context, f api.HistoryFilter) ([]*record.Deploy, string, error) {
	return list[*record.Deploy](ctx, h, deploys, f)
}

func list[T record.Message](ctx context.Context, h *History, k kind, f api.HistoryFilter) (out []T, next string, err error) {
	err = h.reading(ctx, func(ctx context.Context, r *reader) error {
		p, err := r.plan(ctx, k, f)
		if err != nil || p.none {
			return err
		}
		next, err = r.page(ctx, p, f.Cursor, f.Limit, func(m record.Message) { out = append(out, m.(T)) })
		return err
	})
	return out, next, err
}

// page tells the next rows of a plan, at most limit, and returns where the page
// after begins.
func (r *reader) page(ctx context.Context, p plan, cursor string, limit int, tell func(record.Message)) (next string, err error) {
	before := int64(keyMost)
	if cursor != "" {
		if before, err = strconv.ParseInt(cursor, 10, 64); err != nil || before < 0 {
			return "", errCursor
		}
	}
	end := time.Now().Add(pageTime)
	told, examined := 0, 0
	for step := p.firstStep(limit); ; step = min(4*step, stepMost) {
		rows, err := r.step(ctx, p, before, step)
		if err != nil {
			return "", err
		}
		for i := range rows {
			m, err := r.chosen(ctx, p, &rows[i])
			if err != nil {
				return "", err
			}
			if m != nil && told == limit {
				return strconv.FormatInt(before, 10), nil
			}
			before = rows[i].k
			if m != nil {
				told++
				tell(m)
			}
		}
		if examined += len(rows); len(rows) < step {
			return "", nil
		}
		if examined >= examinedMost || time.Now().After(end) {
			return strconv.FormatInt(before, 10), nil
		}
	}
}

// firstStep is how many rows to read first. Where the ranges of a time have all
// jobs and agents, many of their rows are not chosen, and to begin with each range
// again costs more than some rows.
func (p *plan) firstStep(limit int) int {
	if len(p.finds) > 1 && p.jobs == nil && p.agents == nil {
		return max(limit+1, severalStep)
	}
	return limit + 1
}

// chosen decodes a row that a plan chooses; nil for others.
func (r *reader) chosen(ctx context.Context, p plan, f *found) (record.Message, error) {
	if f.body == nil || p.jobs != nil && !p.jobs[f.job] || p.agents != nil && !p.agents[f.agent] {
		return nil, nil
	}
	m, err := r.decode(ctx, p.kind, f)
	if err != nil || p.keep != nil && !p.keep(m) {
		return nil, err
	}
	return m, nil
}

// step reads the next rows that are found, before a key. Those that did not begin
// in time, or have another state, come without their body.
func (r *reader) step(ctx context.Context, p plan, before int64, limit int) ([]found, error) {
	var parts []string
	var args []any
	for _, f := range p.finds {
		f.to, f.limit = min(f.to, before), limit
		if f.from >= f.to {
			continue
		}
		part, more := r.s.find(f)
		parts = append(parts, `SELECT k FROM (`+part+`) AS f`)
		args = append(args, more...)
	}
	if len(parts) == 0 {
		return nil, nil
	}
	where := ""
	args = append(args, limit)
	if p.began < 1<<62 {
		where = ` AND t.began < ?`
		args = append(args, p.began)
	}
	if len(p.states) > 0 {
		where += ` AND t.state IN (` + questions(len(p.states)) + `)`
		args = append(args, anys(p.states)...)
	}
	rows, err := r.query(ctx, `SELECT c.k, coalesce(t.version, 0), coalesce(t.job, 0), coalesce(t.agent, 0), t.body FROM (SELECT k FROM (`+
		strings.Join(parts, ` UNION ALL `)+`) AS u ORDER BY k DESC LIMIT ?) AS c LEFT JOIN `+p.kind.String()+` AS t ON t.k = c.k`+where+` ORDER BY c.k DESC`, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []found
	for rows.Next() {
		var f found
		if err := rows.Scan(&f.k, &f.version, &f.job, &f.agent, &f.body); err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	return out, rows.Err()
}

// FindTask returns a task by its id, nil when it is not in history.
func (h *History) FindTask(ctx context.Context, id string) (*record.Task, error) {
	return one(ctx, h, tasks, hash("task", id), func(t *record.Task) bool { return t.Id == id })
}

// FindRun returns a run of a job, nil when it is not in history.
func (h *History) FindRun(ctx context.Context, job, id string) (*record.Run, error) {
	return one(ctx, h, runs, runLink(job, id), func(r *record.Run) bool { return r.Job == job && r.Id == id })
}

// FindDeploy returns a deploy of a job with its spec, nil when it is not in history.
func (h *History) FindDeploy(ctx context.Context, job string, number uint32) (*record.Deploy, error) {
	d, err := one(ctx, h, deploys, deployIdent(job, number), func(d *record.Deploy) bool { return d.Job == job && d.Number == number })
	if d == nil || err != nil {
		return nil, err
	}
	err = h.reading(ctx, func(ctx context.Context, r *reader) error {
		d.Spec, err = r.spec(ctx, d.Digest)
		return err
	})
	return d, err
}

func (r *reader) spec(ctx context.Context, digest string) (spec []byte, err error) {
	var body []byte
	err = r.row(ctx, `SELECT body FROM specs WHERE digest = ?`, digest).Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return unpack(body)
}

// one returns the newest version of what is meant: in another incarnation, or
// when a job of the same name began anew, there may be several.
func one[T record.Message](ctx context.Context, h *History, k kind, ident int64, is func(T) bool) (newest T, err error) {
	err = h.reading(ctx, func(ctx context.Context, r *reader) error {
		p := plan{kind: k, began: 1 << 62, finds: []find{{table: k.String(), any: []term{{byIdent, ident, 0}}, to: keyMost}}}
		rows, err := r.step(ctx, p, keyMost, 100)
		if err != nil {
			return err
		}
		slices.SortStableFunc(rows, func(a, b found) int { return int(min(max(b.version-a.version, -1), 1)) })
		for i := range rows {
			m, err := r.chosen(ctx, p, &rows[i])
			if err != nil {
				return err
			}
			if t, ok := m.(T); ok && is(t) {
				newest = t
				return nil
			}
		}
		return nil
	})
	return newest, err
}
