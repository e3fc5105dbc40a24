package record

import "strings"

// SandboxDir is a task's directory on its agent, "" while it is not known.
func (t *Task) SandboxDir() string {
	if t.SandboxRoot == "" {
		return t.Sandbox
	}
	return t.SandboxRoot + sandboxOf(t.Id) + t.Sandbox
}

// SplitSandbox splits a directory into what the sandboxes of an agent's tasks
// have in common, "" when it is not one as Mesos names them, and what is this
// task's.
func (t *Task) SplitSandbox(dir string) (root, own string) {
	root, own, ok := strings.Cut(dir, sandboxOf(t.Id))
	if !ok || root == "" {
		return "", dir
	}
	return root, own
}

// sandboxOf is the part of the path that names the executor, which has the id of
// its task.
func sandboxOf(task string) string { return "/executors/" + task + "/runs/" }
