package core

import (
	"strconv"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/scheduler/record"
)

// checkCounts compares what is counted as it changes with what there is.
func (w *world) checkCounts() {
	c, t := w.core, w.t
	require.Zero(t, c.cut, "a job has itself looked at without end")
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
			if state, ok := w.deployStates[j.rec.Key+"#"+d.rec.Digest+strconv.Itoa(int(d.rec.Number))]; ok && state != d.rec.State {
				require.True(t, reaches(state, d.rec.State), "deploy %d of %s: from %s to %s", d.rec.Number, j.rec.Key, state, d.rec.State)
			}
			w.deployStates[j.rec.Key+"#"+d.rec.Digest+strconv.Itoa(int(d.rec.Number))] = d.rec.State
			goesOn := j.rollout != nil && j.rollout.deploy == d
			require.True(t, goesOn || d.rec.State.Terminal() || j.rec.Removing, "deploy %d of %s goes on, and nothing remembers how far it is", d.rec.Number, j.rec.Key)
		}
		if r := j.rollout; r != nil && !j.rec.Paused && !j.rec.Removing && !r.rec.Paused && !r.rec.PulseMissed && (r.rec.Phase == phaseMoving || r.rec.Phase == phaseReturning) {
			deploying++
		}
		require.Len(t, j.calm, len(j.slots))
		for i, known := range j.calm {
			if known != 0 {
				s := j.slots[i]
				require.Len(t, s.live, 1, "instance %d of %s", i, j.rec.Key)
				require.Same(t, s.live[0], s.ready(known-1), "instance %d of %s", i, j.rec.Key)
				require.False(t, s.live[0].rec.Replace, "instance %d of %s", i, j.rec.Key)
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

// reaches says whether one transition, or two of the same step, lead from a
// state to another.
func reaches(from, to record.DeployState) bool {
	if mayDeployGo(from, to) {
		return true
	}
	for between := range deployTransitions[from] {
		if mayDeployGo(between, to) {
			return true
		}
	}
	return false
}
