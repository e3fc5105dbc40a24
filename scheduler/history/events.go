package history

import (
	"context"
	"database/sql"
	"errors"

	"github.com/perigee-sched/perigee/scheduler/engine"
)

// Events returns up to limit events after one, in their order; from the oldest on
// when that is EventID{}. None says that history has no later ones yet. Where
// some are missing it fails with a *GapError.
func (h *History) Events(ctx context.Context, after engine.EventID, limit int) (out []engine.Published, err error) {
	err = h.reading(ctx, func(ctx context.Context, r *reader) (err error) {
		out, err = r.eventsAfter(ctx, after, limit)
		return err
	})
	return out, err
}

// life is an incarnation.
type life struct {
	n      int64
	name   string
	before engine.EventID // the last event that is not here, from the beginning
}

// lives returns the incarnations from one on, in their order: all for "".
func (r *reader) lives(ctx context.Context, from string) ([]life, error) {
	rows, err := r.query(ctx, `SELECT n, name, before_index, before_ordinal FROM incarnations ORDER BY n`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []life
	for rows.Next() {
		var l life
		if err := rows.Scan(&l.n, &l.name, &l.before.Index, &l.before.Ordinal); err != nil {
			return nil, err
		}
		l.before.Incarnation = l.name
		if l.name == from {
			all = nil
		}
		all = append(all, l)
	}
	return all, rows.Err()
}

func (r *reader) eventsAfter(ctx context.Context, after engine.EventID, limit int) ([]engine.Published, error) {
	lives, err := r.lives(ctx, after.Incarnation)
	if err != nil || len(lives) == 0 {
		return nil, err
	}
	switch first := lives[0]; {
	case after == engine.EventID{}:
		after = first.before
	case after.Incarnation != first.name:
		return nil, &GapError{Next: first.before}
	}
	for _, l := range lives {
		if l.name != after.Incarnation {
			after = l.before
		}
		out, err := r.eventsOf(ctx, l, after, limit)
		if err != nil || len(out) > 0 {
			return out, err
		}
	}
	return nil, nil
}

// eventsOf are events of one incarnation, up to the next gap.
func (r *reader) eventsOf(ctx context.Context, l life, from engine.EventID, limit int) ([]engine.Published, error) {
	if after(l.before, from) {
		return nil, &GapError{Next: l.before}
	}
	end, next, err := r.gapAfter(ctx, l, from)
	if err != nil {
		return nil, err
	}
	var out []engine.Published
	for at := from; len(out) < limit; {
		block, err := r.blockAfter(ctx, l, at)
		if err != nil {
			return nil, err
		}
		if len(block) == 0 || next != nil && after(block[0].ID, end) {
			break
		}
		for _, p := range block {
			if after(p.ID, from) && len(out) < limit {
				out = append(out, p)
			}
		}
		at = block[len(block)-1].ID
	}
	if len(out) == 0 && next != nil {
		return nil, &GapError{Next: *next}
	}
	return out, nil
}

// gapAfter is where the first gap after an event begins and ends; nil when there
// is none.
func (r *reader) gapAfter(ctx context.Context, l life, from engine.EventID) (end engine.EventID, next *engine.EventID, err error) {
	through := engine.EventID{Incarnation: l.name}
	err = r.row(ctx, `SELECT after_index, after_ordinal, through_index, through_ordinal FROM gaps
		WHERE incarnation = ? AND (through_index > ? OR through_index = ? AND through_ordinal > ?) ORDER BY after_index, after_ordinal LIMIT 1`,
		l.n, from.Index, from.Index, from.Ordinal).Scan(&end.Index, &end.Ordinal, &through.Index, &through.Ordinal)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return end, nil, nil
	case err != nil:
		return end, nil, err
	}
	end.Incarnation = l.name
	return end, &through, nil
}

// blockAfter is the first block that has an event after one; none when there is
// no such.
func (r *reader) blockAfter(ctx context.Context, l life, at engine.EventID) ([]engine.Published, error) {
	var first uint64
	var body []byte
	err := r.row(ctx, `SELECT first_index, body FROM events WHERE incarnation = ? AND (last_index, last_ordinal) > (?, ?)
		ORDER BY last_index, last_ordinal LIMIT 1`, l.n, at.Index, at.Ordinal).Scan(&first, &body)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return unpackBlock(l.name, first, body)
}

// FindEvent returns an event by its id, nil when it is not in history.
func (h *History) FindEvent(ctx context.Context, id engine.EventID) (out *engine.Published, err error) {
	err = h.reading(ctx, func(ctx context.Context, r *reader) error {
		lives, err := r.lives(ctx, id.Incarnation)
		if err != nil || len(lives) == 0 || lives[0].name != id.Incarnation {
			return err
		}
		before := id
		if before.Ordinal--; before.Ordinal < 0 {
			before.Index, before.Ordinal = before.Index-1, 1<<31-1
		}
		block, err := r.blockAfter(ctx, lives[0], before)
		for i := range block {
			if block[i].ID == id {
				out = &block[i]
			}
		}
		return err
	})
	return out, err
}
