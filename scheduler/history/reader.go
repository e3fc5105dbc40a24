package history

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// queryPatience bounds a query.
const queryPatience = 10 * time.Second

// reader reads a store.
type reader struct{ s *store }

// reading has do read the history, if it can be, and within a time.
func (h *History) reading(ctx context.Context, do func(context.Context, *reader) error) error {
	s := h.store.Load()
	if s == nil {
		if err := h.problem(); err != nil {
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		return fmt.Errorf("%w: it is not open yet", ErrUnavailable)
	}
	within, cancel := context.WithTimeout(ctx, queryPatience)
	defer cancel()
	err := do(within, &reader{s})
	switch {
	case err == nil || isOurs(err):
		return err
	case ctx.Err() != nil:
		return ctx.Err()
	case within.Err() != nil:
		return ErrSlow
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// isOurs says whether an error is one that callers know.
func isOurs(err error) bool {
	var gap *GapError
	var invalid api.Invalid
	return errors.As(err, &gap) || errors.As(err, &invalid)
}

func (r *reader) query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return r.s.read.QueryContext(ctx, r.s.rebind(query), args...)
}

func (r *reader) row(ctx context.Context, query string, args ...any) *sql.Row {
	return r.s.read.QueryRowContext(ctx, r.s.rebind(query), args...)
}

// found is a row that was read.
type found struct {
	k, version int64
	job, agent int64
	body       []byte
}

// decode reads what a row has into a record, and completes it by the names.
func (r *reader) decode(ctx context.Context, k kind, f *found) (record.Message, error) {
	data, err := unpack(f.body)
	if err != nil {
		return nil, err
	}
	job, err := r.s.jobNames.get(f.job, func() (name string, err error) {
		err = r.row(ctx, `SELECT name FROM jobs WHERE n = ?`, f.job).Scan(&name)
		return name, err
	})
	if err != nil {
		return nil, fmt.Errorf("look up job %d: %w", f.job, err)
	}
	switch k {
	case tasks:
		return r.decodeTask(ctx, f, job, data)
	case runs:
		m := new(record.Run)
		err = proto.Unmarshal(data, m)
		m.Job = job
		return m, err
	default:
		m := new(record.Deploy)
		err = proto.Unmarshal(data, m)
		m.Job = job
		return m, err
	}
}

func (r *reader) decodeTask(ctx context.Context, f *found, job string, data []byte) (record.Message, error) {
	t := new(record.Task)
	if err := proto.Unmarshal(data, t); err != nil {
		return nil, err
	}
	t.Job = job
	if f.agent == 0 {
		return t, nil
	}
	a, err := r.s.agentNames.get(f.agent, func() (a agent, err error) {
		err = r.row(ctx, `SELECT agent, host, url, root FROM agents WHERE n = ?`, f.agent).Scan(&a.id, &a.host, &a.url, &a.root)
		return a, err
	})
	if err != nil {
		return nil, fmt.Errorf("look up agent %d: %w", f.agent, err)
	}
	t.Agent, t.Host, t.AgentUrl, t.SandboxRoot = a.id, a.host, a.url, a.root
	return t, nil
}

// lookup has names by number, which never change.
type lookup[T any] struct {
	mu    sync.Mutex
	known map[int64]T
}

func (l *lookup[T]) get(n int64, ask func() (T, error)) (T, error) {
	l.mu.Lock()
	name, ok := l.known[n]
	l.mu.Unlock()
	if ok {
		return name, nil
	}
	name, err := ask()
	if err != nil {
		return name, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.known == nil || len(l.known) >= cacheMost {
		l.known = map[int64]T{}
	}
	l.known[n] = name
	return name, nil
}
