package core

import "github.com/stretchr/testify/require"

// checkCounts compares what is counted as it changes with what there is.
func (w *world) checkCounts() {
	c, t := w.core, w.t
	type counts struct{ running, live, queued int }
	groups, classes, agents := map[*group]counts{}, map[*class]counts{}, map[string]counts{}
	queued := 0
	for _, task := range c.tasks {
		if !task.live() {
			continue
		}
		g, cl := groups[task.group], classes[task.class]
		g.live++
		cl.live++
		if task.launched() {
			g.running++
			a := agents[task.rec.Agent]
			a.running++
			agents[task.rec.Agent] = a
		}
		if task.queued {
			cl.queued++
			queued++
		}
		groups[task.group], classes[task.class] = g, cl
	}
	require.Equal(t, queued, c.queue.pending, "tasks in the queue")
	require.Len(t, c.groups, len(groups), "groups")
	for g, n := range groups {
		require.Equal(t, counts{running: n.running, live: n.live}, counts{running: g.running, live: g.live}, "group %q", g.key)
	}
	deploying := 0
	for _, j := range c.jobs {
		for _, d := range j.deploys {
			n := classes[d.class]
			require.Equal(t, n.live, d.class.tasks, "tasks of deploy %d of %s", d.rec.Number, j.rec.Key)
			require.Equal(t, n.queued, d.class.queued, "queued tasks of deploy %d of %s", d.rec.Number, j.rec.Key)
			require.False(t, d.class.blocked && n.queued == 0, "blocked, and nobody asks")
			if d.rec.State == deployInProgress && !j.rec.Paused {
				deploying++
			}
		}
		for attribute, values := range j.placed {
			for value, n := range values {
				require.Positive(t, n, "tasks of %s with %s=%s", j.rec.Key, attribute, value)
			}
		}
	}
	require.Equal(t, deploying, c.queue.deploying, "deploys in progress")
	for id, a := range c.pool.agents {
		require.Equal(t, agents[id].running, a.tasks, "tasks on %s", id)
		require.Equal(t, len(a.offers) > 0, a.index >= 0, "agent %s is among those that offer", id)
	}
}
