package mesos

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/scheduler/core"
)

const testRole = "perigee"

func scalar(name string, value float64) mesos.Resource {
	kind := mesos.SCALAR
	return allocated(mesos.Resource{Name: name, Type: &kind, Scalar: &mesos.Value_Scalar{Value: value}})
}

func ports(ranges ...uint64) mesos.Resource {
	kind := mesos.RANGES
	r := mesos.Resource{Name: "ports", Type: &kind, Ranges: &mesos.Value_Ranges{}}
	for i := 0; i < len(ranges); i += 2 {
		r.Ranges.Range = append(r.Ranges.Range, mesos.Value_Range{Begin: ranges[i], End: ranges[i+1]})
	}
	return allocated(r)
}

func allocated(r mesos.Resource) mesos.Resource {
	role := testRole
	r.AllocationInfo = &mesos.Resource_AllocationInfo{Role: &role}
	return r
}

func reserved(r mesos.Resource) mesos.Resource {
	kind, role := mesos.Resource_ReservationInfo_DYNAMIC, testRole
	r.Reservations = []mesos.Resource_ReservationInfo{{Type: &kind, Role: &role}}
	return r
}

func with(r mesos.Resource, change func(*mesos.Resource)) mesos.Resource {
	change(&r)
	return r
}

func TestCarve(t *testing.T) {
	t.Parallel()
	needs := func(cpus, memory, disk int64) core.Amounts {
		return core.Amounts{CPUs: cpus, Memory: memory, Disk: disk}
	}
	for _, test := range []struct {
		name   string
		offers [][]mesos.Resource
		needs  core.Amounts
		ports  []uint32
		want   []mesos.Resource
		err    string
	}{
		{
			name:   "one offer",
			offers: [][]mesos.Resource{{ports(31000, 31999), scalar("cpus", 8), scalar("mem", 1024), scalar("disk", 100)}},
			needs:  needs(100, 64_000, 10_000), ports: []uint32{31000, 31500, 31501},
			want: []mesos.Resource{scalar("cpus", 0.1), scalar("mem", 64), scalar("disk", 10), ports(31000, 31000, 31500, 31501)},
		},
		{
			name:   "reserved first, then unreserved",
			offers: [][]mesos.Resource{{scalar("cpus", 8), reserved(scalar("cpus", 0.5)), ports(1, 9), reserved(ports(10, 11))}},
			needs:  needs(700, 0, 0), ports: []uint32{9, 10, 11},
			want: []mesos.Resource{reserved(scalar("cpus", 0.5)), scalar("cpus", 0.2), reserved(ports(10, 11)), ports(9, 9)},
		},
		{
			name:   "out of several offers",
			offers: [][]mesos.Resource{{scalar("cpus", 0.1), scalar("mem", 32)}, {scalar("cpus", 7.9), ports(5, 6)}, {scalar("mem", 100), ports(7, 8)}},
			needs:  needs(1000, 40_000, 0), ports: []uint32{6, 7},
			want: []mesos.Resource{scalar("cpus", 0.1), scalar("cpus", 0.9), scalar("mem", 32), scalar("mem", 8), ports(6, 6), ports(7, 7)},
		},
		{
			name:   "all of it, to the last thousandth",
			offers: [][]mesos.Resource{{scalar("cpus", 0.1), scalar("cpus", 0.2)}},
			needs:  needs(300, 0, 0),
			want:   []mesos.Resource{scalar("cpus", 0.1), scalar("cpus", 0.2)},
		},
		{
			name:   "never more than there is",
			offers: [][]mesos.Resource{{scalar("cpus", 0.3)}},
			needs:  needs(301, 0, 0),
			err:    "the offers have 0.001 too little of cpus (0.301 needed)",
		},
		{
			name:   "a port twice",
			offers: [][]mesos.Resource{{ports(5, 6)}},
			ports:  []uint32{5, 5},
			err:    "port 5 is not in the offers",
		},
		{
			name: "what is not for tasks of ours is not touched",
			offers: [][]mesos.Resource{{
				with(scalar("cpus", 8), func(r *mesos.Resource) { r.Revocable = &mesos.Resource_RevocableInfo{} }),
				with(scalar("cpus", 8), func(r *mesos.Resource) { r.Shared = &mesos.Resource_SharedInfo{} }),
				with(scalar("cpus", 8), func(r *mesos.Resource) {
					other := "other"
					r.AllocationInfo = &mesos.Resource_AllocationInfo{Role: &other}
				}),
				with(scalar("disk", 8), func(r *mesos.Resource) {
					r.Disk = &mesos.Resource_DiskInfo{Persistence: &mesos.Resource_DiskInfo_Persistence{ID: "v"}}
				}),
				scalar("gpus", 2),
			}},
			needs: needs(1, 0, 0),
			err:   "the offers have 0.001 too little of cpus (0.001 needed)",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var offers []*offer
			for _, r := range test.offers {
				offers = append(offers, &offer{agent: "a", resources: r})
			}
			got, err := newPool(testRole, offers).cut(test.needs, test.ports)
			if test.err != "" {
				require.EqualError(t, err, test.err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, test.want, got)
		})
	}
}

// Whatever core may launch by the amounts it was told can be carved.
func TestCarve_GivesAllThatWasOffered(t *testing.T) {
	t.Parallel()
	o := mesos.Offer{Resources: []mesos.Resource{
		scalar("cpus", 0.1), reserved(scalar("cpus", 0.2)), scalar("cpus", 0.0005), scalar("mem", 100.1249), scalar("disk", 5),
		with(scalar("disk", 8), func(r *mesos.Resource) { r.Disk = &mesos.Resource_DiskInfo{} }),
		ports(10, 11, 12, 13, 13, 20), reserved(ports(9, 9)),
	}}
	told := coreOffer(&o, testRole)
	require.Equal(t, core.Amounts{CPUs: 301, Memory: 100_125, Disk: 5000}, told.Free)
	require.Equal(t, []core.PortRange{{First: 9, Last: 20}}, told.Ports)
	var every []uint32
	for p := uint32(9); p <= 20; p++ {
		every = append(every, p)
	}
	pool := newPool(testRole, []*offer{{resources: o.Resources}})
	_, err := pool.cut(told.Free, every)
	require.NoError(t, err)
	_, err = pool.cut(core.Amounts{CPUs: 1}, nil)
	require.Error(t, err)
}

func TestLaunch(t *testing.T) {
	t.Parallel()
	o := testOptions().withDefaults()
	o.Executor.Environment = map[string]string{"PERIGEE_CACHE": "/var/cache/perigee", "A": "b"}
	require.Equal(t, core.Amounts{CPUs: 10, Memory: 32_000}, o.Executor.Overhead())
	l := newLauncher("f", o)
	tasks, err := l.tasks("a", []core.Launch{{
		Task: "t", Name: "web/prod/shop/0", Needs: core.Amounts{CPUs: 100, Memory: 64_000}, Ports: []uint32{31000},
		Definition: []byte(`{"task":"t"}`), ShutdownGrace: 15_000,
	}}, []*offer{{agent: "a", resources: []mesos.Resource{scalar("cpus", 8), scalar("mem", 100), ports(31000, 31001)}}})
	require.NoError(t, err)
	require.Len(t, tasks, 1)
	task := tasks[0]
	require.Equal(t, "t", task.TaskID.Value)
	require.Equal(t, "a", task.AgentID.Value)
	require.Equal(t, "web/prod/shop/0", task.Name)
	require.Equal(t, `{"task":"t"}`, string(task.Data))
	require.Equal(t, []mesos.Resource{scalar("cpus", 0.1), scalar("mem", 64), ports(31000, 31000)}, task.Resources)
	require.Nil(t, task.Command, "a task has a command or an executor")
	e := task.Executor
	require.Equal(t, mesos.ExecutorInfo_CUSTOM, e.Type)
	require.Equal(t, "t", e.ExecutorID.Value)
	require.Equal(t, "f", e.FrameworkID.Value)
	require.Equal(t, []mesos.Resource{scalar("cpus", 0.01), scalar("mem", 32)}, e.Resources)
	require.EqualValues(t, 15e9, e.ShutdownGracePeriod.Nanoseconds)
	yes, no, file := true, false, "perigee-executor"
	require.Equal(t, []mesos.CommandInfo_URI{{Value: "http://scheduler:7300/executor?sha256=" + testSHA,
		Executable: &yes, Extract: &no, Cache: &yes, OutputFile: &file}}, e.Command.URIs)
	require.Equal(t, "A", e.Command.Environment.Variables[0].Name)
	require.Equal(t, "/var/cache/perigee", *e.Command.Environment.Variables[1].Value)
}

func TestExecutorURL(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"http://h/e":               "http://h/e?sha256=" + testSHA,
		"https://h/e?x=1":          "https://h/e?x=1&sha256=" + testSHA,
		"http://h/" + testSHA:      "http://h/" + testSHA,
		"file:///opt/executor":     "file:///opt/executor",
		"/opt/perigee/bin/execute": "/opt/perigee/bin/execute",
	} {
		require.Equal(t, want, executorURL(ExecutorOptions{URL: url, SHA256: testSHA}))
	}
	key := ""
	o := ExecutorOptions{URL: "http://h/e", SHA256: testSHA, Key: func() string { return key }}
	require.Equal(t, "http://h/e?sha256="+testSHA, executorURL(o), "not known yet")
	key = "abc"
	require.Equal(t, "http://h/e?sha256="+testSHA+"&key=abc", executorURL(o))
	require.NotContains(t, *executorCommand(o).Value, "abc", "the script tells where it was fetched from, and not with which key")
}

// The command runs in the sandbox, by /bin/sh, as Mesos runs it.
func TestExecutorCommand_ChecksTheSum(t *testing.T) {
	t.Parallel()
	run := func(t *testing.T, content, sum string) (string, int) {
		dir := t.TempDir()
		if content != "" {
			require.NoError(t, os.WriteFile(filepath.Join(dir, executorFile), []byte(content), 0o755))
		}
		command := executorCommand(ExecutorOptions{URL: "file:///it's/here", SHA256: sum})
		c := exec.Command("/bin/sh", "-c", *command.Value)
		c.Dir = dir
		out, err := c.CombinedOutput()
		if c.ProcessState == nil {
			require.NoError(t, err)
		}
		return string(out), c.ProcessState.ExitCode()
	}
	content := "#!/bin/sh\necho running as $$ of $PPID\nexit 7\n"
	sum := sha256.Sum256([]byte(content))
	actual := hex.EncodeToString(sum[:])

	out, code := run(t, content, actual)
	require.Equal(t, 7, code)
	require.Contains(t, out, "running as")

	out, code = run(t, content, testSHA)
	require.Equal(t, 1, code)
	require.Equal(t, "perigee-executor is not started: its SHA-256 is "+actual+", expected "+testSHA+
		"; it was fetched from file:///it's/here\n", out)

	out, code = run(t, "", testSHA)
	require.Equal(t, 1, code)
	require.Contains(t, out, "is not started")
}
