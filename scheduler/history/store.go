package history

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/perigee-sched/perigee/scheduler/engine"
)

// dialect is what SQLite and PostgreSQL do not have in common.
type dialect interface {
	// open returns what writes go through, one at a time, and what reads do.
	open(ctx context.Context) (write, read *sql.DB, err error)
	close() error
	// begin begins a transaction that writes.
	begin() string
	// schemas are the scripts that bring the schema from one version to the next,
	// the first from nothing; blank says whether there is nothing. Before it is
	// asked, alone has other schedulers wait.
	schemas() []string
	alone(ctx context.Context, c *sql.Conn) error
	blank(ctx context.Context, c *sql.Conn) (bool, error)
	// rebind writes a statement's ? as the database does.
	rebind(query string) string
	// hold has other schedulers wait until the end of a transaction that writes;
	// "" when there are none.
	hold() string
	// put inserts rows that are not there, with their terms.
	put(b *batch, k kind, rows []row) error
	putBlock(b *batch, e block) error
	// forget deletes the terms of rows that are deleted.
	forget(b *batch, table string, keys []int64) error
	// find selects the keys of rows.
	find(f find) (query string, args []any)
	// shared says whether other schedulers use the same history.
	shared() bool
	// used is how many bytes are in use; vacuum gives back some of those that are
	// not, beyond a bound or when they are many.
	used(ctx context.Context, s *store) (int64, error)
	vacuum(ctx context.Context, s *store, most int64) error
}

// store is an open history.
type store struct {
	dialect
	write, read *sql.DB
	now         func() time.Time

	// Of Run alone:
	conn     *sql.Conn // of write; nil when there is none
	prepared map[string]*sql.Stmt
	packer   packer
	names    cache

	// Of those who read:
	jobNames   lookup[string]
	agentNames lookup[agent]

	mu   sync.Mutex
	mark mark // as of the last transaction
}

// mark is how far a history is.
type mark struct {
	incarnation int64
	name        string // of the incarnation
	through     uint64
	event       engine.EventID // the last one that is here
	eventAt     int64
	before      engine.EventID // the last before those of the incarnation that were told
}

// openStore opens a history and brings its schema to this version.
func openStore(ctx context.Context, d dialect, cluster string, now func() time.Time) (*store, error) {
	write, read, err := d.open(ctx)
	if err != nil {
		return nil, err
	}
	s := &store{dialect: d, write: write, read: read, now: now, names: newCache()}
	err = s.migrate(ctx, cluster)
	if err == nil {
		err = s.look(ctx)
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// look reads how far the history is.
func (s *store) look(ctx context.Context) error {
	m, err := scanMark(s.read.QueryRowContext(ctx, selectMark))
	if err != nil {
		return fmt.Errorf("read how far history is: %w", err)
	}
	s.remember(m)
	return nil
}

func (s *store) remember(m mark) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mark = m
}

func (s *store) at() mark {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mark
}

func (s *store) close() error {
	s.hangUp()
	return errors.Join(s.write.Close(), s.read.Close(), s.dialect.close())
}

// hangUp gives up the connection that writes go through, and with it what was
// prepared on it.
func (s *store) hangUp() {
	if s.conn == nil {
		return
	}
	for _, p := range s.prepared {
		p.Close()
	}
	s.conn.Raw(func(any) error { return driver.ErrBadConn }) // not to be used again
	s.conn.Close()
	s.conn, s.prepared = nil, nil
}

const selectMark = `SELECT m.incarnation, coalesce(i.name, ''), m.through, m.event_index, m.event_ordinal, m.event_at,
	coalesce(i.before_index, 0), coalesce(i.before_ordinal, 0)
	FROM mark m LEFT JOIN incarnations i ON i.n = m.incarnation`

func scanMark(row *sql.Row) (m mark, err error) {
	err = row.Scan(&m.incarnation, &m.name, &m.through, &m.event.Index, &m.event.Ordinal, &m.eventAt, &m.before.Index, &m.before.Ordinal)
	m.event.Incarnation, m.before.Incarnation = m.name, m.name
	return m, err
}

// batch is one transaction.
type batch struct {
	*store
	ctx   context.Context
	mark  mark
	added map[string]*count // by table
	fresh cache             // names that are new, if it is committed
	lost  int               // events that gaps have which it notes

	// What was taken in and is not stored yet.
	taken     [kinds][]row
	published []engine.Published
}

type count struct{ rows, bytes int64 }

// rollbackPatience is how long a transaction that failed may take to be undone.
const rollbackPatience = 5 * time.Second

// inTransaction has do change the history: all of it or nothing. When it fails,
// whether it did is not known.
func (s *store) inTransaction(ctx context.Context, do func() error) (err error) {
	if s.conn == nil {
		if s.conn, err = s.write.Conn(ctx); err != nil {
			return err
		}
		s.prepared = map[string]*sql.Stmt{}
	}
	if _, err = s.conn.ExecContext(ctx, s.begin()); err == nil {
		if err = do(); err == nil {
			_, err = s.conn.ExecContext(ctx, "COMMIT")
		}
	}
	if err != nil {
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackPatience)
		defer cancel()
		if _, failed := s.conn.ExecContext(undo, "ROLLBACK"); failed != nil {
			s.hangUp()
		}
	}
	return err
}

// transact has do write to the history in one transaction, and returns how many
// events turned out to be lost.
func (s *store) transact(ctx context.Context, do func(*batch) error) (lost int, err error) {
	b := &batch{store: s, ctx: ctx, added: map[string]*count{}, fresh: newCache()}
	err = s.inTransaction(ctx, func() (err error) {
		if hold := s.hold(); hold != "" { // a query that waited itself would see what was before
			if _, err := b.exec(hold); err != nil {
				return fmt.Errorf("wait for other schedulers to write to history: %w", err)
			}
		}
		if b.mark, err = scanMark(s.conn.QueryRowContext(ctx, selectMark)); err != nil {
			return fmt.Errorf("read how far history is: %w", err)
		}
		if err := do(b); err != nil {
			return err
		}
		return b.count()
	})
	if err != nil {
		return 0, err
	}
	s.names.take(b.fresh)
	s.remember(b.mark)
	return b.lost, nil
}

// exec executes a statement, which is prepared once, and returns how many rows
// it changed.
func (b *batch) exec(query string, args ...any) (int64, error) {
	p, err := b.prepare(query)
	if err != nil {
		return 0, err
	}
	r, err := p.ExecContext(b.ctx, args...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

func (b *batch) query(query string, args ...any) (*sql.Rows, error) {
	p, err := b.prepare(query)
	if err != nil {
		return nil, err
	}
	return p.QueryContext(b.ctx, args...)
}

func (b *batch) prepare(query string) (*sql.Stmt, error) {
	if p := b.prepared[query]; p != nil {
		return p, nil
	}
	p, err := b.conn.PrepareContext(b.ctx, b.rebind(query))
	if err == nil {
		b.prepared[query] = p
	}
	return p, err
}

// one reads one row into targets; sql.ErrNoRows when there is none.
func (b *batch) one(query string, args []any, targets ...any) error {
	p, err := b.prepare(query)
	if err != nil {
		return err
	}
	return p.QueryRowContext(b.ctx, args...).Scan(targets...)
}

// add counts rows that were added, or deleted where n is negative.
func (b *batch) add(table string, n, bytes int64) {
	c := b.added[table]
	if c == nil {
		c = new(count)
		b.added[table] = c
	}
	c.rows += n
	c.bytes += bytes
}

func (b *batch) count() error {
	for _, table := range countedTables {
		c := b.added[table]
		if c == nil {
			continue
		}
		_, err := b.exec(`INSERT INTO counts (kind, rows, bytes) VALUES (?, ?, ?)
			ON CONFLICT (kind) DO UPDATE SET rows = counts.rows + excluded.rows, bytes = counts.bytes + excluded.bytes`, table, c.rows, c.bytes)
		if err != nil {
			return fmt.Errorf("count rows of history: %w", err)
		}
	}
	return nil
}

var countedTables = []string{"tasks", "runs", "deploys", eventsTable, specsTable}

// specsTable has specs, which are counted too.
const specsTable = "specs"

// questions are n question marks.
func questions(n int) string { return strings.TrimSuffix(strings.Repeat("?,", n), ",") }

func anys[T any](list []T) []any {
	out := make([]any, len(list))
	for i, v := range list {
		out[i] = v
	}
	return out
}
