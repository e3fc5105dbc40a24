package history

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// postgres is a history in PostgreSQL, which all schedulers share.
type postgres struct{ config *pgx.ConnConfig }

const (
	// postgresSchema has the tables, unless the URL says another search_path.
	postgresSchema = "perigee"
	// postgresConnect bounds how long a connection takes to be made.
	postgresConnect = 5 * time.Second
)

func newPostgres(address string) (*postgres, error) {
	config, err := pgx.ParseConfig(address)
	if err != nil {
		return nil, wrong("the URL of the history cannot be read: %v", err) // it has no password in it
	}
	if config.RuntimeParams["search_path"] == "" {
		config.RuntimeParams["search_path"] = postgresSchema
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "perigee"
	}
	// The planner's own compiler costs more than such queries take.
	config.RuntimeParams["jit"] = "off"
	config.ConnectTimeout = postgresConnect
	return &postgres{config}, nil
}

// postgresReads are settings of those who read. A plan for any words and times is a
// poor one for most; to begin workers takes longer than a query may; and what reads
// a whole table was guessed wrongly.
var postgresReads = map[string]string{"plan_cache_mode": "force_custom_plan", "max_parallel_workers_per_gather": "0", "enable_seqscan": "off"}

func (p *postgres) open(ctx context.Context) (write, read *sql.DB, err error) {
	reads := p.config.Copy()
	for name, value := range postgresReads {
		if reads.RuntimeParams[name] == "" {
			reads.RuntimeParams[name] = value
		}
	}
	write, read = stdlib.OpenDB(*p.config), stdlib.OpenDB(*reads)
	write.SetMaxOpenConns(1)
	read.SetMaxOpenConns(readers)
	read.SetMaxIdleConns(readers)
	read.SetConnMaxIdleTime(time.Minute)
	if err := p.makeSchema(ctx, write); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("open the history in PostgreSQL: %w", err), write.Close(), read.Close())
	}
	return write, read, nil
}

// makeSchema makes the schema that has the tables, if it is ours and not there:
// who may use it may not be allowed to make it.
func (p *postgres) makeSchema(ctx context.Context, db *sql.DB) error {
	if p.config.RuntimeParams["search_path"] != postgresSchema {
		return db.PingContext(ctx)
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()                                                       // nothing when it was committed
	if _, err := tx.ExecContext(ctx, lockSchema, migrationLock); err != nil { // two that make it at once would fail
		return err
	}
	var there bool
	if err := tx.QueryRowContext(ctx, `SELECT to_regnamespace('`+postgresSchema+`') IS NOT NULL`).Scan(&there); err != nil {
		return err
	}
	if !there {
		if _, err := tx.ExecContext(ctx, `CREATE SCHEMA `+postgresSchema); err != nil {
			return err
		}
	}
	return tx.Commit()
}

func (*postgres) close() error      { return nil }
func (*postgres) shared() bool      { return true }
func (*postgres) begin() string     { return "BEGIN" }
func (*postgres) schemas() []string { return scripts("postgres") }
func (*postgres) hold() string      { return "SELECT one FROM mark FOR UPDATE" }

// migrationLock is a number that stands for history's schema in PostgreSQL's
// advisory locks.
const migrationLock = 7300_2020

const lockSchema = `SELECT pg_advisory_xact_lock($1)`

func (*postgres) alone(ctx context.Context, c *sql.Conn) error {
	if _, err := c.ExecContext(ctx, lockSchema, migrationLock); err != nil {
		return fmt.Errorf("wait for other schedulers to bring history's schema up to date: %w", err)
	}
	return nil
}

func (*postgres) blank(ctx context.Context, c *sql.Conn) (bool, error) {
	var there bool
	if err := c.QueryRowContext(ctx, `SELECT to_regclass('meta') IS NOT NULL`).Scan(&there); err != nil {
		return false, fmt.Errorf("look for history's schema: %w", err)
	}
	return !there, nil
}

// rebind numbers the question marks. Nothing that is written here has one
// elsewhere.
func (*postgres) rebind(query string) string {
	var b strings.Builder
	n := 0
	for part := range strings.SplitSeq(query, "?") {
		if n > 0 {
			b.WriteString("$" + strconv.Itoa(n))
		}
		b.WriteString(part)
		n++
	}
	return b.String()
}

func (p *postgres) put(b *batch, k kind, rows []row) error {
	for len(rows) > 0 {
		n := min(postgresAtOnce, len(rows))
		if n < postgresAtOnce {
			n = 1
		}
		args := make([]any, 0, 11*n)
		for i := range rows[:n] {
			args = append(append(args, rows[i].values()...), textArray(rows[i].terms))
		}
		if _, err := b.exec(postgresInsert[k][n > 1], args...); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

// postgresAtOnce rows are inserted by one statement.
const postgresAtOnce = 50

var postgresInsert [kinds]map[bool]string

func init() {
	for k := range kinds {
		one := "(" + questions(11) + ")"
		insert := "INSERT INTO " + k.String() + " (k, version, ident, job, agent, state, span, began, link, body, terms) VALUES " + one
		postgresInsert[k] = map[bool]string{false: insert, true: insert + strings.Repeat(", "+one, postgresAtOnce-1)}
	}
}

// textArray is nil for no terms, so that the index has nothing of such a row.
func textArray(terms []string) any {
	if len(terms) == 0 {
		return nil
	}
	return terms
}

func (*postgres) putBlock(b *batch, e block) error {
	_, err := b.exec(`INSERT INTO events (k, incarnation, first_index, first_ordinal, last_index, last_ordinal, count, body, terms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		append(e.values(b.mark.incarnation), textArray(e.terms))...)
	return err
}

func (*postgres) forget(*batch, string, []int64) error { return nil } // they are columns

// find has the rows of each term selected from an index, newest first.
func (*postgres) find(f find) (string, []any) {
	if len(f.any) == 0 && len(f.groups) > 0 {
		return findByWords(f)
	}
	where, rest := "k >= ? AND k < ?", []any{f.from, f.to}
	for _, g := range f.groups {
		where += " AND terms && ?"
		rest = append(rest, g)
	}
	where += " ORDER BY k DESC LIMIT ?"
	rest = append(rest, f.limit)
	switch {
	case len(f.any) == 0:
		return `SELECT k FROM ` + f.table + ` WHERE ` + where, rest
	case len(f.any) > plannedAlone:
		return findTogether(f, where, rest)
	}
	var parts []string
	var args []any
	for _, t := range f.any {
		equal := ""
		for i, column := range columns[t.by] {
			equal += column + " = ? AND "
			args = append(args, t.numbers()[i])
		}
		parts = append(parts, `(SELECT k FROM `+f.table+` WHERE `+equal+where+`)`)
		args = append(args, rest...)
	}
	return strings.Join(parts, " UNION ALL "), args
}

// rareMost is how many rows words have at the most that are sorted.
const rareMost = 500

// findByWords finds rows by words and parameters alone. How many have them all
// PostgreSQL cannot tell, and a wrong guess has it sort very many, or look through
// the whole table for few. So it is tried: where they are few they are sorted, and
// otherwise the newest rows are looked at one after the other, without the index.
func findByWords(f find) (string, []any) {
	within, bounds := "k >= ? AND k < ?", []any{f.from, f.to}
	indexed, looked := within, within
	for _, g := range f.groups {
		indexed += " AND terms && ?"
		looked += " AND (terms && ?) IS TRUE"
		bounds = append(bounds, g)
	}
	args := append(append([]any(nil), bounds...), rareMost+1, rareMost)
	args = append(append(args, bounds...), rareMost, f.limit, f.limit)
	return `WITH few AS MATERIALIZED (SELECT k FROM ` + f.table + ` WHERE ` + indexed + ` LIMIT ?)
		SELECT k FROM (SELECT k FROM few WHERE (SELECT count(*) FROM few) <= ? UNION ALL
			(SELECT k FROM ` + f.table + ` WHERE ` + looked + ` AND (SELECT count(*) FROM few) > ? ORDER BY k DESC LIMIT ?)) AS either
		ORDER BY k DESC LIMIT ?`, args
}

// plannedAlone terms have a plan each, which knows how many rows a term has. To
// make more of them takes longer than what they do.
const plannedAlone = 30

// findTogether finds the rows of all terms by the same columns with one plan.
func findTogether(f find, where string, rest []any) (string, []any) {
	var parts []string
	var args []any
	for by, names := range columns {
		numbers := make([][]int64, len(names))
		for _, t := range f.any {
			for i, n := range t.numbers() {
				if int(t.by) == by {
					numbers[i] = append(numbers[i], n)
				}
			}
		}
		if len(numbers[0]) == 0 {
			continue
		}
		equal := ""
		for i, name := range names {
			equal += name + " = t.n" + strconv.Itoa(i) + " AND "
			args = append(args, numbers[i])
		}
		parts = append(parts, `SELECT f.k FROM unnest(`+[...]string{"?::bigint[]) AS t(n0)", "?::bigint[], ?::bigint[]) AS t(n0, n1)"}[len(names)-1]+
			` CROSS JOIN LATERAL (SELECT k FROM `+f.table+` WHERE `+equal+where+`) AS f`)
		args = append(args, rest...)
	}
	return strings.Join(parts, " UNION ALL "), args
}

// used is an estimate: what PostgreSQL's files have includes what it will use
// again.
func (*postgres) used(ctx context.Context, s *store) (n int64, err error) {
	err = s.read.QueryRowContext(ctx, `SELECT coalesce(sum(bytes), 0)::bigint FROM counts`).Scan(&n)
	return n, err
}

func (*postgres) vacuum(context.Context, *store, int64) error { return nil } // its own does
