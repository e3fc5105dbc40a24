package executor_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
)

func removeFile(r *run, name string) error { return os.Remove(filepath.Join(r.sandbox, name)) }

func asRoot(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root may change users")
	}
}

func TestUser_TaskRunsAsTheJobsUserInItsSandbox(t *testing.T) {
	t.Parallel()
	asRoot(t)
	script := []byte("#!/bin/sh\nid -un; id -G; touch mine tmp/mine logs/mine; : >> app; ls -ld app | cut -d' ' -f3\n")
	s := serve(t, content(script))
	d := withArtifact("./app", api.Artifact{URI: s.URL + "/app", SHA256: digest(script)})
	d.Spec.User = "nobody"
	d.Spec.Setup = []string{"id -un; echo $HOME $USER"}
	d.Spec.Health = &api.Health{Command: &api.CommandCheck{Command: "false"}}
	r := start(t, d, option{env: []string{"PERIGEE_ALLOW_ROOT=0"}})
	require.Equal(t, 0, r.exit())
	require.Empty(t, r.file("logs/stderr"))
	require.Equal(t, "nobody\n"+r.sandbox+" nobody\nnobody\n65534\nnobody\n", r.file("logs/stdout"))
	r.await("FINISHED")
}

func TestUser_RootIsRefused(t *testing.T) {
	t.Parallel()
	asRoot(t)
	for _, user := range []string{"", "root"} {
		d := definition("touch ran")
		d.Spec.User = user
		r := start(t, d, option{env: []string{"PERIGEE_ALLOW_ROOT="}})
		require.Equal(t, 0, r.exit())
		require.Contains(t, r.await("FAILED").Message, "user root is not allowed: ")
		require.NoFileExists(t, filepath.Join(r.sandbox, "ran"))
	}
}

func TestUser_Unknown(t *testing.T) {
	t.Parallel()
	d := definition("true")
	d.Spec.User = "no-such-user"
	r := start(t, d)
	require.Equal(t, 0, r.exit())
	require.Equal(t, `there is no user "no-such-user" on this agent`, r.await("FAILED").Message)
}

func TestUser_ArtifactIsReadWithTheJobsRights(t *testing.T) {
	t.Parallel()
	asRoot(t)
	secret := filepath.Join(directory(t), "secret")
	require.NoError(t, os.WriteFile(secret, []byte("key"), 0o600))
	d := withArtifact("cat secret", api.Artifact{URI: "file://" + secret})
	d.Spec.User = "nobody"
	r := start(t, d)
	require.Equal(t, 0, r.exit())
	require.Equal(t, "artifact file://"+secret+": user nobody may not read it", r.await("FAILED").Message)

	require.NoError(t, os.Chmod(secret, 0o644))
	r = start(t, d)
	require.Equal(t, 0, r.exit())
	require.Equal(t, "key", r.file("logs/stdout"))
}

func TestUser_LinksOfTheTaskLeadLogsNowhere(t *testing.T) {
	t.Parallel()
	asRoot(t)
	victim := filepath.Join(directory(t), "victim")
	require.NoError(t, os.WriteFile(victim, []byte("precious"), 0o644))
	// The task puts links where the next rotation writes.
	d := definition("mv logs mine; mkdir logs; ln -sf " + victim + " mine/stdout; ln -s " + victim + " mine/stdout.1; ln -s " + victim + " logs/stdout; yes | head -c 3000")
	d.Spec.User = "nobody"
	d.Spec.Logs = &api.Logs{Size: 1000, Keep: 2}
	r := start(t, d)
	require.Equal(t, 0, r.exit())
	b, err := os.ReadFile(victim)
	require.NoError(t, err)
	require.Equal(t, "precious", string(b))
	require.Equal(t, 1000, len(r.file("mine/stdout")))
}
