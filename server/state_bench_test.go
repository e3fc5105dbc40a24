package server_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/perigee-sched/perigee/config"
	"github.com/perigee-sched/perigee/scheduler/backup"
	"github.com/perigee-sched/perigee/scheduler/record"
	"github.com/perigee-sched/perigee/server"
)

// manyTasks is the state of 500 services with 200 instances each, all running.
func manyTasks(b *testing.B) (*backup.State, backup.Header) {
	s := &backup.State{Index: 1000, Epoch: 1}
	put := func(key string, m proto.Message) {
		value, err := proto.Marshal(m)
		require.NoError(b, err)
		s.Put(key, value)
	}
	put(record.KeyCluster, &record.Cluster{Incarnation: "abcd", FrameworkId: "85214b70-4fad-46ec-90fc-ff00efcb5efd-0000", SequenceThrough: 200_000})
	now, rng := time.Now().UnixMilli(), rand.New(rand.NewPCG(1, 2))
	uuid := func() []byte { // as what Mesos names so: it cannot be compressed
		b := binary.LittleEndian.AppendUint64(nil, rng.Uint64())
		return binary.LittleEndian.AppendUint64(b, rng.Uint64())
	}
	for j := range 500 {
		job := fmt.Sprintf("team%02d/prod/service%03d", j%50, j)
		put(record.JobKey(job), &record.Job{Key: job, Deploy: 1, LastDeploy: 1, Stable: 1, Instances: 200, Revision: 1, CreatedAt: now})
		put(record.DeployKey(job, 1), &record.Deploy{Job: job, Number: 1, State: record.DeployState_DEPLOY_STATE_SUCCEEDED, Spec: fmt.Appendf(nil,
			`{"job":%q,"kind":"service","command":"exec ./app.pex --port {port:http}","instances":200,"resources":{"cpus":0.1,"memory":"64MiB"},"ports":["http"],"health":{"http":{"port":"http"}}}`, job)})
		for i := range uint32(200) {
			n := j*200 + int(i)
			id, agent := fmt.Sprintf("abcd-%06d", n), fmt.Sprintf("85214b70-4fad-46ec-90fc-ff00efcb5efd-S%d", n%1000)
			timeline := &record.Timeline{}
			for k, state := range []record.TaskState{1, 2, 3, 4, 5} {
				timeline.Moments = append(timeline.Moments, &record.Moment{At: now + int64(k)*137, State: state})
			}
			moments, err := proto.Marshal(timeline)
			require.NoError(b, err)
			put(record.TaskKey(id), &record.Task{Id: id, Job: job, Deploy: 1, Instance: i, Attempt: 1, State: record.TaskState_TASK_STATE_RUNNING, StateAt: now,
				CreatedAt: now - 900, Agent: agent, Host: fmt.Sprintf("agent-%d.example.com", n%1000), AgentUrl: fmt.Sprintf("http://10.0.%d.%d:5051", n%1000/250, n%250),
				Ports: []uint32{31000 + uint32(n)%1000}, LaunchedAt: now - 800, RunningAt: now - 100, ReadyAt: now, Healthy: true, HasHealth: true, Ready: true,
				Started: true, Successes: 1, UpdateUuid: uuid(), SandboxRoot: "/var/lib/mesos/slaves/" + agent + "/frameworks/f",
				Sandbox: fmt.Sprintf("%x", uuid()), Timeline: moments})
		}
	}
	return s, s.Header("north", "bench", time.Now())
}

// BenchmarkState measures a backup of 100,000 tasks, reading it, and restoring it
// into a directory.
func BenchmarkState(b *testing.B) {
	s, h := manyTasks(b)
	path := filepath.Join(b.TempDir(), "b.backup")
	write := func() error {
		return backup.Save(path, func(out io.Writer) error {
			_, err := backup.Write(out, h, s.Records(""))
			return err
		})
	}
	require.NoError(b, write())
	info, err := os.Stat(path)
	require.NoError(b, err)
	b.Run("Backup", func(b *testing.B) {
		for b.Loop() {
			require.NoError(b, write())
		}
		b.ReportMetric(float64(info.Size())/(1<<20), "MiB")
	})
	b.Run("Verify", func(b *testing.B) {
		for b.Loop() {
			f, err := os.Open(path)
			require.NoError(b, err)
			read, _, _, err := backup.Read(f)
			require.NoError(b, err)
			require.NoError(b, f.Close())
			require.NoError(b, backup.Verify(read))
		}
	})
	b.Run("Restore", func(b *testing.B) {
		for b.Loop() {
			c, _, err := config.LoadServer("", nil, nil)
			require.NoError(b, err)
			c.Cluster, c.Journal.URL = "north", "file://"+filepath.Join(b.TempDir(), fmt.Sprint(time.Now().UnixNano()))
			plan, err := server.RestoreState(b.Context(), server.RestoreOptions{Config: c, Log: slog.New(slog.DiscardHandler), State: s, Header: h, Offline: true})
			require.NoError(b, err)
			require.True(b, plan.Done)
		}
	})
}
