package history

import (
	"context"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/engine"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// ListEvents returns events that a filter chooses, newest first, and the cursor of
// the next page, "" when there is none.
func (h *History) ListEvents(ctx context.Context, f api.HistoryFilter) (out []engine.Published, next string, err error) {
	err = h.reading(ctx, func(ctx context.Context, r *reader) (err error) {
		out, next, err = r.listEvents(ctx, f)
		return err
	})
	return out, next, err
}

const (
	// blocksAtOnce are read by one statement, and blocksMost for one page.
	blocksAtOnce = 16
	blocksMost   = 2_000
)

// position is where a page of events begins: in the block with a key, with the
// event at a place, or before it; or with the newest of an earlier block.
type position struct {
	k int64
	i int
}

func (p position) String() string { return strconv.FormatInt(p.k, 10) + "." + strconv.Itoa(p.i) }

func parsePosition(s string) (position, error) {
	if s == "" {
		return position{k: keyMost}, nil
	}
	k, i, _ := strings.Cut(s, ".")
	n, err1 := strconv.ParseInt(k, 10, 64)
	m, err2 := strconv.Atoi(i)
	if err1 != nil || err2 != nil || n < 0 || m < 0 {
		return position{}, errCursor
	}
	return position{n, m}, nil
}

// eventBlock is a block of events as it was read.
type eventBlock struct {
	k           int64
	incarnation string
	first       uint64
	body        []byte
}

func (r *reader) listEvents(ctx context.Context, f api.HistoryFilter) (out []engine.Published, next string, err error) {
	at, err := parsePosition(f.Cursor)
	if err != nil {
		return nil, "", err
	}
	find, keep, none, err := r.planEvents(ctx, f)
	if err != nil || none {
		return nil, "", err
	}
	end, examined := time.Now().Add(pageTime), 0
	for {
		blocks, err := r.blocks(ctx, find, at)
		if err != nil {
			return nil, "", err
		}
		for _, b := range blocks {
			events, err := unpackBlock(b.incarnation, b.first, b.body)
			if err != nil {
				return nil, "", err
			}
			from := len(events)
			if b.k == at.k {
				from = min(at.i, from)
			}
			for i := from - 1; i >= 0; i-- {
				if !keep(events[i].Event) {
					continue
				}
				if len(out) == f.Limit {
					return out, position{b.k, i + 1}.String(), nil
				}
				out = append(out, events[i])
			}
			at = position{k: b.k}
		}
		if examined += len(blocks); len(blocks) < blocksAtOnce {
			return out, "", nil
		}
		if examined >= blocksMost || time.Now().After(end) {
			return out, at.String(), nil
		}
	}
}

// blocks reads the next blocks that are found, the one at a position included if
// something of it is left.
func (r *reader) blocks(ctx context.Context, f find, at position) ([]eventBlock, error) {
	if at.i > 0 {
		at.k++
	}
	f.to, f.limit = min(f.to, at.k), blocksAtOnce
	query, args := r.s.find(f)
	rows, err := r.query(ctx, `SELECT e.k, i.name, e.first_index, e.body FROM (`+query+`) AS c JOIN events e ON e.k = c.k
		JOIN incarnations i ON i.n = e.incarnation ORDER BY e.k DESC`, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []eventBlock
	for rows.Next() {
		var b eventBlock
		if err := rows.Scan(&b.k, &b.incarnation, &b.first, &b.body); err != nil {
			return nil, err
		}
		out = append(out, b)
	}
	return out, rows.Err()
}

// planEvents says how blocks with events that a filter chooses are found, and
// which of their events those are.
func (r *reader) planEvents(ctx context.Context, f api.HistoryFilter) (p find, keep func(*record.Event) bool, none bool, err error) {
	p = find{table: eventsTable, to: keyMost}
	from, to := int64(0), int64(1)<<62
	if !f.From.IsZero() {
		from = f.From.UnixMilli()
		p.from = keyFrom(from - blockSpan)
	}
	if !f.To.IsZero() {
		to = f.To.UnixMilli()
		p.to = keyFrom(to)
	}
	named := f.Job != "" || f.Team != "" || f.Stage != ""
	group := func(terms ...string) { p.groups = append(p.groups, terms) }
	if f.Agent != "" {
		group(hashTerm(agentOf, f.Agent), hashTerm(hostOf, f.Agent))
	}
	for kind, text := range map[string]string{actorOf: f.Actor, taskOf: f.Task, objectOf: f.Object} {
		if text != "" {
			group(hashTerm(kind, text))
		}
	}
	if terms := typeTerms(f.Types); len(terms) > 0 {
		group(terms...)
	}
	jobs, none, err := r.jobTerms(ctx, f)
	if len(jobs) > 0 {
		group(jobs...)
	}
	return p, func(e *record.Event) bool {
		return e.At >= from && e.At < to && (e.Job == "" && !named || matchesJob(f, e.Job)) &&
			(f.Agent == "" || e.Agent == f.Agent || e.Host == f.Agent) &&
			(f.Actor == "" || e.Actor == f.Actor) && (f.Task == "" || e.Task == f.Task) && (f.Object == "" || e.Object == f.Object) &&
			(f.Run == "" || e.Run == f.Run) && matchesType(f.Types, e.Type) && matchesAudit(f, e)
	}, none, err
}

// typeTerms are those of patterns of types; none when one of them has to be looked
// for in all events.
func typeTerms(patterns []string) (out []string) {
	for _, p := range patterns {
		if about, rest, _ := strings.Cut(p, "."); rest == "*" && !strings.ContainsAny(about, `*?[\`) || !strings.ContainsAny(p, `*?[\`) {
			out = append(out, hashTerm(typeOf, p))
			continue
		}
		return nil
	}
	return out
}

func matchesAudit(f api.HistoryFilter, e *record.Event) bool {
	a := e.GetAudit()
	return (f.Token == "" || a.GetToken() == f.Token) && (f.Operation == "" || a.GetOperation() == f.Operation) &&
		(f.Audits == nil || a == nil || f.Audits(e.Job, a.Team))
}

func matchesType(patterns []string, typ string) bool {
	return len(patterns) == 0 || slices.ContainsFunc(patterns, func(p string) bool { ok, _ := path.Match(p, typ); return ok })
}

// jobTerms are those of the jobs that a filter names; none when there are too many
// of them to be looked for.
func (r *reader) jobTerms(ctx context.Context, f api.HistoryFilter) (out []string, none bool, err error) {
	if f.Job == "" && f.Team == "" && f.Stage == "" {
		return nil, false, nil // what is about no job is seen by all
	}
	named, err := r.jobsNamed(ctx, f)
	if err != nil || len(named) == 0 || len(named) > choicesMost {
		return nil, len(named) == 0, err
	}
	for _, j := range named {
		out = append(out, hashTerm(jobOf, j.name))
	}
	return out, false, nil
}
