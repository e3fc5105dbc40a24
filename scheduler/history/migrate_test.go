package history

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// versioned is a database as an earlier version of Perigee has it, or a later one.
type versioned struct {
	dialect
	scripts []string
}

func (d versioned) schemas() []string { return d.scripts }

// withSchemas opens a history with other versions of the schema.
func (p *where) withSchemas(change func(all []string) []string) *where {
	return &where{TB: p.TB, url: p.url, through: func(d dialect) dialect {
		return versioned{d, change(append([]string(nil), d.schemas()...))}
	}}
}

func upTo(version int) func([]string) []string {
	return func(all []string) []string { return all[:version] }
}

func andThen(more ...string) func([]string) []string {
	return func(all []string) []string { return append(all, more...) }
}

// next are versions of the schema that do not exist: what this one finds works
// with them too.
var next = []string{
	`CREATE TABLE notes (job BIGINT PRIMARY KEY, text TEXT NOT NULL);
	INSERT INTO notes SELECT n, 'of ' || name FROM jobs;`,
	`ALTER TABLE notes ADD COLUMN by_whom TEXT NOT NULL DEFAULT 'nobody';
	UPDATE notes SET by_whom = 'anna' WHERE text LIKE '%shop';`,
}

func (s *scheduler) text(query string) (out string) {
	s.p.Helper()
	require.NoError(s.p, s.db().QueryRow(query).Scan(&out))
	return out
}

const (
	schemaVersion = `SELECT value FROM meta WHERE name = 'schema'`
	ofTheShop     = `SELECT text || ' by ' || by_whom FROM notes WHERE text LIKE '%shop'`
)

// versions is how many there are.
func (p *where) versions() int {
	h, err := New(Options{URL: p.url})
	require.NoError(p, err)
	return len(h.dialect.schemas())
}

// Each earlier version becomes the newest one, and what it had stays.
func TestUpgradesEachVersion(t *testing.T) {
	onBoth(t, func(p *where) {
		versions := p.versions()
		for from := 1; from <= versions; from++ {
			p.Run(fmt.Sprint("from ", from), func(p *where) {
				s := p.withSchemas(upTo(from)).start()
				s.Record(loaded(1))
				s.Record(pair(2))
				s.through(2)
				require.NoError(p, s.stop())

				for to := versions; to <= versions+len(next); to++ {
					for range 2 { // the second time there is nothing to do
						s = p.withSchemas(andThen(next[:to-versions]...)).start()
						require.Equal(p, fmt.Sprint(to), s.text(schemaVersion))
						s.onceEach(2, 2)
						require.NoError(p, s.stop())
					}
				}
				s = p.withSchemas(andThen(next...)).start()
				require.Equal(p, "of web/prod/shop by anna", s.text(ofTheShop))
				s.Record(loaded(2, pair(2)))
				s.Record(pair(3))
				s.through(3)
				s.onceEach(2, 3)
			})
		}
	})
}

// A version is there wholly or not at all: one that cannot be reached changes
// nothing, and is tried again.
func TestUpgradeThatFailsChangesNothing(t *testing.T) {
	onBoth(t, func(p *where) {
		s := p.start()
		s.Record(loaded(1))
		s.Record(pair(2))
		s.through(2)
		require.NoError(p, s.stop())
		versions := p.versions()

		broken := p.withSchemas(andThen(next[0], next[1]+`; CREATE TABLE notes (text TEXT);`))
		s = broken.start() // it is tried again while the scheduler runs
		s.Record(loaded(2, pair(2)))
		s.Record(pair(3))
		problem := s.State(p.Context()).Problem
		require.Contains(p, problem, fmt.Sprintf("bring history's schema to version %d", versions+2))
		require.Contains(p, problem, "notes")
		require.False(p, s.Stats().Up)
		require.NoError(p, s.stop())

		// The version before that one was reached, in a transaction of its own.
		s = p.withSchemas(andThen(next[0])).start()
		require.Equal(p, fmt.Sprint(versions+1), s.text(schemaVersion))
		require.Equal(p, "of web/prod/shop", s.text(`SELECT text FROM notes`))
		s.onceEach(2, 2)
		require.NoError(p, s.stop())

		s = p.withSchemas(andThen(next...)).start()
		require.Equal(p, "of web/prod/shop by anna", s.text(ofTheShop))
		s.Record(loaded(3, pair(2), pair(3)))
		s.through(3)
		s.onceEach(2, 3)
	})
}

// Schedulers that begin at once bring one PostgreSQL up to date once.
func TestSchedulersUpgradePostgreSQLAtOnce(t *testing.T) {
	t.Parallel()
	const many = 8
	p := &where{TB: t, url: postgreSQL.Database(t)}
	slow := `SELECT pg_sleep(0.05);`
	atOnce := func(p *where) {
		var all sync.WaitGroup
		var opened atomic.Int64
		errs := make([]error, many)
		for i := range many {
			all.Go(func() {
				s, err := p.open()
				if errs[i] = err; err == nil {
					errs[i] = s.problem()
					if s.store.Load() != nil {
						opened.Add(1)
					}
					s.Close()
				}
			})
		}
		all.Wait()
		for _, err := range errs {
			require.NoError(t, err)
		}
		require.EqualValues(t, many, opened.Load())
	}
	atOnce(p) // from nothing
	s := p.start()
	s.Record(loaded(1))
	s.Record(pair(2))
	s.through(2)
	require.NoError(t, s.stop())
	atOnce(p.withSchemas(andThen(slow+next[0], slow+next[1])))
	s = p.withSchemas(andThen(next...)).start()
	require.Equal(t, "of web/prod/shop by anna", s.text(ofTheShop))
	s.onceEach(2, 2)
}
