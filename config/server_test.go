package config_test

import (
	"bytes"
	"flag"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/config"
)

var update = flag.Bool("update", false, "write the golden files")

func requireGolden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err, "run the test with -update to write it")
	require.Equal(t, string(want), got, "run the test with -update if this is meant")
}

func serverFlags(t *testing.T, args ...string) *pflag.FlagSet {
	t.Helper()
	fs := pflag.NewFlagSet("scheduler", pflag.ContinueOnError)
	config.AddServerFlags(fs)
	require.NoError(t, fs.Parse(args))
	return fs
}

func serverFile(t *testing.T, data string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "perigee.yaml")
	require.NoError(t, os.WriteFile(path, []byte(data), 0o600))
	return path
}

func printed(t *testing.T, s *config.Server, o config.Origins) string {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, s.Print(&b, o))
	return b.String()
}

func TestServerDefaults(t *testing.T) {
	t.Parallel()
	s, origins, err := config.LoadServer("", nil, serverFlags(t))
	require.NoError(t, err)
	require.Empty(t, origins.Warnings)
	requireGolden(t, "testdata/default.golden", printed(t, s, origins))
	require.Equal(t, "/var/lib/perigee/journal", s.Journal.Dir())
	require.Equal(t, "http://127.0.0.1:7300", s.API.URL(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 7300}))
	name, err := os.Hostname()
	require.NoError(t, err)
	require.Equal(t, "http://"+name+":7300", s.API.URL(&net.TCPAddr{IP: net.IPv6zero, Port: 7300}))
	require.Equal(t, "http://a:1/v1/executor/perigee-executor", s.Executor.Source("http://a:1"))
	binary, err := s.Executor.Binary()
	require.NoError(t, err)
	require.Equal(t, "perigee-executor", filepath.Base(binary))
	require.True(t, filepath.IsAbs(binary))
}

func TestServerPrecedence(t *testing.T) {
	t.Parallel()
	path := serverFile(t, `# Ours.
cluster: north
api: {listen: ":7400", public_url: http://perigee.example.com/}
access: {mode: open}
mesos:
  master: zk://z1:2181,z2:2181/mesos
  role: web
  failover_timeout: 24h
executor:
  memory: 64MiB
  allow_root: true
limits:
  pending: 5
`)
	s, origins, err := config.LoadServer(path, []string{
		"PATH=/bin", "PERIGEE_MESOS_ROLE=env", "PERIGEE_LIMITS_PENDING=6", "PERIGEE_EXECUTOR_CPUS=0.5", "PERIGEE_LOG_LEVEL=",
		"PERIGEE_API=http://other", "PERIGEE_TEST_MESOS=x:1", "PERIGEE_TASK=t", "PERIGEE_MESOS_ROEL=x", "PERIGEE_WHATEVER=1",
	}, serverFlags(t, "--limits-pending=7", "--log-format", "json", "--executor-allow-root=false"))
	require.NoError(t, err)
	require.Equal(t, "north", s.Cluster)
	require.Equal(t, "env", s.Mesos.Role)
	require.Equal(t, 7, s.Limits.Pending)
	require.Equal(t, 24*time.Hour, s.Mesos.FailoverTimeout.Std())
	require.False(t, s.Executor.AllowRoot)
	require.Equal(t, "info", s.Log.Level, "an empty variable is not set")
	require.Equal(t, "http://perigee.example.com", s.API.URL(nil))
	require.Equal(t, []string{
		"environment PERIGEE_MESOS_ROEL is not a setting: did you mean PERIGEE_MESOS_ROLE?",
		"environment PERIGEE_WHATEVER is not a setting",
		"api.listen is :7400: everyone who reaches it may do everything, since access.mode is open",
	}, origins.Warnings)

	out := printed(t, s, origins)
	requireGolden(t, "testdata/precedence.golden", strings.ReplaceAll(out, path, "/etc/perigee.yaml"))
	again, _, err := config.LoadServer(serverFile(t, out), nil, nil)
	require.NoError(t, err)
	require.Equal(t, s, again, "what is printed can be used as the file")
}

func TestBadServerConfigurationIsToldAllAtOnce(t *testing.T) {
	t.Parallel()
	path := serverFile(t, `mesos:
  rol: web
  failover_timeout: soon
  master: nowhere
limit: {pending: 5}
executor: {cpus: 0}
`)
	_, _, err := config.LoadServer(path,
		[]string{"PERIGEE_LIMITS_INSTANCES=lots", "PERIGEE_LOG_LEVEL=loud", "PERIGEE_EXECUTOR_ALLOW_ROOT=yes", "PERIGEE_JOURNAL_URL=/var/lib"},
		serverFlags(t, "--events-keep=0", "--api-listen=7300"))
	require.Error(t, err)
	require.Equal(t, `/etc/perigee.yaml:2:3: mesos.rol: unknown field "rol": did you mean "role"?
      rol: web
      ^
/etc/perigee.yaml:3:21: mesos.failover_timeout: "soon" is not a duration: write it as 30s, 5m or 1h30m
      failover_timeout: soon
                        ^
/etc/perigee.yaml:5:1: limit: unknown field "limit": did you mean "limits"?
    limit: {pending: 5}
    ^
environment PERIGEE_EXECUTOR_ALLOW_ROOT: executor.allow_root: wants true or false, not the string "yes"
environment PERIGEE_LIMITS_INSTANCES: limits.instances: wants a whole number, not the string "lots"
flag --api-listen: api.listen: "7300" is not an address: write it as 127.0.0.1:7300 or :7300
environment PERIGEE_JOURNAL_URL: journal.url: "/var/lib" is not a place for a journal: write it as file:///var/lib/perigee/journal, or zk://host:2181,host:2181,host:2181/perigee
/etc/perigee.yaml:4: mesos.master: "nowhere" is not a Mesos master: write it as host:5050, several separated by commas, or zk://host:2181,host:2181/mesos
      master: nowhere
              ^
/etc/perigee.yaml:6: executor.cpus: is 0: it must be from 0.01 to 64
    executor: {cpus: 0}
                     ^
flag --events-keep: events.keep: is 0: it must be from 1 to 10000000
environment PERIGEE_LOG_LEVEL: log.level: "loud" is not known: it must be one of debug, info, warn, error`,
		strings.ReplaceAll(err.Error(), path, "/etc/perigee.yaml"))

	fs := pflag.NewFlagSet("scheduler", pflag.ContinueOnError)
	config.AddServerFlags(fs)
	require.ErrorContains(t, fs.Parse([]string{"--limits-pending=x"}), `wants a whole number, not the string "x"`)
	_, _, err = config.LoadServer(filepath.Join(t.TempDir(), "none"), nil, nil)
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestServerValues(t *testing.T) {
	t.Parallel()
	for flag, values := range map[string]struct{ good, bad []string }{
		"mesos-master": {[]string{"a:5050", "a:5050,b:5050", "[::1]:5050", "zk://a:2181/mesos", "zk://u:p@a:2181,b:2181/mesos/x"},
			[]string{"", "a", ":5050", "a:0", "a:5050/", "http://a:5050", "zk://a:2181", "zk://a/mesos", "zk:///mesos"}},
		"api-listen":         {[]string{":0", "127.0.0.1:7300", "[::]:7300", "localhost:80"}, []string{"", "localhost", "a:b", "a:99999", "http://a:1"}},
		"access-mode":        {[]string{"open", "token"}, []string{"closed"}},
		"access-proxies":     {[]string{"", "10.0.0.8", "10.0.0.8, 10.1.0.0/16,::1"}, []string{"proxy", "10.0.0.0/99", "10.0.0.8 10.0.0.9"}},
		"access-oidc-grants": {[]string{"", "ops=admin:*; {team}-devs=deployer:{team}:devel"}, []string{"ops", "ops=root:*"}},
		"access-oidc-issuer": {nil, []string{"x", "http://issuer.example.com", "https://issuer.example.com?x=1", "ftp://a"}},
		"access-reads":       {[]string{"open", "team", "authenticated"}, []string{"", "all"}},
		"api-public-url":     {[]string{"", "http://a", "https://a:1/x"}, []string{"a:1", "ftp://a", "http://"}},
		"journal-url": {[]string{"file:///x", "zk://a:1/x", "zk://a:1,b:2/x/y"},
			[]string{"", "file://x", "file:///", "zk://a:1", "zk://a:1/", "zk://a/x", "zk://a:1/x/", "zk://u:p@a:1/x", "/x"}},
		"journal-session-timeout": {[]string{"1s", "1m"}, []string{"0s", "500ms", "2m"}},
		"journal-credentials":     {nil, []string{"x", "x:", ":x", "user:password"}},
		"executor-url":            {[]string{"http://a/x"}, []string{"file:///x"}},
		"mesos-role":              {[]string{"web", "a/b"}, []string{"", "*", "a b", "/a", "-a"}},
		"executor-memory":         {[]string{"32MiB"}, []string{"31MiB", "-1GiB", "32"}},
		"cluster":                 {[]string{"a", "null", "true", "Nord 1"}, []string{"", " a", "a\nb"}},
	} {
		environ := []string{"PERIGEE_ACCESS_MODE=open"} // so that api.listen may be anything
		for _, v := range values.good {
			s, origins, err := config.LoadServer("", environ, serverFlags(t, "--"+flag+"="+v))
			require.NoError(t, err)
			again, _, err := config.LoadServer(serverFile(t, printed(t, s, origins)), nil, nil)
			require.NoError(t, err)
			require.Equal(t, s, again)
		}
		for _, v := range values.bad {
			_, _, err := config.LoadServer("", environ, serverFlags(t, "--"+flag+"="+v))
			require.ErrorContains(t, err, "flag --"+flag, "%q", v)
		}
	}
}

func TestServerFile(t *testing.T) {
	t.Parallel()
	require.Equal(t, "a", config.ServerFile("a", []string{"PERIGEE_CONFIG=b"}))
	require.Equal(t, "b", config.ServerFile("", []string{"PERIGEE_CONFIG=b"}))
}

func TestJournalInZooKeeper(t *testing.T) {
	t.Parallel()
	s, origins, err := config.LoadServer("", []string{"PERIGEE_JOURNAL_CREDENTIALS=perigee:hush"},
		serverFlags(t, "--journal-url=zk://z1:2181,z2:2182/perigee/prod"))
	require.NoError(t, err)
	servers, path, ok := s.Journal.ZooKeeper()
	require.True(t, ok)
	require.Equal(t, []string{"z1:2181", "z2:2182"}, servers)
	require.Equal(t, "/perigee/prod", path)
	out := printed(t, s, origins)
	require.NotContains(t, out, "hush")
	require.Contains(t, out, `credentials: "***"`)
}

func TestTLSOfTheAPI(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"--api-tls-cert=/c.pem"}, "api.tls.key: is missing: the certificate of api.tls.cert is of no use without its key"},
		{[]string{"--api-tls-key=/k.pem"}, "api.tls.cert: is missing: api.tls.key is of which certificate?"},
		{[]string{"--api-tls-cert=/c.pem", "--api-tls-key=/k.pem", "--api-public-url=http://a"}, `flag --api-public-url: api.public_url: "http://a" must begin with https://`},
	} {
		_, _, err := config.LoadServer("", nil, serverFlags(t, c.args...))
		require.ErrorContains(t, err, c.says)
	}
	s, _, err := config.LoadServer("", nil, serverFlags(t, "--api-tls-cert=/c.pem", "--api-tls-key=/k.pem"))
	require.NoError(t, err)
	url := s.API.URL(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 7300})
	require.Equal(t, "https://127.0.0.1:7300", url)
	require.Equal(t, "https://127.0.0.1:7300/v1/executor/perigee-executor", s.Executor.Source(url))
	// Where a proxy speaks TLS, the schedulers need no more than whom to trust.
	_, _, err = config.LoadServer("", nil, serverFlags(t, "--api-tls-ca=/ca.pem", "--api-public-url=https://a"))
	require.NoError(t, err)
}

// Whoever lets others reach the API says who may use it.
func TestAccessModeMustBeSaid(t *testing.T) {
	t.Parallel()
	_, _, err := config.LoadServer("", nil, serverFlags(t, "--api-listen=:7300"))
	require.ErrorContains(t, err, "access.mode: must be said")
	s, origins, err := config.LoadServer("", nil, serverFlags(t, "--api-listen=:7300", "--access-mode=token", "--access-init-code=01234567890123456789"))
	require.NoError(t, err)
	require.True(t, s.Access.Tokens())
	require.NotContains(t, printed(t, s, origins), "0123456789")
	_, _, err = config.LoadServer("", nil, serverFlags(t, "--access-oidc-issuer=https://issuer.example.com"))
	require.ErrorContains(t, err, "access.oidc.audience: is needed")
	_, _, err = config.LoadServer("", nil, serverFlags(t, "--access-oidc-issuer=http://127.0.0.1:1", "--access-oidc-audience=perigee"))
	require.NoError(t, err)
	_, _, err = config.LoadServer("", nil, serverFlags(t, "--access-init-code=short"))
	require.ErrorContains(t, err, "at least 20 characters")
	s, _, err = config.LoadServer("", nil, nil)
	require.NoError(t, err)
	require.False(t, s.Access.Tokens())
}
