package history

import (
	"database/sql"
	"errors"
	"fmt"
	"maps"
)

// cache has the numbers of names that were used lately. It is Run's alone.
type cache struct {
	jobs   map[string]int64
	agents map[agent]int64
}

// cacheMost bounds the names of each kind.
const cacheMost = 100_000

func newCache() cache { return cache{jobs: map[string]int64{}, agents: map[agent]int64{}} }

func (c *cache) take(from cache) {
	if len(c.jobs) > cacheMost {
		clear(c.jobs)
	}
	if len(c.agents) > cacheMost {
		clear(c.agents)
	}
	maps.Copy(c.jobs, from.jobs)
	maps.Copy(c.agents, from.agents)
}

// job implements names.
func (b *batch) job(name string) (int64, error) {
	return numberOf(b.names.jobs, b.fresh.jobs, name, func() (int64, error) {
		return b.number(`SELECT n FROM jobs WHERE name = ?`, `INSERT INTO jobs (name) VALUES (?) RETURNING n`, name)
	})
}

// agent implements names.
func (b *batch) agent(a agent) (int64, error) {
	return numberOf(b.names.agents, b.fresh.agents, a, func() (int64, error) {
		return b.number(`SELECT n FROM agents WHERE agent = ? AND host = ? AND url = ? AND root = ?`,
			`INSERT INTO agents (agent, host, url, root) VALUES (?, ?, ?, ?) RETURNING n`, a.id, a.host, a.url, a.root)
	})
}

func numberOf[K comparable](known, fresh map[K]int64, name K, ask func() (int64, error)) (int64, error) {
	if n, ok := known[name]; ok {
		return n, nil
	}
	if n, ok := fresh[name]; ok {
		return n, nil
	}
	n, err := ask()
	if err == nil {
		fresh[name] = n
	}
	return n, err
}

// number selects a name's, or gives it one.
func (b *batch) number(find, insert string, args ...any) (n int64, err error) {
	err = b.one(find, args, &n)
	if errors.Is(err, sql.ErrNoRows) {
		err = b.one(insert, args, &n)
	}
	if err != nil {
		return 0, fmt.Errorf("number a name in history: %w", err)
	}
	return n, nil
}
