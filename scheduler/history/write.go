package history

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sort"

	"github.com/perigee-sched/perigee/scheduler/engine"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// recordsAtOnce and eventsAtOnce bound one transaction.
const (
	recordsAtOnce = 5_000
	eventsAtOnce  = 50_000
)

// keep stores what was told, of one incarnation: in one transaction, or in
// several where one Durable alone is large. Only the last of these moves how far
// the history is; what was told before that is told again after a failure, and
// found to be there. It returns how many events turned out to be lost.
func (s *store) keep(ctx context.Context, all []told) (lost int, err error) {
	if len(all) == 1 {
		var last told
		if last, lost, err = s.keepFirst(ctx, all[0]); err != nil {
			return lost, err
		}
		all = []told{last} // the queue's own stays as it is: others read it
	}
	more, err := s.transact(ctx, func(b *batch) error {
		for _, t := range all {
			if err := b.take(t); err != nil {
				return err
			}
		}
		return b.finish()
	})
	return lost + more, err
}

// keepFirst stores all of a large Durable but the last piece, which it returns.
func (s *store) keepFirst(ctx context.Context, t told) (last told, lost int, err error) {
	for len(t.Finished) > recordsAtOnce || len(t.Events) > eventsAtOnce {
		piece := t
		piece.Finished = t.Finished[:min(len(t.Finished), recordsAtOnce)]
		t.Finished = t.Finished[len(piece.Finished):]
		piece.Events = nil
		if len(t.Finished) == 0 && len(t.Events) > eventsAtOnce {
			piece.Events, t.Events = t.Events[:eventsAtOnce], t.Events[eventsAtOnce:]
		}
		n, err := s.transact(ctx, func(b *batch) error {
			if done, err := b.begins(&piece.Durable); done || err != nil {
				return err
			}
			through := b.mark.through
			if err := b.takeAll(piece); err != nil {
				return err
			}
			b.mark.through = through
			return b.finish()
		})
		if lost += n; err != nil {
			return t, lost, err
		}
	}
	return t, lost, nil
}

// take takes in what was told, unless it is here already.
func (b *batch) take(t told) error {
	if done, err := b.begins(&t.Durable); done || err != nil {
		return err
	}
	if err := b.takeAll(t); err != nil {
		return err
	}
	b.mark.through = t.Index
	return nil
}

// takeAll takes in what was told: it is stored together with the rest of the batch.
// An entry of the journal alone is so little that most of its time would be taken
// by statements.
func (b *batch) takeAll(t told) error {
	if err := b.noteGap(t); err != nil {
		return err
	}
	if err := b.takeRecords(t.Durable); err != nil {
		return err
	}
	last := b.mark.event
	if n := len(b.published); n > 0 {
		last = b.published[n-1].ID
	}
	i := sort.Search(len(t.Events), func(i int) bool { return after(t.Events[i].ID, last) }) // the rest was told before
	b.published = append(b.published, t.Events[i:]...)
	return nil
}

// storeTaken stores what was taken in.
func (b *batch) storeTaken() error {
	for k := range kinds {
		if err := b.rows(k, b.taken[k]); err != nil {
			return fmt.Errorf("store %s in history: %w", k, err)
		}
		b.taken[k] = nil
	}
	if err := b.events(b.published); err != nil {
		return err
	}
	b.published = nil
	return nil
}

// finish stores what was taken in, and how far the history is now.
func (b *batch) finish() error {
	if err := b.storeTaken(); err != nil {
		return err
	}
	return b.moveMark()
}

// begins sees that the mark is of a Durable's incarnation, and says whether all
// of it is here.
func (b *batch) begins(d *engine.Durable) (done bool, err error) {
	if d.Incarnation == b.mark.name {
		return d.Index <= b.mark.through, nil
	}
	var n int64
	err = b.one(`SELECT n FROM incarnations WHERE name = ?`, []any{d.Incarnation}, &n)
	switch {
	case err == nil:
		return false, &WrongError{fmt.Sprintf("the journal's incarnation is %s, and history has a later one, %s: another cluster of the same name uses this history, or a restored copy of this one does. One of them needs a history of its own", d.Incarnation, b.mark.name)}
	case !errors.Is(err, sql.ErrNoRows):
		return false, fmt.Errorf("look for the incarnation in history: %w", err)
	}
	before := d.Before
	if !d.Anew {
		before = engine.EventID{}
	}
	err = b.one(`INSERT INTO incarnations (name, began_at, before_index, before_ordinal) VALUES (?, ?, ?, ?) RETURNING n`,
		[]any{d.Incarnation, b.now().UnixMilli(), before.Index, before.Ordinal}, &n)
	if err != nil {
		return false, fmt.Errorf("begin an incarnation in history: %w", err)
	}
	b.mark = mark{incarnation: n, name: d.Incarnation, event: before, before: before}
	b.mark.event.Incarnation, b.mark.before.Incarnation = d.Incarnation, d.Incarnation
	return false, nil
}

// noteGap notes that events are missing: those that were before what a journal
// holds, and are not here.
func (b *batch) noteGap(d told) error {
	if !d.Anew || d.Before.Index <= b.mark.through || !after(d.Before, b.mark.event) {
		return nil
	}
	if err := b.storeTaken(); err != nil { // what is before the gap
		return err
	}
	_, err := b.exec(`INSERT INTO gaps (incarnation, after_index, after_ordinal, through_index, through_ordinal, after_at, noted_at) VALUES (?, ?, ?, ?, ?, ?, ?)`,
		b.mark.incarnation, b.mark.event.Index, b.mark.event.Ordinal, d.Before.Index, d.Before.Ordinal, b.mark.eventAt, b.now().UnixMilli())
	if err != nil {
		return fmt.Errorf("note a gap in history: %w", err)
	}
	b.lost += d.missing.between(b.mark.event, d.Before)
	b.mark.event = d.Before
	b.mark.event.Incarnation = b.mark.name
	return nil
}

// events stores events, all of which are newer than those that are here.
func (b *batch) events(events []engine.Published) error {
	if len(events) == 0 {
		return nil
	}
	blocks, err := b.packer.blocks(events)
	if err != nil {
		return err
	}
	for _, e := range blocks {
		for _, job := range e.jobs { // so that patterns find it
			if _, err := b.job(job); err != nil {
				return err
			}
		}
		if e.k, err = b.freeKey(e.k); err != nil {
			return err
		}
		if err := b.putBlock(b, e); err != nil {
			return fmt.Errorf("store events in history: %w", err)
		}
		b.add(eventsTable, 1, int64(len(e.body)+rowBytes))
	}
	newest := events[len(events)-1]
	b.mark.event, b.mark.eventAt = newest.ID, newest.Event.At
	return nil
}

// after says whether an event is after another of the same incarnation.
func after(id, other engine.EventID) bool {
	return id.Index > other.Index || id.Index == other.Index && id.Ordinal > other.Ordinal
}

// freeKey is the first key from k on that no block of events has.
func (b *batch) freeKey(k int64) (int64, error) {
	for range keyTries {
		var n int
		if err := b.one(`SELECT count(*) FROM events WHERE k = ?`, []any{k}, &n); err != nil || n == 0 {
			return k, err
		}
		k++
	}
	return 0, fmt.Errorf("history has no room for more than %d blocks of events of one millisecond", keyTries)
}

func (b *batch) moveMark() error {
	m := b.mark
	_, err := b.exec(`UPDATE mark SET incarnation = ?, through = ?, event_index = ?, event_ordinal = ?, event_at = ?`,
		m.incarnation, m.through, m.event.Index, m.event.Ordinal, m.eventAt)
	if err != nil {
		return fmt.Errorf("note how far history is: %w", err)
	}
	return nil
}

// versionOf orders what is told: by incarnation, and in it by entry.
func (b *batch) versionOf(index uint64) int64 { return b.mark.incarnation<<44 | int64(index) }

// takeRecords takes in what is finished.
func (b *batch) takeRecords(d engine.Durable) error {
	version := b.versionOf(d.Index)
	for _, m := range d.Finished {
		r, err := rowOf(m, version, b)
		if err != nil {
			return err
		}
		if d, ok := m.(*record.Deploy); ok {
			if err := b.spec(d); err != nil {
				return err
			}
		}
		b.taken[r.kind] = append(b.taken[r.kind], r)
	}
	return nil
}

// spec stores a deploy's, once for all deploys that have it.
func (b *batch) spec(d *record.Deploy) error {
	if len(d.Spec) == 0 {
		return nil
	}
	body := pack(d.Spec)
	n, err := b.exec(`INSERT INTO specs (digest, body) VALUES (?, ?) ON CONFLICT (digest) DO NOTHING`, d.Digest, body)
	if err != nil {
		return fmt.Errorf("store a spec in history: %w", err)
	}
	if n > 0 {
		b.add(specsTable, n, int64(len(body)+rowBytes))
	}
	return nil
}

// lookAtOnce rows are looked for by one statement.
const lookAtOnce = 100

// rows stores rows of a kind: those that are new together, and others one by one.
func (b *batch) rows(k kind, rows []row) error {
	for len(rows) > 0 {
		n := min(lookAtOnce, len(rows))
		fresh, err := b.settle(k, rows[:n])
		if err != nil {
			return err
		}
		if err := b.put(b, k, fresh); err != nil {
			return err
		}
		for i := range fresh {
			b.add(k.String(), 1, fresh[i].bytes())
		}
		rows = rows[n:]
	}
	return nil
}

func (r *row) bytes() int64 { return int64(len(r.body) + rowBytes) }

// there is a row that is stored.
type there struct {
	k, ident, version int64
	body              []byte
}

// settle replaces what is stored and older, gives keys to the others, and returns
// those that are not stored.
func (b *batch) settle(k kind, rows []row) (fresh []row, err error) {
	stored, err := b.thoseAt(k, rows)
	if err != nil {
		return nil, err
	}
	taken := map[int64]int{} // of fresh
	for _, r := range rows {
		old, used := stored[r.k]
		i, again := taken[r.k]
		switch {
		case again && fresh[i].ident == r.ident: // twice in what was told
			fresh[i] = r
			continue
		case !again && !used:
		case used && old.ident == r.ident:
			if err := b.replace(k, old, r); err != nil {
				return nil, err
			}
			continue
		default: // the key is another's
			done, err := b.elsewhere(k, &r, taken)
			if err != nil {
				return nil, err
			}
			if done {
				continue
			}
		}
		taken[r.k] = len(fresh)
		fresh = append(fresh, r)
	}
	return fresh, nil
}

func (b *batch) thoseAt(k kind, rows []row) (map[int64]there, error) {
	args := make([]any, lookAtOnce)
	for i := range args {
		args[i] = rows[min(i, len(rows)-1)].k
	}
	found, err := b.query(selectThere+k.String()+` WHERE k IN (`+questions(lookAtOnce)+`)`, args...)
	if err != nil {
		return nil, err
	}
	defer found.Close()
	out := map[int64]there{}
	for found.Next() {
		var t there
		if err := found.Scan(&t.k, &t.ident, &t.version, &t.body); err != nil {
			return nil, err
		}
		out[t.k] = t
	}
	return out, found.Err()
}

const selectThere = `SELECT k, ident, version, body FROM `

// replace stores a newer version of what is stored; an older one, or the same, it
// passes by.
func (b *batch) replace(k kind, old there, r row) error {
	if r.version <= old.version || bytes.Equal(r.body, old.body) {
		return nil
	}
	r.k = old.k
	if err := b.forget(b, k.String(), []int64{old.k}); err != nil {
		return err
	}
	if _, err := b.exec(`DELETE FROM `+k.String()+` WHERE k = ?`, old.k); err != nil {
		return err
	}
	b.add(k.String(), 0, int64(len(r.body)-len(old.body)))
	return b.put(b, k, []row{r})
}

// elsewhere finds a row that was stored beside its key, or a key beside it for
// one that was not.
func (b *batch) elsewhere(k kind, r *row, taken map[int64]int) (done bool, err error) {
	for range keyTries {
		r.k++
		var old there
		err := b.one(selectThere+k.String()+` WHERE k = ?`, []any{r.k}, &old.k, &old.ident, &old.version, &old.body)
		_, used := taken[r.k]
		switch {
		case err == nil && old.ident == r.ident:
			return true, b.replace(k, old, *r)
		case errors.Is(err, sql.ErrNoRows) && !used:
			return false, nil
		case err != nil && !errors.Is(err, sql.ErrNoRows):
			return false, err
		}
	}
	return false, fmt.Errorf("%d of one millisecond have the same key", keyTries)
}
