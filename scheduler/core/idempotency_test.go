package core

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestIdempotency_IsBounded: kept answers do not grow with the writes of a day,
// neither do timers, and the latest are kept.
func TestIdempotency_IsBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.do("lead")
	w.do(`put {"job":"web/prod/site","kind":"service","instances":0}`)
	var writes []Event
	for i := range repliesMost + 5000 {
		name := fmt.Sprint("key-", i)
		writes = append(writes, Request{Actor: "ann", IdempotencyKey: name, Digest: name,
			Op: ScaleJob{Job: "web/prod/site", Instances: 0}})
	}
	deleted := map[string]bool{}
	for _, wr := range w.core.Step(w.now, writes).Writes {
		if wr.Record == nil {
			deleted[wr.Key] = true
		}
	}
	require.LessOrEqual(t, len(w.core.idempotency.replies), repliesMost+1001)
	require.Len(t, w.core.idempotency.order, len(w.core.idempotency.replies))
	require.Contains(t, deleted, "idempotency/key-0")
	require.Equal(t, 1, w.core.timers.pending[timerIdempotency])
	reply := w.core.Step(w.now, []Event{writes[len(writes)-1]}).Replies[0]
	require.True(t, reply.Result.Repeated)
}
