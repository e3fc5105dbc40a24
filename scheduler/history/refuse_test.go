package history

import (
	"bytes"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A history that must not be used is refused, whatever it is, and it is said what
// it is and what to do; it stays as it is.
func TestRefuses(t *testing.T) {
	onBoth(t, func(p *where) {
		s := p.withSchemas(andThen(next...)).start()
		s.Record(loaded(1))
		s.Record(pair(2))
		s.through(2)
		require.NoError(p, s.stop())
		versions := p.versions()
		for _, c := range []struct {
			what string
			by   *where
			as   func(*Options)
			says []string
		}{
			{"another cluster's", p.withSchemas(andThen(next...)), func(o *Options) { o.Cluster = "other" },
				[]string{`the history of the cluster "test"`, `this one is "other"`, "a history of its own"}},
			{"of a newer version", p, func(*Options) {},
				[]string{fmt.Sprintf("schema version %d", versions+2), fmt.Sprintf("up to %d", versions), "newer version of Perigee"}},
		} {
			_, err := c.by.open(c.as)
			var wrong *WrongError
			require.ErrorAs(p, err, &wrong, c.what)
			for _, says := range c.says {
				require.ErrorContains(p, err, says, c.what)
			}
		}
		s = p.withSchemas(andThen(next...)).start()
		s.onceEach(2, 2)
	})
}

// A file that is something else is refused, and stays as it is.
func TestRefusesFiles(t *testing.T) {
	t.Parallel()
	database := func(t *testing.T, path, statements string) {
		db, err := sql.Open("sqlite", path)
		require.NoError(t, err)
		_, err = db.Exec(statements)
		require.NoError(t, err)
		require.NoError(t, db.Close())
	}
	for _, c := range []struct {
		what string
		make func(t *testing.T, path string)
		says string
	}{
		{"text", func(t *testing.T, path string) {
			require.NoError(t, os.WriteFile(path, []byte(strings.Repeat("A letter to the editor.\n", 1000)), 0o600))
		}, "history.db is no history of Perigee's: it is not a database"},
		{"the beginning of a history", func(t *testing.T, path string) {
			require.NoError(t, os.WriteFile(path, []byte("SQLite format 3\x00\x10\x00"), 0o600))
		}, "history.db is no history of Perigee's: it is not a database"},
		{"another program's database", func(t *testing.T, path string) {
			database(t, path, `CREATE TABLE bookmarks (url TEXT)`)
		}, "history.db is no history of Perigee's: it is the database of something else"},
		{"a database with a table of the same name", func(t *testing.T, path string) {
			database(t, path, `CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT); INSERT INTO meta VALUES ('version', '7')`)
		}, `this is no history of Perigee's: its schema has the version ""`},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "history.db")
			c.make(t, path)
			before, err := os.ReadFile(path)
			require.NoError(t, err)
			p := &where{TB: t, url: "sqlite://" + path}
			// Another test's process may hold the file's lock for a moment.
			p.eventually("it is refused", func() bool { _, err = p.open(); return err != nil })
			var wrong *WrongError
			require.ErrorAs(t, err, &wrong)
			require.ErrorContains(t, err, c.says)
			after, err := os.ReadFile(path)
			require.NoError(t, err)
			const header = 100 // of a database, which says how it was opened last
			require.Len(t, after, len(before))
			require.True(t, bytes.Equal(before[min(header, len(before)):], after[min(header, len(after)):]), "it stays as it is")
		})
	}
}

// A file of which a part is missing is told as such; the scheduler goes on, and
// has a new one when that is moved away.
func TestTruncatedFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "history.db")
	p := &where{TB: t, url: "sqlite://" + path}
	s := p.start()
	s.Record(loaded(1))
	d := entry(2)
	for n := range 5000 {
		d.Finished = append(d.Finished, task("web/prod/shop", n, failed))
	}
	s.Record(d)
	s.through(2)
	require.NoError(t, s.stop())
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Greater(t, info.Size(), int64(1<<20))
	require.NoError(t, os.Truncate(path, info.Size()/2))

	s = p.start()
	held := loaded(2, pair(2))
	s.Record(held)
	for i := uint64(3); i < 10; i++ {
		s.Record(pair(i))
		held.Finished, held.Events = append(held.Finished, pair(i).Finished...), append(held.Events, pair(i).Events...)
	}
	p.eventually("it says what is wrong", func() bool { return strings.Contains(s.State(t.Context()).Problem, "malformed") })
	require.NoError(t, s.stop())

	for _, part := range []string{"", "-wal", "-shm"} {
		if err := os.Rename(path+part, path+".damaged"+part); part == "" {
			require.NoError(t, err)
		}
	}
	s = p.start()
	held.Index = 9
	s.Record(held)
	s.through(9)
	s.onceEach(2, 9)
}

// A PostgreSQL that turns out not to be ours, when it can be reached at last, ends
// the scheduler: as it would have at the start.
func TestRefusesPostgreSQLThatWasAway(t *testing.T) {
	t.Parallel()
	pg, p := server(t)
	s := p.start(func(o *Options) { o.Cluster = "other" })
	require.NotNil(t, s.db())
	require.NoError(t, s.stop())
	pg.Kill()
	s, err := p.open()
	require.NoError(t, err, "one that cannot be reached is not refused")
	require.NotEmpty(t, s.State(t.Context()).Problem)
	ended := make(chan error, 1)
	go func() { ended <- s.Run(t.Context()) }()
	require.NoError(t, pg.Restart())
	err = <-ended
	var wrong *WrongError
	require.ErrorAs(t, err, &wrong)
	require.ErrorContains(t, err, `the history of the cluster "other"`)
}

func TestRefusesAnotherTableInPostgreSQL(t *testing.T) {
	t.Parallel()
	p := &where{TB: t, url: postgreSQL.Database(t) + "&search_path=public"}
	db, err := sql.Open("pgx", p.url)
	require.NoError(t, err)
	defer db.Close()
	_, err = db.Exec(`CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT)`)
	require.NoError(t, err)
	_, err = p.open()
	var wrong *WrongError
	require.ErrorAs(t, err, &wrong)
	require.ErrorContains(t, err, "this is no history of Perigee's")
}

// A user who may use the schema, and not make one, is enough.
func TestUsesAPostgreSQLSchemaThatIsThere(t *testing.T) {
	t.Parallel()
	address := postgreSQL.Database(t)
	db, err := sql.Open("pgx", address)
	require.NoError(t, err)
	defer db.Close()
	user := fmt.Sprintf("user%d", rand.Uint64())
	_, err = db.Exec(`CREATE ROLE ` + user + ` LOGIN; CREATE SCHEMA perigee AUTHORIZATION ` + user)
	require.NoError(t, err)
	p := &where{TB: t, url: strings.Replace(address, "user=perigee", "user="+user, 1)}
	s := p.start()
	s.Record(loaded(1))
	s.Record(pair(2))
	s.through(2)
	s.onceEach(2, 2)
}
