package static_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/scheduler/lease"
	"github.com/perigee-sched/perigee/scheduler/lease/static"
)

func TestLeadsAtOnceAndUntilReleased(t *testing.T) {
	t.Parallel()
	l := static.New("http://alone:7300")
	require.Empty(t, l.Leader(), "it has not stood yet")
	term, err := l.Acquire(t.Context())
	require.NoError(t, err)
	require.Equal(t, "http://alone:7300", l.Leader())
	require.False(t, isLost(term))
	require.Greater(t, time.Until(term.Deadline()), time.Minute, "nobody else can be elected")
	require.NoError(t, term.Release(t.Context()))
	require.NoError(t, term.Release(t.Context()), "twice is no error")
	require.True(t, isLost(term))
	require.False(t, time.Now().Before(term.Deadline()))
	require.Empty(t, l.Leader())
}

func TestLeadsAgain(t *testing.T) {
	t.Parallel()
	l := static.New("http://alone:7300")
	first, err := l.Acquire(t.Context())
	require.NoError(t, err)
	require.NoError(t, first.Release(t.Context()))
	second, err := l.Acquire(t.Context())
	require.NoError(t, err)
	require.False(t, isLost(second))
	require.True(t, isLost(first))
	require.Equal(t, "http://alone:7300", l.Leader())
	require.NoError(t, l.Close())
	require.Empty(t, l.Leader())
}

func TestAnEndedContextElectsNobody(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	l := static.New("http://alone:7300")
	_, err := l.Acquire(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.Empty(t, l.Leader())
}

func isLost(term lease.Term) bool {
	select {
	case <-term.Lost():
		return true
	default:
		return false
	}
}
