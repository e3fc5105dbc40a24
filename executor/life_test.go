package executor_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
)

func TestTask_FinishesAndExecutorExits(t *testing.T) {
	t.Parallel()
	r := start(t, definition("echo hello; echo trouble >&2"))
	require.Equal(t, 0, r.exit())
	require.Equal(t, "STARTING/fetch RUNNING/run FINISHED/end", r.updates())
	end := r.await("FINISHED")
	require.Equal(t, "task-1", end.Task.Value)
	require.True(t, end.report.Exited)
	require.Zero(t, end.report.ExitCode)
	require.Equal(t, r.sandbox, end.report.Sandbox)
	require.Regexp(t, `^exited with status 0 after \d+ms$`, end.Message)
	require.Equal(t, "hello\n", r.file("logs/stdout"))
	require.Equal(t, "trouble\n", r.file("logs/stderr"))
}

func TestTask_HowItEnded(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, command, message string
		code                   int
	}{
		{"status", "echo no luck >&2; exit 3", `^exited with status 3 after \S+; its last line on stderr: no luck$`, 3},
		{"command not found", "./nope.pex --port 1", `^exited with status 127 \(command not found\) after .*nope\.pex: not found`, 127},
		{"not executable", "/etc/passwd", `^exited with status 126 \(the command is not executable\) after `, 126},
		{"signal", "sh -c 'kill -SEGV $$'", `^killed by SIGSEGV after `, 139},
		{"out of memory", "sh -c 'kill -KILL $$'", `^killed by SIGKILL \(out of memory\?\) after `, 137},
		{"signal below a shell", "sh -c 'kill -TERM $$'; exit $?", `^exited with status 143 \(SIGTERM\) after `, 143},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := start(t, definition(test.command))
			require.Equal(t, 0, r.exit())
			end := r.await("FAILED")
			require.Regexp(t, test.message, end.Message)
			require.True(t, end.report.Exited)
			require.Equal(t, test.code, end.report.ExitCode)
		})
	}
}

func TestTask_SetupStepsRunInOrderBeforeTheCommand(t *testing.T) {
	t.Parallel()
	d := definition("echo main; cat made")
	d.Spec.Setup = []string{"echo one; echo 1 > made", "echo two; echo 2 >> made"}
	r := start(t, d)
	require.Equal(t, 0, r.exit())
	require.Equal(t, "STARTING/fetch STARTING/prepare RUNNING/run FINISHED/end", r.updates())
	require.Equal(t, "one\ntwo\nmain\n1\n2\n", r.file("logs/stdout"))
}

func TestTask_SetupStepThatFailsIsNamed(t *testing.T) {
	t.Parallel()
	d := definition("touch ran")
	d.Spec.Setup = []string{"true", "echo boom >&2; exit 4", "touch third"}
	r := start(t, d)
	require.Equal(t, 0, r.exit())
	end := r.await("FAILED")
	require.Regexp(t, `^setup step 2 of 3 \(echo boom >&2; exit 4\): exited with status 4 after \S+; its last line on stderr: boom$`, end.Message)
	require.False(t, end.report.Exited, "the main process never ran")
	require.NoFileExists(t, r.sandbox+"/ran")
	require.NoFileExists(t, r.sandbox+"/third")
}

func TestTask_SetupIsKillable(t *testing.T) {
	t.Parallel()
	d := definition("touch ran")
	d.Spec.Setup = []string{"echo $$ > pid; exec sleep 1000"}
	r := start(t, d)
	pid := r.pid("pid")
	r.agent.kill("task-1", -1)
	require.Equal(t, 0, r.exit())
	require.Equal(t, "STARTING/fetch STARTING/prepare KILLING/stop KILLED/end", r.updates())
	require.False(t, alive(pid))
	require.NoFileExists(t, r.sandbox+"/ran")
}

func TestTask_TimesOut(t *testing.T) {
	t.Parallel()
	d := definition("echo $$ > pid; sleep 1000")
	d.Spec.Kind, d.Run = api.KindBatch, "run-1"
	d.Spec.Timeout = api.Duration(300e6)
	r := start(t, d)
	require.Equal(t, 0, r.exit())
	require.Equal(t, "timed out after 300ms", r.await("FAILED").Message)
	require.False(t, alive(r.pid("pid")))
}

func TestTask_DefinitionThatCannotBeRead(t *testing.T) {
	t.Parallel()
	r := start(t, definition("true"), option{hold: true})
	r.agent.launch("task-1", []byte(`{"spec": 5}`))
	require.Equal(t, 0, r.exit())
	require.Contains(t, r.await("FAILED").Message, "cannot read the task's definition")
}

func TestTask_Environment(t *testing.T) {
	t.Parallel()
	d := definition("/usr/bin/env")
	d.Run = "run-9"
	d.Spec.Ports = []string{"http", "admin-port"}
	d.Ports = map[string]uint32{"http": 31005, "admin-port": 31006}
	d.Parameters = map[string]string{"input-file": "a b"}
	d.Spec.Env = map[string]string{"COLOR": "blue", "PORT": "1", "PERIGEE_JOB": "fake", "LANG": "C.UTF-8"}
	r := start(t, d, option{env: []string{"SECRET_OF_AGENT=1", "LC_ALL=C", "TZ=Europe/Vienna"}})
	require.Equal(t, 0, r.exit())
	env := map[string]string{}
	for _, line := range strings.Split(strings.TrimSpace(r.file("logs/stdout")), "\n") {
		name, value, _ := strings.Cut(line, "=")
		env[name] = value
	}
	delete(env, "PATH")
	delete(env, "USER")
	delete(env, "LOGNAME")
	delete(env, "PWD") // of the shell
	require.Equal(t, map[string]string{
		"PERIGEE_JOB": "web/devel/hello", "PERIGEE_INSTANCE": "2", "PERIGEE_TASK": "task-1", "PERIGEE_DEPLOY": "7",
		"PERIGEE_HOST": "agent-1.example", "PERIGEE_ATTEMPT": "3", "PERIGEE_RUN": "run-9",
		"PORT": "31005", "PORT_HTTP": "31005", "PORT_ADMIN_PORT": "31006", "PARAM_INPUT_FILE": "a b",
		"HOME": r.sandbox, "TMPDIR": r.sandbox + "/tmp", "MESOS_SANDBOX": r.sandbox, "SHELL": "/bin/sh",
		"COLOR": "blue", "LANG": "C.UTF-8", "LC_ALL": "C", "TZ": "Europe/Vienna",
	}, env)
	require.DirExists(t, r.sandbox+"/tmp")
}

func TestTask_SecondTaskIsRefused(t *testing.T) {
	t.Parallel()
	r := start(t, definition("sleep 1000"))
	r.await("RUNNING")
	r.agent.launch("task-2", []byte(`{}`))
	refused := r.await("FAILED")
	require.Equal(t, "task-2", refused.Task.Value)
	require.Equal(t, "this executor runs another task: task-1", refused.Message)
}

func TestExecutor_SaysWhatItNeeds(t *testing.T) {
	t.Parallel()
	r := start(t, definition("true"), option{hold: true, env: []string{"MESOS_AGENT_ENDPOINT=", "MESOS_RECOVERY_TIMEOUT=soon", "PERIGEE_CACHE_SIZE=4GiB"}})
	require.Equal(t, 1, r.exit())
	for _, part := range []string{"MESOS_AGENT_ENDPOINT is not set", `"soon" is not a duration such as 20secs`, `PERIGEE_CACHE_SIZE: "4GiB" is not a number of bytes`} {
		require.Contains(t, r.stderr.String(), part)
	}
}
