package mesos

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// detector finds the leading master.
type detector interface {
	// detect returns its host:port.
	detect(ctx context.Context) (string, error)
	// watch returns when master is known not to lead any more, or ctx ended.
	watch(ctx context.Context, master string) error
	close()
}

// masterAddress is a parsed Options.Master: either hosts, or ZooKeeper.
type masterAddress struct {
	hosts []string // host:port
	zk    *zkAddress
}

type zkAddress struct {
	servers []string // host:port
	path    string
	auth    string // user:password, or ""
}

func parseMaster(s string) (masterAddress, error) {
	const want = "want host:port[,host:port…] or zk://host:port[,host:port…]/path"
	if rest, isZK := strings.CutPrefix(s, "zk://"); isZK {
		var zk zkAddress
		servers, path, _ := strings.Cut(rest, "/")
		if at := strings.LastIndex(servers, "@"); at >= 0 {
			zk.auth, servers = servers[:at], servers[at+1:]
		}
		if zk.path = "/" + strings.Trim(path, "/"); zk.path == "/" {
			return masterAddress{}, fmt.Errorf("the mesos master %q has no path, as in zk://host:2181/mesos: %s", s, want)
		}
		var err error
		zk.servers, err = parseHosts(servers, "2181")
		if err != nil {
			return masterAddress{}, fmt.Errorf("the mesos master %q: %w: %s", s, err, want)
		}
		return masterAddress{zk: &zk}, nil
	}
	if s == "" {
		return masterAddress{}, errors.New("the mesos master is missing: " + want)
	}
	hosts, err := parseHosts(s, "5050")
	if err != nil {
		return masterAddress{}, fmt.Errorf("the mesos master %q: %w: %s", s, err, want)
	}
	return masterAddress{hosts: hosts}, nil
}

func parseHosts(s, port string) ([]string, error) {
	var hosts []string
	for _, h := range strings.Split(s, ",") {
		h = strings.TrimSpace(h)
		if strings.ContainsAny(h, "/@") || h == "" {
			return nil, fmt.Errorf("%q is no host:port", h)
		}
		if !strings.Contains(h, ":") {
			h = net.JoinHostPort(h, port)
		}
		if _, _, err := net.SplitHostPort(h); err != nil {
			return nil, fmt.Errorf("%q is no host:port", h)
		}
		hosts = append(hosts, h)
	}
	return hosts, nil
}

func (d *Driver) newDetector() (detector, error) {
	address, err := parseMaster(d.o.Master)
	if err != nil {
		return nil, err
	}
	if address.zk != nil {
		return newZKDetector(*address.zk, d.log)
	}
	return &listDetector{driver: d, hosts: address.hosts}, nil
}

// listDetector asks a list of masters who leads.
type listDetector struct {
	driver *Driver
	hosts  []string
}

// detect asks all at once, so that a host that is down costs no time.
func (l *listDetector) detect(ctx context.Context) (string, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type answer struct {
		leader string
		err    error
	}
	answers := make(chan answer, len(l.hosts))
	for _, host := range l.hosts {
		go func() {
			leader, err := l.driver.leader(ctx, host)
			answers <- answer{leader, err}
		}()
	}
	var errs []error
	found := ""
	for range l.hosts { // all of them, so that none is left behind
		a := <-answers
		if a.err == nil && found == "" {
			found = a.leader
			cancel()
		}
		errs = append(errs, a.err)
	}
	if found != "" {
		return found, nil
	}
	return "", errors.Join(errs...)
}

// watch has nothing to watch: the stream ends when a master ends.
func (l *listDetector) watch(ctx context.Context, _ string) error {
	<-ctx.Done()
	return ctx.Err()
}

func (l *listDetector) close() {}

// maxRedirects is how often one detection follows a redirect.
const maxRedirects = 4

// leader asks a master who leads, and that one whether it is true. A GET of the
// scheduler API does nothing, but a master that does not lead redirects it, one
// that leads and has recovered answers 405, and any other 503.
func (d *Driver) leader(ctx context.Context, host string) (string, error) {
	for range maxRedirects {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+schedulerPath, nil)
		if err != nil {
			return "", fmt.Errorf("ask %s: %w", host, err)
		}
		answer, err := d.http.Do(request)
		if err != nil {
			return "", fmt.Errorf("ask %s: %w", host, err)
		}
		answer.Body.Close()
		switch status := answer.StatusCode; {
		case status == http.StatusTemporaryRedirect:
			to, err := url.Parse(answer.Header.Get("Location")) // //host:port/master/api/v1/scheduler
			if err != nil || to.Host == "" {
				return "", fmt.Errorf("ask %s: it redirects to %q", host, answer.Header.Get("Location"))
			}
			host = to.Host
		case status >= 400 && status < 500 && status != http.StatusNotFound:
			return host, nil
		case status == http.StatusServiceUnavailable:
			return "", fmt.Errorf("ask %s: it knows of no leader, or is still recovering", host)
		default:
			return "", fmt.Errorf("ask %s: it answered %s: is it a mesos master?", host, answer.Status)
		}
	}
	return "", fmt.Errorf("ask %s: redirected too often", host)
}
