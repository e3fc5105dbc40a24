package cli

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
)

var update = flag.Bool("update", false, "write what is printed as it is now")

// recording is what a scheduler told of a deploy, message by message.
type recording struct {
	deploy   *api.Deploy // with its spec
	messages []*api.Deploy
}

func record(t *testing.T, name string) recording {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "deploys", name+".jsonl"))
	require.NoError(t, err)
	var r recording
	for line := range strings.Lines(string(data)) {
		d := new(api.Deploy)
		require.NoError(t, json.Unmarshal([]byte(line), d))
		if r.deploy == nil {
			r.deploy = d
		} else {
			r.messages = append(r.messages, d)
		}
	}
	return r
}

// golden compares text with a file.
func golden(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join("testdata", "deploys", name)
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), text, "run with -update, and look at the difference")
}

var recordings = []string{"rolling", "rollback", "canary"}

// each yields the messages of a recording at times half a second apart.
func (r recording) each(a *app, see func(*api.Deploy)) {
	for i, d := range r.messages {
		now := r.deploy.CreatedAt.Add(time.Duration(i) * 500 * time.Millisecond)
		a.now = func() time.Time { return now }
		see(d)
	}
}

// TestDeployLog_Golden: what is printed where there is no terminal.
func TestDeployLog_Golden(t *testing.T) {
	t.Parallel()
	for _, name := range recordings {
		r := record(t, name)
		a := &app{}
		l := &deployLog{app: a, spec: r.deploy.Spec}
		var b strings.Builder
		r.each(a, func(d *api.Deploy) {
			for _, n := range append(l.see(d), l.idle()...) {
				stays := "  "
				if n.stays {
					stays = "! "
				}
				fmt.Fprintf(&b, "%s%s\n", stays, n.text)
			}
		})
		golden(t, name+".lines", b.String())
	}
}

// TestRolloutView_Golden: what a terminal of 80 columns and 24 lines shows.
func TestRolloutView_Golden(t *testing.T) {
	t.Parallel()
	for _, name := range recordings {
		r := record(t, name)
		a := &app{}
		v := &rolloutView{app: a, spec: r.deploy.Spec}
		var b strings.Builder
		r.each(a, func(d *api.Deploy) {
			v.update(d)
			fmt.Fprintf(&b, "---- %s\n%s\n", a.now().Sub(d.CreatedAt).Round(time.Millisecond), strings.Join(v.frame(80, 24), "\n"))
		})
		golden(t, name+".frames", b.String())
	}
}

// many is a deploy of so many instances, of which some are ready.
func many(n, target, ready, failing int) *api.Deploy {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	deadline := now.Add(10 * time.Minute)
	d := &api.Deploy{Job: "web/prod/many", Number: 9, From: 8, Kind: api.DeployOfSpec, State: api.DeployInProgress, CreatedAt: now.Add(-time.Minute),
		Instances: n, Spec: &api.Spec{Kind: api.KindService, Update: &api.Update{Batch: api.Portions{"10%"}}},
		Rollout: &api.Rollout{Phase: api.PhaseMoving, Strategy: api.StrategyRolling, Step: 2, Steps: 10, Target: target, Back: 8,
			Waits: "20 instances; instance 20 is pending: fits on none of 3 agents: cpus on 3", Deadline: &deadline}}
	for i := range n {
		p := api.InstanceProgress{Instance: i, Moved: i < target, Deploy: 8, Task: fmt.Sprint("t", i), State: "running", Ready: true, Host: "host"}
		if i < target {
			p.Deploy, p.Ready = 9, i < ready
		}
		if i >= ready && i < ready+failing {
			p.State, p.Failures, p.Message = "pending", 1, "exited with status 1\n\x1b[31mwith colour"
		}
		d.Rollout.Progress = append(d.Rollout.Progress, p)
	}
	return d
}

// TestRolloutView_FitsIntoTheTerminal: many instances are pictured, those that
// are not fine are listed, and nothing is higher or wider than there is room.
func TestRolloutView_FitsIntoTheTerminal(t *testing.T) {
	t.Parallel()
	d := many(200, 40, 20, 3)
	a := &app{now: func() time.Time { return d.CreatedAt.Add(time.Minute) }}
	v := &rolloutView{app: a, spec: d.Spec}
	v.update(d)
	golden(t, "many.frame", strings.Join(v.frame(80, 24), "\n")+"\n")
	for _, n := range []int{1, 200, 1000, 10000} {
		d := many(n, max(n/5, 1), n/10, min(n/10, 50))
		v.update(d)
		for _, height := range []int{8, 12, 24, 60} {
			frame := v.frame(80, height)
			text := strings.Join(frame, "\n")
			if height >= 12 {
				require.Less(t, len(frame), height, text)
			}
			require.Contains(t, text, "waits: 20 instances")
			require.Contains(t, text, "fails in 10m00s")
			require.NotContains(t, text, "\x1b")
			for _, line := range frame {
				if strings.ContainsAny(line, "●✗◐·") && !strings.Contains(line, "batch") && !strings.Contains(line, "step") {
					require.LessOrEqual(t, columns(line), 80)
				}
			}
		}
	}
}

// TestRolloutView_NoSchedulerAnswers: the frame says how old it is.
func TestRolloutView_NoSchedulerAnswers(t *testing.T) {
	t.Parallel()
	d := many(3, 1, 0, 0)
	now := d.CreatedAt
	a := &app{now: func() time.Time { return now }}
	v := &rolloutView{app: a}
	v.update(d)
	v.lost = now
	now = now.Add(7 * time.Second)
	require.Contains(t, strings.Join(v.frame(80, 24), "\n"), "no scheduler answers for 7s")
	v.update(d)
	require.NotContains(t, strings.Join(v.frame(80, 24), "\n"), "no scheduler")
}

func TestRanges(t *testing.T) {
	t.Parallel()
	require.Equal(t, "instance 3", ofInstances([]int{3}))
	require.Equal(t, "instances 0-4, 7, 9, 10", ofInstances([]int{7, 0, 1, 2, 3, 4, 10, 9}))
	require.Equal(t, []string{"1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "112th"},
		[]string{ordinal(1), ordinal(2), ordinal(3), ordinal(4), ordinal(11), ordinal(12), ordinal(13), ordinal(21), ordinal(112)})
	require.Equal(t, []string{"0s", "59s", "1m00s", "9m12s", "1h05m", "3d"}, []string{span(-1), span(59 * time.Second), span(time.Minute),
		span(9*time.Minute + 12*time.Second), span(65 * time.Minute), span(80 * time.Hour)})
}
