package server

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

func TestRunParts_EndInReverseOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var ended []string
		part := func(name string) Part {
			return Part{name, func(ctx context.Context) error {
				<-ctx.Done()
				ended = append(ended, name) // one at a time, as is tested
				return nil
			}}
		}
		ctx, cancel := context.WithCancel(t.Context())
		over := make(chan error, 1)
		go func() { over <- RunParts(ctx, []Part{part("journal"), part("engine"), part("api")}) }()
		synctest.Wait()
		require.Empty(t, ended)
		cancel()
		require.NoError(t, <-over)
		require.Equal(t, []string{"api", "engine", "journal"}, ended)
	})
}

func TestRunParts_OneThatDiesEndsAll(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	waits := Part{"waits", func(ctx context.Context) error { <-ctx.Done(); return nil }}
	err := RunParts(t.Context(), []Part{waits, {"dies", func(context.Context) error { return broken }}, waits})
	require.ErrorIs(t, err, broken)
	require.EqualError(t, err, "dies: broken")
	err = RunParts(t.Context(), []Part{waits, {"returns", func(context.Context) error { return nil }}})
	require.EqualError(t, err, "returns: ended by itself")
}
