package fault

import (
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api/client"
	"github.com/perigee-sched/perigee/scheduler/zookeeper/zktest"
)

// One of three nodes: nobody notices. Two: writes are refused and say why,
// nothing is acknowledged to Mesos, alarms go off, and all else goes on. Back
// again: nothing needs a restart.
func zooKeeperNodesKilled(w *world) {
	first := slices.IndexFunc(w.zookeeper, func(s *zktest.Server) bool { return s.Leads() })
	require.GreaterOrEqual(w, first, 0, "no ZooKeeper server leads")
	second := (first + 1) % len(w.zookeeper)
	w.zookeeper[first].Kill()
	for n, server := range w.zookeeper {
		if n != first {
			require.NoError(w, server.WaitServing(patience))
		}
	}
	w.awaitWrite(w.schedulers[0])
	before, pids := w.living(web)
	ends := w.holdRun("zookeeper")

	w.zookeeper[second].Kill()
	for _, s := range w.schedulers {
		w.awaitRefusal(s)
	}
	ends() // which Mesos is told, and nobody can write down
	eventually(w.T, "alarms go off", w.alarmed)
	require.NoError(w, pids())
	for _, n := range []int{first, second} {
		require.NoError(w, w.zookeeper[n].Restart())
	}
	for _, n := range []int{first, second} {
		require.NoError(w, w.zookeeper[n].WaitServing(patience))
	}
	for _, s := range w.schedulers {
		w.awaitWrite(s)
		require.NoError(w, s.alive())
	}
	eventually(w.T, "alarms end", func() error {
		if err := w.alarmed(); err != nil {
			return nil
		}
		return errors.New("they go on")
	})
	w.awaitSucceeded("zookeeper")
	again, _ := w.living(web)
	require.Equal(w, before, again, "tasks were replaced")
	require.NoError(w, pids())
}

// awaitRefusal waits until a scheduler refuses writes, and still answers reads.
func (w *world) awaitRefusal(s *scheduler) {
	w.Helper()
	eventually(w.T, "writes are refused", func() error {
		ctx, cancel := quickly()
		defer cancel()
		_, err := s.PauseJob(ctx, idle, "while two are away", client.WriteOptions{}) // which may yet happen
		if p := problemOf(err); p == nil || p.Status != http.StatusServiceUnavailable || p.Detail == "" {
			return fmt.Errorf("%s answered a write with %v", s.name, err)
		}
		return nil
	})
	ctx, cancel := quickly()
	defer cancel()
	_, err := s.Job(ctx, web)
	require.NoError(w, err, "reads go on")
}

// alarmed says whether an operator who watches what docs/operations.md tells to
// watch is told that nothing can be written: by everyone, nil when so.
func (w *world) alarmed() error {
	leads := 0.0
	for _, s := range w.schedulers {
		m, err := s.metrics()
		if err != nil {
			return err
		}
		leads += m["perigee_leads"]
		if m["perigee_knows_leader"] != 0 && m["perigee_writable"] != 0 {
			return fmt.Errorf("%s knows its leader, and takes it to be able to write", s.name)
		}
	}
	if leads == 1 {
		return errors.New("one leads")
	}
	return nil
}
