package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
	"github.com/perigee-sched/perigee/e2e/program"
	"github.com/perigee-sched/perigee/scheduler/zookeeper/zktest"
	"github.com/perigee-sched/perigee/server/tlstest"
)

// guarded is a cluster whose schedulers ask who everybody is, and speak TLS.
type guarded struct {
	*testing.T
	ctx        context.Context
	dir        string
	authority  *tlstest.Authority
	schedulers []*guardedScheduler
}

type guardedScheduler struct {
	*program.Process
	url string
}

// beginGuarded starts ZooKeeper, a Mesos cluster whose agents trust the
// schedulers' authority, and schedulers. The first leads.
func beginGuarded(t *testing.T, n int) *guarded {
	t.Helper()
	needsOwnCluster(t) // its agents must trust the authority
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	t.Cleanup(cancel)
	dir, err := os.MkdirTemp(built.dir, "guarded")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o755)) // tasks run as nobody
	g := &guarded{T: t, ctx: ctx, dir: dir, authority: tlstest.NewAuthority(t, dir)}
	zookeeper, err := zktest.Start(filepath.Join(dir, "zookeeper"), zktest.Options{})
	zktest.Require(t, err)
	t.Cleanup(zookeeper.Close)
	mesos, err := program.StartWith(built.dir, filepath.Base(dir)+"-devcluster", exec.Command("env", "SSL_CERT_FILE="+g.authority.File,
		built.perigee, "devcluster", "--dir", filepath.Join(dir, "mesos"), "--listen", "127.0.0.1:0", "--agents", "2", "--allocation-interval", "200ms", "--ephemeral"))
	require.NoError(t, err)
	g.endsWith(mesos)
	line, err := mesos.Stdout.Await(ctx, "master http://")
	require.NoError(t, err)
	_, master, _ := strings.Cut(line, "master http://")
	for i := range n {
		g.start(i, "--mesos-master", master, "--journal-url", "zk://"+zookeeper.Address+"/perigee")
	}
	return g
}

func (g *guarded) endsWith(p *program.Process) {
	g.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		require.NoError(g, p.End(ctx, syscall.SIGTERM))
	})
}

// start starts a scheduler and waits until it leads or stands by.
func (g *guarded) start(i int, args ...string) {
	g.Helper()
	cert, key := filepath.Join(g.dir, fmt.Sprintf("cert-%d.pem", i)), filepath.Join(g.dir, fmt.Sprintf("key-%d.pem", i))
	g.authority.Issue(cert, key)
	args = append(args, "--config", os.DevNull, "--api-listen", "127.0.0.1:0", "--access-mode", "token",
		"--api-tls-cert", cert, "--api-tls-key", key, "--api-tls-ca", g.authority.File, "--mesos-framework-name", filepath.Base(g.dir),
		"--history-url", "sqlite://"+filepath.Join(g.dir, fmt.Sprintf("history-%d.db", i)), "--executor-cache-dir", filepath.Join(g.dir, "cache"))
	if os.Geteuid() == 0 {
		args = append(args, "--defaults-user", "nobody")
	}
	if i == 0 {
		args = append(args, "--new-cluster")
	}
	p, err := program.Start(built.dir, fmt.Sprintf("%s-scheduler-%d", filepath.Base(g.dir), i), built.perigee, append([]string{"scheduler"}, args...)...)
	require.NoError(g, err)
	g.endsWith(p)
	line, err := p.Stdout.Await(g.ctx, "answers at https://")
	require.NoError(g, err)
	_, url, _ := strings.Cut(line, "answers at ")
	g.schedulers = append(g.schedulers, &guardedScheduler{p, url})
	require.NoError(g, ready(g.ctx, url, client.WithAuthorities(g.authority.Pool)))
}

// cli runs the command line for somebody who has a token, "" being none, at a
// scheduler.
func (g *guarded) cli(at *guardedScheduler, token string, args ...string) result {
	g.Helper()
	c := exec.CommandContext(g.ctx, built.perigee, args...)
	c.Env = append(program.Environment(at.url), "PERIGEE_CA="+g.authority.File, "XDG_CONFIG_HOME="+g.TempDir())
	if token != "" {
		c.Env = append(c.Env, "PERIGEE_TOKEN="+token)
	}
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Run(); !errors.As(err, new(*exec.ExitError)) {
		require.NoError(g, err)
	}
	return result{c.ProcessState.ExitCode(), out.String(), errs.String()}
}

func (g *guarded) must(at *guardedScheduler, token string, args ...string) string {
	g.Helper()
	r := g.cli(at, token, args...)
	require.Zero(g, r.code, "perigee %v: %s%s", args, r.out, r.errors)
	return strings.TrimSpace(r.out)
}

// refused wants a command to end with 8: who asks may not.
func (g *guarded) refused(why string, at *guardedScheduler, token string, args ...string) {
	g.Helper()
	r := g.cli(at, token, args...)
	require.Equal(g, 8, r.code, "perigee %v: %s%s", args, r.out, r.errors)
	require.Contains(g, r.errors, why)
}

// job writes a job file of web/STAGE/site.
func (g *guarded) job(stage string) string {
	g.Helper()
	path := filepath.Join(g.TempDir(), "site.yaml")
	require.NoError(g, os.WriteFile(path, []byte("job: web/"+stage+`/site
kind: service
instances: 2
command: echo hello from here; exec sleep 1000
health: {command: {command: "true"}, interval: 200ms}
resources: {cpus: 0.1, memory: 32MiB}
`), 0o600))
	return path
}

// downloads are the keys and the schedulers that executors were downloaded with
// and from, as Mesos's fetcher told in their sandboxes.
func (g *guarded) downloads() (keys, hosts map[string]bool) {
	g.Helper()
	keys, hosts = map[string]bool{}, map[string]bool{}
	sandboxes, err := filepath.Glob(filepath.Join(g.dir, "mesos/agents/*/slaves/*/frameworks/*/executors/*/runs/*/stderr"))
	require.NoError(g, err)
	for _, path := range sandboxes {
		text, err := os.ReadFile(path)
		require.NoError(g, err)
		if from := downloaded.FindSubmatch(text); from != nil {
			hosts[string(from[1])] = true
			keys[string(from[2])] = true
		}
	}
	return keys, hosts
}

var (
	initCode   = regexp.MustCompile(`code=([A-Z2-7]{20,})`)
	downloaded = regexp.MustCompile(`https://([^/]+)/v1/executor/perigee-executor\?sha256=[0-9a-f]{64}&key=([0-9a-f]{64})`)
)

// Who may do what on a cluster of several schedulers, from its first start on.
func TestAccess_SeveralSchedulersWithTokensAndTLS(t *testing.T) {
	t.Parallel()
	g := beginGuarded(t, 3)
	leader, standby, other := g.schedulers[0], g.schedulers[1], g.schedulers[2]

	// The first token takes the code of the leader's log, through a standby too.
	line, err := leader.Stderr.Await(g.ctx, "there is no token yet")
	require.NoError(t, err)
	code := initCode.FindStringSubmatch(line)
	require.NotNil(t, code, line)
	g.refused("the code is not the one", standby, "", "token", "init", "--code", strings.Repeat("A", 26))
	admin := g.must(standby, "", "token", "init", "--code", code[1], "-m", "ann")
	require.NotZero(t, g.cli(leader, "", "token", "init", "--code", code[1]).code, "it makes one token")

	// A deployer of one stage deploys there, and nowhere else.
	deployer := g.must(standby, admin, "token", "create", "web", "deployer", "--stage", "devel", "-m", "CI", "-o", "json")
	var made api.WrittenToken
	require.NoError(t, json.Unmarshal([]byte(deployer), &made))
	g.must(standby, made.Text, "deploy", g.job("devel"))
	require.Contains(t, g.must(other, made.Text, "status", "web/devel/site"), "2/2 ready")
	require.Contains(t, g.must(other, made.Text, "logs", "web/devel/site/0"), "hello from here")
	for _, s := range []*guardedScheduler{leader, standby, other} {
		g.refused("this takes deployer of web in prod", s, made.Text, "deploy", "--yes", g.job("prod"))
		g.refused("this takes", s, made.Text, "token", "list")
		g.refused("this takes a token", s, "", "jobs")
	}
	require.NotContains(t, g.must(leader, admin, "jobs"), "prod")

	// Agents downloaded the executor over TLS, with a key that nobody else has and
	// that is the same after a failover.
	g.must(standby, admin, "scheduler", "step-down")
	g.must(other, made.Text, "restart", "web/devel/site/1")
	var keys, hosts map[string]bool
	require.Eventually(t, func() bool { keys, hosts = g.downloads(); return len(hosts) == 2 }, patience, 20*time.Millisecond, "two schedulers led")
	require.Len(t, keys, 1)
	for key := range keys {
		for _, s := range g.schedulers {
			require.NotContains(t, s.Stderr.String(), key, "it is in no log")
		}
	}
	for _, s := range g.schedulers {
		resp, err := (&http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: g.authority.Pool}}}).Get(s.url + "/v1/executor/perigee-executor")
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, http.StatusNotFound, resp.StatusCode)
	}

	// A token that was revoked is none, anywhere.
	g.must(standby, admin, "token", "revoke", made.ID)
	for _, s := range []*guardedScheduler{leader, standby, other} {
		g.refused("was revoked", s, made.Text, "deploy", "--yes", g.job("devel"))
	}
	// Who does not trust the authority is told, before any token is sent.
	c := exec.CommandContext(g.ctx, built.perigee, "jobs")
	c.Env = append(program.Environment(leader.url), "PERIGEE_TOKEN="+admin)
	said, err := c.CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(said), "is not trusted: x509: certificate signed by unknown authority")
}
