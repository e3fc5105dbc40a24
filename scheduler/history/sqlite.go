package history

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
	"modernc.org/sqlite" // registers itself as "sqlite"
	sqlitelib "modernc.org/sqlite/lib"
)

// sqliteFile is a history in a file, which is one scheduler's.
type sqliteFile struct {
	path string
	lock *os.File
}

// pragmas of both, in this order: auto_vacuum is a new file's. A commit is on the
// disk when it returns, since the journal lets go of what is in it.
var pragmas = []string{"auto_vacuum(2)", "busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)", "temp_store(MEMORY)"}

const (
	// writerPragmas keep much in memory, and have the file written when much has
	// changed.
	writerPragmas = "cache_size(-65536),wal_autocheckpoint(8000),journal_size_limit(67108864)"
	readerPragmas = "cache_size(-16384),query_only(1)"
	readers       = 4
)

func (f *sqliteFile) open(ctx context.Context) (write, read *sql.DB, err error) {
	if err := os.MkdirAll(filepath.Dir(f.path), 0o750); err != nil {
		return nil, nil, fmt.Errorf("make the directory of the history: %w", err)
	}
	if err := f.takeLock(); err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			f.close()
		}
	}()
	if write, err = f.connect(writerPragmas, 1); err != nil {
		return nil, nil, err
	}
	if read, err = f.connect(readerPragmas, readers); err != nil {
		return nil, nil, errors.Join(err, write.Close())
	}
	// The first connection makes the file what the pragmas say.
	if err := write.PingContext(ctx); err != nil {
		return nil, nil, errors.Join(f.explain(err), write.Close(), read.Close())
	}
	return write, read, nil
}

// takeLock has no other scheduler use the file, and makes it if it is not there,
// for its owner alone: specs may have secrets.
func (f *sqliteFile) takeLock() error {
	lock, err := os.OpenFile(f.path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("open the history: %w", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return fmt.Errorf("another scheduler uses the history %s: give each a file of its own", f.path)
		}
		return fmt.Errorf("lock the history %s: %w", f.path, err)
	}
	made, err := os.OpenFile(f.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		lock.Close()
		return fmt.Errorf("open the history: %w", err)
	}
	made.Close()
	f.lock = lock
	return nil
}

func (f *sqliteFile) connect(more string, most int) (*sql.DB, error) {
	query := url.Values{"_pragma": append(append([]string(nil), pragmas...), strings.Split(more, ",")...)}
	name := (&url.URL{Scheme: "file", Path: f.path, RawQuery: query.Encode()}).String()
	db, err := sql.Open("sqlite", name)
	if err != nil {
		return nil, fmt.Errorf("open the history %s: %w", f.path, err)
	}
	db.SetMaxOpenConns(most)
	db.SetMaxIdleConns(most)
	return db, nil
}

// explain tells what is no database from what cannot be reached.
func (f *sqliteFile) explain(err error) error {
	var e *sqlite.Error
	if errors.As(err, &e) && e.Code()&0xff == sqlitelib.SQLITE_NOTADB {
		return wrong("%s is no history of Perigee's: it is not a database", f.path)
	}
	return fmt.Errorf("open the history %s: %w", f.path, err)
}

func (f *sqliteFile) close() error {
	if f.lock == nil {
		return nil
	}
	err := f.lock.Close()
	f.lock = nil
	return err
}

func (*sqliteFile) shared() bool                           { return false }
func (*sqliteFile) begin() string                          { return "BEGIN IMMEDIATE" }
func (*sqliteFile) schemas() []string                      { return scripts("sqlite") }
func (*sqliteFile) rebind(query string) string             { return query }
func (*sqliteFile) hold() string                           { return "" }
func (*sqliteFile) alone(context.Context, *sql.Conn) error { return nil }

// blank says whether the file has nothing yet; one that has something else is
// refused.
func (f *sqliteFile) blank(ctx context.Context, c *sql.Conn) (bool, error) {
	var all, meta int
	err := c.QueryRowContext(ctx, `SELECT count(*), count(CASE WHEN name = 'meta' THEN 1 END) FROM sqlite_master WHERE type = 'table'`).Scan(&all, &meta)
	switch {
	case err != nil:
		return false, f.explain(err)
	case all > 0 && meta == 0:
		return false, wrong("%s is no history of Perigee's: it is the database of something else", f.path)
	}
	return all == 0, nil
}

// rowsAtOnce are inserted by one statement: more would not be faster.
const rowsAtOnce = 20

func (*sqliteFile) put(b *batch, k kind, rows []row) error {
	for len(rows) > 0 {
		n := rowsAtOnce
		if len(rows) < n {
			n = 1
		}
		args := make([]any, 0, 10*n)
		for i := range rows[:n] {
			args = append(args, rows[i].values()...)
		}
		if _, err := b.exec(insertRows[k][n > 1], args...); err != nil {
			return err
		}
		for i := range rows[:n] {
			if _, err := b.exec(insertTerms[k.String()], rows[i].k, sqliteTerms(&rows[i])); err != nil {
				return err
			}
		}
		rows = rows[n:]
	}
	return nil
}

func (r *row) values() []any {
	return []any{r.k, r.version, r.ident, r.job, r.agent, r.state, r.span, r.began, r.link, r.body}
}

// Statements by kind or table, and whether they are for many rows.
var (
	insertRows  [kinds]map[bool]string
	insertTerms = map[string]string{eventsTable: `INSERT INTO events_terms (rowid, terms) VALUES (?, ?)`}
)

func init() {
	for k := range kinds {
		one := "(" + questions(10) + ")"
		insert := "INSERT INTO " + k.String() + " (k, version, ident, job, agent, state, span, began, link, body) VALUES " + one
		insertRows[k] = map[bool]string{false: insert, true: insert + strings.Repeat(", "+one, rowsAtOnce-1)}
		insertTerms[k.String()] = `INSERT INTO ` + k.String() + `_terms (rowid, terms) VALUES (?, ?)`
	}
}

const insertBlock = `INSERT INTO events (k, incarnation, first_index, first_ordinal, last_index, last_ordinal, count, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`

func (e *block) values(incarnation int64) []any {
	return []any{e.k, incarnation, e.first.Index, e.first.Ordinal, e.last.Index, e.last.Ordinal, e.count, e.body}
}

func (*sqliteFile) putBlock(b *batch, e block) error {
	if _, err := b.exec(insertBlock, e.values(b.mark.incarnation)...); err != nil {
		return err
	}
	_, err := b.exec(insertTerms[eventsTable], e.k, strings.Join(e.terms, " "))
	return err
}

func (*sqliteFile) forget(b *batch, table string, keys []int64) error {
	_, err := b.exec(`DELETE FROM `+table+`_terms WHERE rowid IN (`+questions(len(keys))+`)`, anys(keys)...)
	return err
}

// prefixes of terms in the index, by what they are. None is a prefix of the text
// that other terms begin with.
var prefixes = [...]string{byIdent: "i", byJobState: "j", byJobSpan: "k", byAgentSpan: "a", byState: "s", bySpan: "p", byLink: "l"}

// text of a term in the index: letters and digits, a word to the tokenizer.
func (t term) text(out []byte) []byte {
	out = append(out, prefixes[t.by]...)
	for i, n := range t.numbers() {
		if i > 0 {
			out = append(out, 'z') // no hexadecimal digit
		}
		out = strconv.AppendUint(out, uint64(n), 16)
	}
	return out
}

func sqliteTerms(r *row) string {
	out := make([]byte, 0, 128)
	for _, t := range r.numbered() {
		out = append(t.text(out), ' ')
	}
	for _, t := range r.terms {
		out = append(append(out, t...), ' ')
	}
	return string(out)
}
