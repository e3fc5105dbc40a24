package record

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTask_SandboxDir(t *testing.T) {
	for dir, want := range map[string][2]string{
		"/var/mesos/slaves/a/frameworks/f/executors/t1/runs/c1": {"/var/mesos/slaves/a/frameworks/f", "c1"},
		"/var/mesos/slaves/a/frameworks/f/executors/t2/runs/c1": {"", "/var/mesos/slaves/a/frameworks/f/executors/t2/runs/c1"},
		"/executors/t1/runs/c1":                                 {"", "/executors/t1/runs/c1"},
		"/sandbox":                                              {"", "/sandbox"},
		"":                                                      {"", ""},
	} {
		task := &Task{Id: "t1"}
		task.SandboxRoot, task.Sandbox = task.SplitSandbox(dir)
		require.Equal(t, want, [2]string{task.SandboxRoot, task.Sandbox})
		require.Equal(t, dir, task.SandboxDir())
	}
}
