package zktest_test

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/scheduler/zookeeper/zktest"
)

// A port that was claimed is nobody else's, whether its owner listens or not.
func TestClaimPort(t *testing.T) {
	t.Parallel()
	seen := map[int]bool{}
	for range 200 {
		p, err := zktest.ClaimPort()
		require.NoError(t, err)
		t.Cleanup(p.Release)
		require.False(t, seen[p.Number], "port %d was claimed twice", p.Number)
		seen[p.Number] = true
	}
	for range 200 { // what the kernel chooses is never one of those
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, l.Close()) })
		require.False(t, seen[l.Addr().(*net.TCPAddr).Port])
	}
}
