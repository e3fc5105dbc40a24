package artifact

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func newCache(t testing.TB, size int64) *Cache {
	c, err := OpenCache(filepath.Join(t.TempDir(), "cache"), size)
	require.NoError(t, err)
	return c
}

// place places body and returns what arrived, and whether it was fetched.
func place(t testing.TB, c *Cache, body []byte) (fetched bool) {
	to := fileOf(t, nil)
	require.NoError(t, c.Place(context.Background(), digestOf(body), to, func(_ context.Context, f *os.File) error {
		fetched = true
		_, err := f.Write(body)
		return err
	}))
	got, err := os.ReadFile(to.Name())
	require.NoError(t, err)
	require.True(t, bytes.Equal(body, got))
	return fetched
}

func TestCache_EvictsTheLeastRecentlyUsed(t *testing.T) {
	t.Parallel()
	c := newCache(t, 250)
	bodies := [][]byte{bytes.Repeat([]byte("a"), 100), bytes.Repeat([]byte("b"), 100), bytes.Repeat([]byte("c"), 100)}
	for i, age := range []time.Duration{2 * time.Hour, time.Hour} {
		require.True(t, place(t, c, bodies[i]))
		old := time.Now().Add(-age)
		require.NoError(t, os.Chtimes(filepath.Join(c.dir, digestOf(bodies[i])), old, old))
	}
	require.False(t, place(t, c, bodies[0]), "cached, and now used last")
	require.True(t, place(t, c, bodies[2]), "too much: b goes")
	require.False(t, place(t, c, bodies[0]))
	require.False(t, place(t, c, bodies[2]))
	require.True(t, place(t, c, bodies[1]), "b was evicted")
	_, total, err := c.list()
	require.NoError(t, err)
	require.LessOrEqual(t, total, int64(250))
}

func TestCache_WhatIsInUseStays(t *testing.T) {
	t.Parallel()
	c := newCache(t, 10)
	body := bytes.Repeat([]byte("a"), 100)
	lock, err := c.lock(context.Background(), digestOf(body), syscall.LOCK_SH)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(c.dir, digestOf(body)), body, 0o600))
	require.NoError(t, c.evict())
	require.FileExists(t, filepath.Join(c.dir, digestOf(body)))
	require.NoError(t, lock.Close())
	require.NoError(t, c.evict())
	left, err := os.ReadDir(c.dir)
	require.NoError(t, err)
	require.Empty(t, left, "the lock goes as well")
}

func TestCache_ManyAtOnceWithEviction(t *testing.T) {
	t.Parallel()
	c := newCache(t, 100) // nothing fits for long
	var wait sync.WaitGroup
	var wrong atomic.Int64
	for i := range 40 {
		body := bytes.Repeat([]byte{byte('a' + i%4)}, 90)
		to := fileOf(t, nil)
		wait.Go(func() {
			err := c.Place(context.Background(), digestOf(body), to, func(_ context.Context, f *os.File) error {
				_, err := f.Write(body)
				return err
			})
			got, readErr := os.ReadFile(to.Name())
			if err != nil || readErr != nil || !bytes.Equal(got, body) {
				wrong.Add(1)
			}
		})
	}
	wait.Wait()
	require.Zero(t, wrong.Load())
}

func TestCache_FailedFetchLeavesNothing(t *testing.T) {
	t.Parallel()
	c := newCache(t, 100)
	boom := errors.New("boom")
	err := c.Place(context.Background(), digestOf(nil), fileOf(t, nil), func(_ context.Context, f *os.File) error {
		_, _ = f.Write([]byte("half"))
		return boom
	})
	require.ErrorIs(t, err, boom)
	_, total, err := c.list()
	require.NoError(t, err)
	require.Zero(t, total)
}

func TestCache_WaitingEndsWithTheContext(t *testing.T) {
	t.Parallel()
	c := newCache(t, 100)
	lock, err := c.lock(context.Background(), digestOf(nil), syscall.LOCK_EX)
	require.NoError(t, err)
	defer lock.Close()
	ctx, cancel := context.WithCancelCause(context.Background())
	cause := errors.New("killed")
	cancel(cause)
	require.ErrorIs(t, c.Place(ctx, digestOf(nil), fileOf(t, nil), nil), cause)
}

func TestCache_DirectoryOfOthersIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o777))
	_, err := OpenCache(dir, 100)
	require.ErrorContains(t, err, "writable for nobody else")
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(t.TempDir(), link))
	_, err = OpenCache(link, 100)
	require.Error(t, err)
}

// BenchmarkCache_Warm is what an artifact costs that is in the cache.
func BenchmarkCache_Warm(b *testing.B) {
	c := newCache(b, 1<<40)
	body := bytes.Repeat([]byte("perigee!"), 8<<20)
	place(b, c, body)
	b.SetBytes(int64(len(body)))
	dir, digest := b.TempDir(), digestOf(body)
	for b.Loop() {
		f, err := os.Create(filepath.Join(dir, "copy"))
		require.NoError(b, err)
		require.NoError(b, c.Place(context.Background(), digest, f, nil))
		require.NoError(b, f.Close())
		require.NoError(b, os.Remove(f.Name()))
	}
}
