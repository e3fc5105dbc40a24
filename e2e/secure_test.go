package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/e2e/program"
	"github.com/perigee-sched/perigee/server/tlstest"
)

// A cluster whose masters and agents want credentials, and speak TLS: services
// run on it, their executors reach their agents, and sandboxes are read.
func TestMesos_CredentialsAndTLS(t *testing.T) {
	t.Parallel()
	needsOwnCluster(t)
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	dir, err := os.MkdirTemp(built.dir, "secure")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o755)) // tasks run as nobody
	authority := tlstest.NewAuthority(t, dir)
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	authority.Issue(cert, key)
	file := filepath.Join(dir, "credentials.json")
	require.NoError(t, os.WriteFile(file, []byte(`{"credentials": [{"principal": "perigee", "secret": "hush"}]}`), 0o600))

	own := &cluster{}
	p, err := program.Start(built.dir, "devcluster-secure", built.perigee, "devcluster", "--dir", filepath.Join(dir, "mesos"), "--listen", "127.0.0.1:0",
		"--agents", "2", "--allocation-interval", "200ms", "--ephemeral", "--credentials", file, "--tls-cert", cert, "--tls-key", key)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		require.NoError(t, p.End(ctx, syscall.SIGTERM))
	})
	line, err := p.Stdout.Await(ctx, "master https://")
	require.NoError(t, err)
	_, own.master, _ = strings.Cut(line, "master https://")

	// One with a wrong secret says what is wrong, and where.
	stranger, err := program.Start(built.dir, "scheduler-stranger", built.perigee, "scheduler", "--config", os.DevNull, "--api-listen", "127.0.0.1:0",
		"--mesos-master", own.master, "--journal-url", "file://"+filepath.Join(dir, "journal-stranger"),
		"--mesos-tls", "--mesos-ca", authority.File, "--mesos-principal", "perigee", "--mesos-secret", "loud")
	require.NoError(t, err)
	_, err = stranger.Stderr.Await(ctx, "correct them, or the master's --credentials")
	require.NoError(t, err)
	require.NoError(t, stranger.End(ctx, syscall.SIGTERM))

	s, err := own.startScheduler(ctx, "secure", "--mesos-tls", "--mesos-ca", authority.File, "--mesos-principal", "perigee", "--mesos-secret", "hush")
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		require.NoError(t, s.End(ctx, syscall.SIGTERM))
	})
	w := see(t, s.url)
	w.must("deploy", w.file("site", `
job: JOB
kind: service
instances: 2
command: echo hello from here; exec sleep 1000
health: {command: {command: "true"}, interval: 500ms}
resources: {cpus: 0.1, memory: 32MiB}
`))
	w.await(w.job("site"), "logs are read from its sandboxes", func() bool {
		return strings.Contains(w.cliQuietly("logs", w.job("site")+"/0"), "hello from here")
	})
	require.Contains(t, w.must("status", w.job("site")), "2/2 ready")
}
