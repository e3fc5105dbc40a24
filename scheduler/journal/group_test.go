package journal_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/perigee-sched/perigee/scheduler/journal"
	"github.com/perigee-sched/perigee/scheduler/record"
)

func TestSplit_KeepsOrderAndLimit(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 1))
		whole := &record.Entry{Index: 7 + seed, Epoch: 1 << 40, At: 1 << 45, EventBefore: seed, EventBeforeOrdinal: 1<<31 - 1}
		for i := range rng.IntN(40) {
			whole.Puts = append(whole.Puts, &record.Put{Key: fmt.Sprintf("task/%d", i), Value: make([]byte, rng.IntN(300))})
		}
		for i := range rng.IntN(40) {
			whole.Deletes = append(whole.Deletes, fmt.Sprintf("run/%d", i))
		}
		for range rng.IntN(40) {
			whole.Events = append(whole.Events, make([]byte, rng.IntN(300)))
		}
		maxBytes := 400 + rng.IntN(2000)
		parts, err := journal.Split(whole, maxBytes)
		require.NoError(t, err)
		require.NoError(t, journal.Check(parts, journal.Position{Epoch: whole.Epoch, Index: whole.Index}))
		joined := &record.Entry{Index: whole.Index, Epoch: whole.Epoch, At: whole.At,
			EventBefore: parts[0].EventBefore, EventBeforeOrdinal: parts[0].EventBeforeOrdinal}
		for i, p := range parts {
			require.LessOrEqual(t, proto.Size(p), maxBytes)
			require.Equal(t, whole.At, p.At)
			if i > 0 {
				require.Greater(t, proto.Size(p)+proto.Size(parts[i-1]), maxBytes/2, "parts are not needlessly small")
			}
			joined.Puts = append(joined.Puts, p.Puts...)
			joined.Deletes = append(joined.Deletes, p.Deletes...)
			joined.Events = append(joined.Events, p.Events...)
		}
		require.True(t, proto.Equal(whole, joined), "seed %d", seed)
	}
}

func TestSplit_RefusesWhatFitsInNoEntry(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("x", 1000)
	for what, entry := range map[string]*record.Entry{
		`record "a"`:  {Puts: []*record.Put{{Key: "a", Value: []byte(big)}}},
		"deleted key": {Deletes: []string{big}},
		"event 1":     {Events: [][]byte{{1}, []byte(big)}},
	} {
		_, err := journal.Split(entry, 500)
		require.ErrorIs(t, err, journal.ErrRefused)
		require.ErrorContains(t, err, what)
	}
}

func TestAssembler_GivesWholeGroupsOnly(t *testing.T) {
	t.Parallel()
	var a journal.Assembler
	add := func(index, epoch uint64, continued bool) int {
		group, err := a.Add(&record.Entry{Index: index, Epoch: epoch, Continued: continued})
		require.NoError(t, err)
		return len(group)
	}
	require.Equal(t, 1, add(4, 1, false))
	require.Equal(t, 0, add(5, 1, true))
	require.Equal(t, 2, add(6, 1, false))
	require.Equal(t, 0, add(7, 1, true), "left open")
	require.Equal(t, 0, add(8, 2, true), "a newer epoch discards what was open")
	require.Equal(t, 2, add(9, 2, false))
	require.Equal(t, journal.Position{Epoch: 2, Index: 9}, a.Last())
	_, err := a.Add(&record.Entry{Index: 11, Epoch: 2})
	require.ErrorContains(t, err, "holds entry 11 where 10 is next")
	_, err = a.Add(&record.Entry{Index: 10, Epoch: 1})
	require.ErrorContains(t, err, "of epoch 1")
}

func TestStat_CompactDueKeepsWritesBounded(t *testing.T) {
	t.Parallel()
	require.False(t, journal.Stat{LogBytes: 1 << 20}.CompactDue(), "a small log is not worth it")
	require.True(t, journal.Stat{LogBytes: 20 << 20}.CompactDue())
	require.False(t, journal.Stat{LogBytes: 20 << 20, SnapshotBytes: 100 << 20}.CompactDue(), "a big state is not rewritten for a little log")
	require.True(t, journal.Stat{LogBytes: 101 << 20, SnapshotBytes: 100 << 20}.CompactDue())
}
