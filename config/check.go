package config

import (
	"fmt"
	"net"
	"net/url"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/access"
)

// checker collects what is wrong with values.
type checker []Problem

func (c *checker) add(ok bool, path, format string, args ...any) {
	if !ok {
		*c = append(*c, Problem{Path: path, Message: fmt.Sprintf(format, args...)})
	}
}

var (
	roleName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*$`)
	userName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,31}$`)
	title    = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9_. -]{0,62}[A-Za-z0-9])?$`)
)

// validate returns everything that is wrong with s, in its order.
func (s *Server) validate() []Problem {
	c := new(checker)
	c.add(title.MatchString(s.Cluster), "cluster", "%q must be 1 to 64 letters, digits, spaces, _, . and -", s.Cluster)
	c.add(address(s.API.Listen, true), "api.listen", "%q is not an address: write it as 127.0.0.1:7300 or :7300", s.API.Listen)
	c.url("api.public_url", s.API.PublicURL)
	c.tls(s.API)
	c.access(s)
	c.journal(s.Journal)
	c.master(s.Mesos.Master)
	c.add(roleName.MatchString(s.Mesos.Role), "mesos.role", "%q is not a role: letters, digits, _, . and -, in parts separated by /", s.Mesos.Role)
	c.add(title.MatchString(s.Mesos.FrameworkName), "mesos.framework_name", "%q must be 1 to 64 letters, digits, spaces, _, . and -", s.Mesos.FrameworkName)
	c.user("mesos.user", s.Mesos.User)
	c.add(!strings.Contains(s.Mesos.Principal, ":"), "mesos.principal", "%q must have no colon: basic authentication separates it from the secret by one", s.Mesos.Principal)
	c.add(s.Mesos.Principal != "" || s.Mesos.Secret == "", "mesos.principal", "is missing: mesos.secret is whose?")
	c.add(s.Mesos.TLS || s.Mesos.CA == "", "mesos.tls", "must be true where mesos.ca is given")
	c.duration("mesos.failover_timeout", s.Mesos.FailoverTimeout, time.Minute)
	c.executor(s.Executor)
	c.user("defaults.user", s.Defaults.User)
	c.duration("defaults.unreachable_replace_after", s.Defaults.UnreachableReplaceAfter, 100*time.Millisecond)
	c.count("limits.instances", s.Limits.Instances, 1, api.MaxInstances)
	c.count("limits.pending", s.Limits.Pending, 1, 10_000_000)
	c.count("limits.requests", s.Limits.Requests, 0, 1_000_000)
	c.count("limits.strangers", s.Limits.Strangers, 0, 1_000_000)
	c.count("limits.failures", s.Limits.Failures, 0, 1_000_000)
	c.count("events.keep", s.Events.Keep, 1, 10_000_000)
	c.webhooks(s.Webhooks)
	c.count("finished.keep", s.Finished.Keep, 0, 10_000_000)
	c.history(s.History)
	c.choice("log.level", s.Log.Level, "debug", "info", "warn", "error")
	c.choice("log.format", s.Log.Format, "text", "json")
	return *c
}

func (c *checker) access(s *Server) {
	a := s.Access
	c.choice("access.mode", a.Mode, "open", "token", "")
	c.add(a.Mode != "" || s.API.Loopback() || !address(s.API.Listen, true), "access.mode",
		"must be said, since others than this machine reach api.listen, %s: token, or open if all who reach it may do everything", s.API.Listen)
	c.choice("access.reads", a.Reads, "open", "authenticated", "team")
	c.oidc(a.OIDC)
	_, err := a.ProxyNetworks()
	c.add(err == nil, "access.proxies", "%v: write them as 10.0.0.8, 10.1.0.0/16", err)
	c.add(a.InitCode == "" || len(a.InitCode) >= 20, "access.init_code", "must have at least 20 characters: who guesses it may do everything")
}

func (c *checker) tls(a API) {
	c.add(a.TLS.Cert != "" || a.TLS.Key == "", "api.tls.cert", "is missing: api.tls.key is of which certificate?")
	c.add(a.TLS.Key != "" || a.TLS.Cert == "", "api.tls.key", "is missing: the certificate of api.tls.cert is of no use without its key")
	c.add(a.TLS.Cert == "" || !strings.HasPrefix(a.PublicURL, "http://"), "api.public_url", "%q must begin with https://, since the API speaks TLS with api.tls.cert", a.PublicURL)
}

func (c *checker) webhooks(w Webhooks) {
	c.choice("webhooks.private_targets", w.PrivateTargets, "allow", "refuse")
	_, err := w.Networks()
	c.add(err == nil, "webhooks.allowed_networks", "%v", err)
	c.url("webhooks.proxy", w.Proxy)
	c.duration("webhooks.retry_for", w.RetryFor, time.Second)
	c.count("webhooks.per_team", w.PerTeam, 0, 10_000)
	c.count("webhooks.most", w.Most, 0, 10_000)
}

func (c *checker) oidc(o OIDC) {
	u, err := url.Parse(o.Issuer)
	local := err == nil && u.Scheme == "http" && (u.Hostname() == "localhost" || net.ParseIP(u.Hostname()).IsLoopback())
	c.add(o.Issuer == "" || err == nil && u.Hostname() != "" && u.RawQuery == "" && (u.Scheme == "https" || local),
		"access.oidc.issuer", "%q is not the URL of an issuer: write it as https://host/path; http is for this machine alone", o.Issuer)
	c.add(o.Issuer == "" || o.Audience != "", "access.oidc.audience", "is needed with access.oidc.issuer: without it, what the issuer signs for others would do")
	_, err = access.ParseRules(o.Grants)
	c.add(err == nil, "access.oidc.grants", "%v", err)
}

func (c *checker) executor(e Executor) {
	c.url("executor.url", e.URL)
	c.add(e.CPUs >= 0.01 && e.CPUs <= 64, "executor.cpus", "is %v: it must be from 0.01 to 64", e.CPUs)
	c.add(e.Memory >= 32*api.MiB && e.Memory <= 64*api.GiB, "executor.memory", "is %s: it must be from 32MiB to 64GiB", e.Memory)
	c.add(filepath.IsAbs(e.CacheDir), "executor.cache_dir", "%q must be an absolute path", e.CacheDir)
	c.add(e.CacheSize >= api.MiB, "executor.cache_size", "is %s: it must be at least 1MiB", e.CacheSize)
}

// address says whether s is host:port; the host may be left out to listen.
func address(s string, listen bool) bool {
	host, port, err := net.SplitHostPort(s)
	n, perr := strconv.ParseUint(port, 10, 16)
	return err == nil && perr == nil && !strings.ContainsAny(host, " /") && (listen || host != "" && n > 0)
}

func (c *checker) url(path, s string) {
	u, err := url.Parse(s)
	c.add(s == "" || err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "",
		path, "%q is not a URL: write it as http://host:7300", s)
}

func (c *checker) journal(j Journal) {
	u, err := url.Parse(j.URL)
	good := err == nil && u.Scheme == "file" && u.Host == "" && filepath.IsAbs(u.Path) && u.Path != "/"
	servers, znode, isZK := j.ZooKeeper()
	if isZK {
		good = znode != "/" && path.Clean(znode) == znode &&
			!slices.ContainsFunc(servers, func(s string) bool { return !address(s, false) })
	}
	c.add(good, "journal.url", "%q is not a place for a journal: write it as file:///var/lib/perigee/journal, or zk://host:2181,host:2181,host:2181/perigee", j.URL)
	user, password, both := strings.Cut(j.Credentials, ":")
	c.add(j.Credentials == "" || both && user != "" && password != "", "journal.credentials", "must be user:password")
	c.add(j.Credentials == "" || isZK, "journal.credentials", "are for a journal in ZooKeeper, and journal.url is %q", j.URL)
	c.add(j.SessionTimeout.Std() >= time.Second && j.SessionTimeout.Std() <= time.Minute,
		"journal.session_timeout", "is %s: it must be from 1s to 1m", j.SessionTimeout)
}

func (c *checker) history(h History) {
	u, err := url.Parse(h.URL)
	good := h.URL == "" || h.URL == NoHistory
	if err == nil {
		good = good || u.Scheme == "sqlite" && u.Host == "" && filepath.IsAbs(u.Path) && !strings.HasSuffix(u.Path, "/") || u.Scheme == "postgres" || u.Scheme == "postgresql"
	}
	c.add(good, "history.url", "%q is not a place for a history: write it as sqlite:///var/lib/perigee/history.db, postgres://user:password@host/database, or none", withoutPassword(h.URL))
	const most = 10 * 365 * 24 * time.Hour
	within := func(path string, d api.Duration) {
		c.add(d.Std() >= time.Hour && d.Std() <= most, path, "is %s: it must be from 1h to %s", d, api.Duration(most))
	}
	within("history.keep", h.Keep)
	within("history.events_keep", h.EventsKeep)
	c.add(h.Size >= 64*api.MiB, "history.size", "is %s: it must be at least 64MiB", h.Size)
}

func (c *checker) master(s string) {
	hosts := s
	rest, isZK := strings.CutPrefix(s, "zk://")
	if isZK {
		if at := strings.LastIndexByte(rest, '@'); at >= 0 {
			rest = rest[at+1:] // after user:password
		}
		var path string
		hosts, path, _ = strings.Cut(rest, "/")
		c.add(path != "", "mesos.master", "%q names no path: write it as zk://host:2181/mesos", s)
	}
	bad := slices.IndexFunc(strings.Split(hosts, ","), func(h string) bool { return !address(strings.TrimSpace(h), false) })
	c.add(bad < 0, "mesos.master", "%q is not a Mesos master: write it as host:5050, several separated by commas, or zk://host:2181,host:2181/mesos", s)
}

func (c *checker) user(path, s string) {
	c.add(s == "" || userName.MatchString(s), path, "%q is not a user's name", s)
}

func (c *checker) duration(path string, d api.Duration, least time.Duration) {
	const most = 365 * 24 * time.Hour
	c.add(d.Std() >= least && d.Std() <= most, path, "is %s: it must be from %s to %s", d, api.Duration(least), api.Duration(most))
}

func (c *checker) count(path string, n, least, most int) {
	c.add(n >= least && n <= most, path, "is %d: it must be from %d to %d", n, least, most)
}

func (c *checker) choice(path, s string, allowed ...string) {
	c.add(slices.Contains(allowed, s), path, "%q is not known: it must be one of %s", s, strings.TrimSuffix(strings.Join(allowed, ", "), ", "))
}
