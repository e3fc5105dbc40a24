package mesos

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/scheduler/core"
)

// A scheduler that was paused after the engine had asked for a SUBSCRIBE, or a
// call, does not send it when it wakes up and another leads.
func TestDeposed_SendsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var c cluster
		m := c.start(t, "m1:5050")
		var deposed atomic.Bool
		o := testOptions()
		o.Leads = func() bool { return !deposed.Load() }
		b := c.run(t, o, &bench{manual: true})
		synctest.Wait()
		deposed.Store(true)
		b.Perform([]core.Call{core.Subscribe{FrameworkID: "f"}})
		synctest.Wait()
		require.Empty(t, m.subscribed())
		require.Contains(t, b.got()[1].(core.Disconnected).Reason, "another scheduler may lead")

		deposed.Store(false) // it is renewed, and the engine asks again
		time.Sleep(time.Minute)
		b.Perform([]core.Call{core.Subscribe{FrameworkID: "f"}})
		synctest.Wait()
		require.Len(t, m.subscribed(), 1)
		deposed.Store(true)
		before := len(m.received())
		b.Perform([]core.Call{core.Kill{Task: "t", Agent: "a"}})
		synctest.Wait()
		require.Len(t, m.received(), before)
		require.Len(t, only[core.Disconnected](b.got()), 1)
	})
}
