package server_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
	"github.com/perigee-sched/perigee/server"
)

func knows(features ...string) func(*server.Options) {
	return func(o *server.Options) { o.Features = features }
}

func (s *several) schedulers(p *process) []api.Scheduler {
	s.Helper()
	all, err := p.Schedulers(context.Background())
	require.NoError(s, err)
	return all
}

// answering waits until one scheduler lists n, all of which answer it in time.
func (s *several) answering(p *process, n int) (all []api.Scheduler) {
	s.Helper()
	s.eventually(fmt.Sprintf("%d schedulers answer", n), func() bool {
		all = s.schedulers(p)
		return len(all) == n && !slices.ContainsFunc(all, func(is api.Scheduler) bool { return is.Unreachable != "" })
	})
	return all
}

// All schedulers are told of by any, with what they know; and a leader uses a
// feature only while all do.
func TestSchedulers_TellWhatTheyAre(t *testing.T) {
	t.Parallel()
	s := beginSeveral(t, 0)
	first := s.start(knows("x", "y"))
	s.leader(first)
	usable := func(want ...string) {
		t.Helper()
		s.eventually("usable is what all know", func() bool {
			return strings.Join(first.shows().UsableFeatures, " ") == strings.Join(want, " ")
		})
	}
	usable("x", "y")
	second := s.start(knows("y", "z"))
	usable("y")
	s.eventually("both stand for election", func() bool { return len(second.shows().Schedulers) == 2 })
	older := s.start(knows())
	usable()
	all := s.answering(second, 3)
	require.Equal(t, first.Base(), all[0].Address)
	require.Equal(t, api.RoleLeader, all[0].Role)
	require.Nil(t, all[0].Lag)
	require.Equal(t, []string{"x", "y"}, all[0].Features)
	for _, is := range all {
		require.Equal(t, server.Version, is.Version)
		if is.Address != first.Base() {
			require.Equal(t, api.RoleStandby, is.Role)
			require.NotNil(t, is.Lag)
		}
	}
	s.eventually("all have measured how far clocks differ", func() bool {
		for _, is := range s.schedulers(second) {
			if is.ClockAhead == nil || is.ClockAhead.Std().Abs() > 2*time.Second {
				return false
			}
		}
		return true
	})
	require.NoError(t, older.end())
	usable("y")
	s.answering(second, 2)
	require.NoError(t, second.end())
	usable("x", "y")
}

// logged keeps what a scheduler logs, and passes it on.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logged) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), text)
}

// with has a scheduler's clock be ahead, and its log kept.
func (l *logged) with(ahead time.Duration) func(*server.Options) {
	return func(o *server.Options) {
		o.Now = func() time.Time { return time.Now().Add(ahead) }
		o.Log = slog.New(slog.NewTextHandler(l, nil))
	}
}

// Schedulers whose clocks differ say so, and run each instant of a cron once, in
// order, whoever leads.
func TestSkew_IsToldAndCronsAreUnaffected(t *testing.T) {
	t.Parallel()
	s := beginSeveral(t, 0)
	var logs [2]logged
	ahead := s.start(logs[0].with(time.Second))
	behind := s.start(logs[1].with(-time.Second))
	s.leader(ahead, behind)
	ctx := context.Background()
	spec, err := api.DecodeSpec([]byte(`{"job":"etl/prod/tick","kind":"cron","command":"./tick","resources":{"cpus":0.1,"memory":"64MiB"},
		"schedule":{"cron":"@every 1s","overlap":"allow","missed":"all","max_missed":100,"max_runs":100}}`))
	require.NoError(t, err)
	_, err = ahead.PutJob(ctx, spec, client.PutOptions{})
	require.NoError(t, err)

	// instants wants those decided to be each a second after the one before, and
	// returns how many there are.
	instants := func(p *process) int {
		t.Helper()
		var all []time.Time
		for r, err := range client.All(func(cursor string) (*api.Page[api.Run], error) {
			return p.Runs(ctx, "etl/prod/tick", client.RunFilter{Cursor: cursor})
		}) {
			require.NoError(t, err)
			require.NotNil(t, r.Instant)
			all = append(all, *r.Instant)
		}
		for i := range len(all) - 1 {
			require.Equal(t, time.Second, all[i].Sub(all[i+1]).Abs(), "%s follows %s", all[i+1], all[i])
		}
		return len(all)
	}
	for range 2 {
		leader, _ := s.leader(ahead, behind)
		n := instants(leader)
		s.eventually("some instants are decided", func() bool { return instants(leader) > n+2 })
		_, err := leader.StepDown(ctx)
		require.NoError(t, err)
		s.eventually("another leads", func() bool { return leader.shows().Role == api.RoleStandby })
	}
	leader, _ := s.leader(ahead, behind)
	n := instants(leader)
	s.eventually("more instants are decided", func() bool { return instants(leader) > n+2 })
	for i, p := range []*process{behind, ahead} {
		s.eventually("the difference is logged", func() bool {
			return logs[i].has("clock and another scheduler's differ") && logs[i].has(p.Base())
		})
	}
}
