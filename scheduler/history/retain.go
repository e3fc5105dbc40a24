package history

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/perigee-sched/perigee/scheduler/engine"
	"github.com/perigee-sched/perigee/scheduler/record"
)

const (
	// retainEvery is how often it is looked whether something is to go.
	retainEvery = 10 * time.Second
	// retainFor bounds how long writes wait for what goes.
	retainFor = 200 * time.Millisecond
	// rowsOff go in one transaction.
	rowsOff = 1_000
)

// retain deletes what has been kept for long enough, and the oldest of what is too
// much. It says whether there is more, for which there was no time.
func (h *History) retain(ctx context.Context) (more bool, err error) {
	s := h.store.Load()
	ctx, cancel := context.WithTimeout(ctx, writePatience)
	defer cancel()
	for end := time.Now().Add(retainFor); time.Now().Before(end); {
		n, err := h.retainStep(ctx, s)
		if err != nil {
			return false, fmt.Errorf("delete what is old from the history: %w", err)
		}
		h.stats.deleted.Add(uint64(n))
		if n == 0 {
			h.stats.noteCounts(ctx, s)
			return false, s.vacuum(ctx, s, h.Size)
		}
	}
	return true, nil
}

// retainStep deletes some rows of one table, the oldest.
func (h *History) retainStep(ctx context.Context, s *store) (int, error) {
	for _, table := range retained {
		keep := h.Keep
		if table == eventsTable {
			keep = h.EventsKeep
		}
		if keep <= 0 {
			continue
		}
		n, err := s.deleteOldest(ctx, table, keyFrom(h.Now().Add(-keep).UnixMilli()))
		if n > 0 || err != nil {
			return n, err
		}
	}
	if h.Size <= 0 {
		return 0, nil
	}
	used, err := s.used(ctx, s)
	if err != nil || used <= h.Size {
		return 0, err
	}
	table, err := s.oldest(ctx)
	if err != nil || table == "" {
		return 0, err
	}
	return s.deleteOldest(ctx, table, keyMost)
}

var retained = []string{"tasks", "runs", eventsTable, "deploys"}

// oldest is the table that has the oldest row. Deploys stay: they are few, and who
// deployed what is asked for longest.
func (s *store) oldest(ctx context.Context) (table string, err error) {
	least := int64(keyMost)
	for _, t := range retained[:3] {
		var k int64
		if err := s.read.QueryRowContext(ctx, `SELECT coalesce(min(k), -1) FROM `+t).Scan(&k); err != nil {
			return "", err
		}
		if k >= 0 && k < least {
			table, least = t, k
		}
	}
	return table, nil
}

// gone is a row that is deleted.
type gone struct {
	k, bytes int64
	body     []byte // of deploys
}

// deleteOldest deletes the oldest rows of a table whose keys are less than one.
func (s *store) deleteOldest(ctx context.Context, table string, before int64) (n int, err error) {
	_, err = s.transact(ctx, func(b *batch) error {
		rows, err := b.goners(table, before)
		if err != nil || len(rows) == 0 {
			return err
		}
		last := rows[len(rows)-1].k
		if table == eventsTable {
			if err := b.dropEvents(last); err != nil {
				return err
			}
		}
		for from := 0; from < len(rows); from += lookAtOnce {
			var keys []int64
			for _, r := range rows[from:min(from+lookAtOnce, len(rows))] {
				keys = append(keys, r.k)
				b.add(table, -1, -r.bytes-rowBytes)
			}
			if err := b.forget(b, table, keys); err != nil {
				return err
			}
		}
		if _, err := b.exec(`DELETE FROM `+table+` WHERE k <= ?`, last); err != nil {
			return err
		}
		n = len(rows)
		return b.dropSpecs(rows)
	})
	return n, err
}

func (b *batch) goners(table string, before int64) (out []gone, err error) {
	body := "NULL"
	if table == "deploys" {
		body = "body"
	}
	rows, err := b.query(`SELECT k, length(body), `+body+` FROM `+table+` WHERE k < ? ORDER BY k LIMIT ?`, before, rowsOff)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var g gone
		if err := rows.Scan(&g.k, &g.bytes, &g.body); err != nil {
			return nil, err
		}
		out = append(out, g)
	}
	return out, rows.Err()
}

// dropEvents notes that events are no longer here, up to the last of the blocks
// that go.
func (b *batch) dropEvents(last int64) error {
	rows, err := b.query(`SELECT incarnation, last_index, last_ordinal FROM events WHERE k <= ?`, last)
	if err != nil {
		return err
	}
	defer rows.Close()
	newest := map[int64]engine.EventID{}
	for rows.Next() {
		var n int64
		var id engine.EventID
		if err := rows.Scan(&n, &id.Index, &id.Ordinal); err != nil {
			return err
		}
		if after(id, newest[n]) {
			newest[n] = id
		}
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return err
	}
	for n, id := range newest {
		_, err := b.exec(`UPDATE incarnations SET before_index = ?, before_ordinal = ? WHERE n = ? AND (before_index < ? OR before_index = ? AND before_ordinal < ?)`,
			id.Index, id.Ordinal, n, id.Index, id.Index, id.Ordinal)
		if err != nil {
			return err
		}
		if _, err := b.exec(`DELETE FROM gaps WHERE incarnation = ? AND through_index < ?`, n, id.Index); err != nil {
			return err
		}
	}
	return nil
}

// dropSpecs deletes the specs that no deploy has any more.
func (b *batch) dropSpecs(deleted []gone) error {
	seen := map[string]bool{}
	for _, g := range deleted {
		if g.body == nil {
			continue
		}
		data, err := unpack(g.body)
		if err != nil {
			return err
		}
		d := new(record.Deploy)
		if err := proto.Unmarshal(data, d); err != nil {
			return err
		}
		if seen[d.Digest] {
			continue
		}
		seen[d.Digest] = true
		query, args := b.find(find{table: "deploys", any: []term{{byLink, specLink(d.Digest), 0}}, to: keyMost, limit: 1})
		var used int
		if err := b.one(`SELECT count(*) FROM (`+query+`) AS f`, args, &used); err != nil {
			return err
		}
		if used > 0 {
			continue
		}
		var bytes int64
		if err := b.one(`SELECT coalesce(sum(length(body)), -1) FROM specs WHERE digest = ?`, []any{d.Digest}, &bytes); err != nil {
			return err
		}
		if _, err := b.exec(`DELETE FROM specs WHERE digest = ?`, d.Digest); err != nil {
			return err
		}
		if bytes >= 0 {
			b.add(specsTable, -1, -bytes-rowBytes)
		}
	}
	return nil
}
