package server

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestLimit_RateAndBurst(t *testing.T) {
	t.Parallel()
	l, now := newLimit("x", 10, 20), time.Unix(1_800_000_000, 0)
	for i := range 200 {
		require.Zero(t, l.take("ann", now), i)
	}
	require.Equal(t, 100*time.Millisecond, l.take("ann", now))
	require.Equal(t, 100*time.Millisecond, l.take("ann", now), "who is refused has not taken any")
	require.Zero(t, l.take("bob", now), "another's are their own")
	l.giveBack("ann")
	l.giveBack("eve")
	require.Zero(t, l.take("ann", now))
	require.Equal(t, 100*time.Millisecond, l.take("ann", now))
	now = now.Add(50 * time.Millisecond)
	require.Equal(t, 50*time.Millisecond, l.take("ann", now))
	now = now.Add(50 * time.Millisecond)
	require.Zero(t, l.take("ann", now))
	require.NotZero(t, l.take("ann", now))
	now = now.Add(time.Second)
	for range 10 {
		require.Zero(t, l.take("ann", now))
	}
	require.NotZero(t, l.take("ann", now))
	require.NotZero(t, l.take("ann", now.Add(-time.Hour)), "a clock that is set back gives none")
	now = now.Add(time.Hour)
	for range 200 {
		require.Zero(t, l.take("ann", now))
	}
	require.NotZero(t, l.take("ann", now), "and no more after a long pause")

	var none *limit
	require.Nil(t, newLimit("x", 0, 20))
	require.Zero(t, none.take("ann", now))
	none.giveBack("ann")
}

func TestLimit_MemoryIsBounded(t *testing.T) {
	t.Parallel()
	l, now := newLimit("x", 1, 5), time.Unix(1_800_000_000, 0)
	for i := range 3 * limitedMost {
		l.take(fmt.Sprint("at once ", i), now)
	}
	require.Len(t, l.buckets, limitedMost)
	require.Equal(t, limitedMost, l.recent.Len())
	for range 5 {
		l.take("ann", now)
	}
	for i := range limitedMost - 1 {
		l.take(fmt.Sprint("later ", i), now)
	}
	require.NotZero(t, l.take("ann", now), "who asks is not forgotten before those who asked earlier")
	// Those who have all that they may have are forgotten while others come.
	for i := range 3 * limitedMost {
		now = now.Add(time.Second)
		l.take(fmt.Sprint("in turn ", i), now)
	}
	require.LessOrEqual(t, len(l.buckets), 5)

	r := newRemembered()
	key := func(i int) [16]byte { return [16]byte([]byte(fmt.Sprintf("%016d", i))) }
	for i := range 3 * limitedMost {
		r.add(key(i))
		r.add(key(0))
	}
	require.Len(t, r.known, limitedMost)
	require.Equal(t, limitedMost, r.recent.Len())
	require.True(t, r.has(key(0)))
	require.True(t, r.has(key(3*limitedMost-1)))
	require.False(t, r.has(key(1)))
	r.drop(key(0))
	r.drop(key(1))
	require.False(t, r.has(key(0)))
}

func TestLimit_AddressesThatAreOneCaller(t *testing.T) {
	t.Parallel()
	for _, c := range [][2]string{{"10.0.0.7", "10.0.0.7"}, {"::ffff:10.0.0.7", "10.0.0.7"}, {"2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"},
		{"2001:db8:1:2::9", "2001:db8:1:2::/64"}, {"fe80::1%eth0", "fe80::/64"}, {"@", "@"}} {
		require.Equal(t, c[1], addressKey(c[0]))
	}
}

func BenchmarkLimit(b *testing.B) {
	l, now := newLimit("x", 1e9, 20), time.Now()
	keys := make([]string, 1000)
	for i := range keys {
		keys[i] = fmt.Sprint("token ", i)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		l.take(keys[i%len(keys)], now)
	}
}
