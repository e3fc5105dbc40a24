package webhook

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/cloudevent"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// serve is a consumer over real HTTP.
func serve(t *testing.T, handle http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(handle)
	t.Cleanup(s.Close)
	return s
}

func hookTo(url string, secrets ...*record.WebhookSecret) *record.Webhook {
	return &record.Webhook{Id: "i1-000001", Team: "web", Url: url, Secrets: secrets}
}

func anEvent() *api.Event {
	e := cloudevent.Of("test", "i1-7-0", &record.Event{Type: "task.running", At: 1000, Job: "web/prod/shop", Task: "i1-000002"})
	return &e
}

func newTestSender(t *testing.T, targets Targets) *sender {
	t.Helper()
	s := newSender(newTransport(&targets, nil), "perigee/test")
	t.Cleanup(s.client.CloseIdleConnections)
	return s
}

// verify checks a delivery as the convention has consumers do it.
func verify(t *testing.T, key []byte, h http.Header, body []byte) bool {
	t.Helper()
	stamp, err := strconv.ParseInt(h.Get("webhook-timestamp"), 10, 64)
	require.NoError(t, err)
	require.InDelta(t, time.Now().Unix(), stamp, 300)
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%d.%s", h.Get("webhook-id"), stamp, body)
	want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	for _, signature := range strings.Split(h.Get("webhook-signature"), " ") {
		if hmac.Equal([]byte(signature), []byte(want)) {
			return true
		}
	}
	return false
}

func TestSign_WithEverySecretThatIsValid(t *testing.T) {
	t.Parallel()
	keys := [][]byte{[]byte(strings.Repeat("a", 24)), []byte(strings.Repeat("b", 32)), []byte(strings.Repeat("c", 64))}
	now := time.Now().UnixMilli()
	secrets := []*record.WebhookSecret{{Key: api.WebhookSecretOf(keys[0])}, {Key: api.WebhookSecretOf(keys[1]), ExpiresAt: now + 60_000},
		{Key: api.WebhookSecretOf(keys[2]), ExpiresAt: now - 1}}
	var valid [3]atomic.Bool
	consumer := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		for i, key := range keys {
			valid[i].Store(verify(t, key, r.Header, body))
		}
	})
	o := newTestSender(t, Targets{}).send(context.Background(), hookTo(consumer.URL, secrets...), anEvent())
	require.True(t, o.delivered, o.err)
	require.True(t, valid[0].Load())
	require.True(t, valid[1].Load(), "one that was rotated away is valid until it expires")
	require.False(t, valid[2].Load())
}

// The example of the convention's specification.
func TestSign_AsTheConventionSays(t *testing.T) {
	t.Parallel()
	got := signature([]*record.WebhookSecret{{Key: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}}, "msg_p5jXN8AQM9LWM0D4loKWxJek",
		time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	require.Equal(t, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", got)
}

// Whatever a consumer does is an outcome that says what it was.
func TestSend_WhatConsumersDo(t *testing.T) {
	t.Parallel()
	var followed atomic.Int64
	elsewhere := serve(t, func(http.ResponseWriter, *http.Request) { followed.Add(1) })
	sent := new(atomic.Int64)
	consumer := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		switch r.URL.Path {
		case "/ok":
			fmt.Fprint(w, "thank\nyou")
		case "/accepted":
			w.WriteHeader(http.StatusAccepted)
		case "/loop":
			http.Redirect(w, r, "/loop?token=hunter2", http.StatusTemporaryRedirect)
		case "/moved":
			http.Redirect(w, r, elsewhere.URL+"/in", http.StatusPermanentRedirect)
		case "/gone":
			w.WriteHeader(http.StatusGone)
		case "/busy":
			w.Header().Set("Retry-After", "7")
			http.Error(w, "come <b>back</b>\nlater\x00", http.StatusServiceUnavailable)
		case "/huge", "/hugeok":
			if r.URL.Path == "/huge" {
				w.WriteHeader(http.StatusInternalServerError)
			}
			chunk := []byte(strings.Repeat("x", 1<<20))
			for range 200 {
				n, err := w.Write(chunk)
				sent.Add(int64(n))
				if err != nil {
					return
				}
			}
		case "/close":
			panic(http.ErrAbortHandler)
		case "/garbage":
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				fmt.Fprint(conn, "SSH-2.0-OpenSSH_9.6\r\n")
				conn.Close()
			}
		case "/headers":
			for i := range 100 {
				w.Header().Set(fmt.Sprint("X-", i), strings.Repeat("x", 2000))
			}
		}
	})
	closed := httptest.NewServer(nil)
	closed.Close()
	s := newTestSender(t, Targets{})
	for _, c := range []struct {
		url       string
		delivered bool
		status    int
		err       string
	}{
		{consumer.URL + "/ok", true, 200, ""},
		{consumer.URL + "/accepted", true, 202, ""},
		{consumer.URL + "/loop", false, 307, "answered 307, a redirect to " + consumer.URL + "/loop, which is not followed: if it has moved, change the webhook's URL"},
		{consumer.URL + "/moved", false, 308, "answered 308, a redirect to " + elsewhere.URL + "/in, which is not followed"},
		{consumer.URL + "/gone", false, 410, "answered 410: it wants to be told nothing more"},
		{consumer.URL + "/busy", false, 503, `answered 503: "come <b>back</b> later"`},
		{consumer.URL + "/huge", false, 500, "answered 500: \"" + strings.Repeat("x", textMost) + "…\""},
		{consumer.URL + "/hugeok", true, 200, ""},
		{consumer.URL + "/close", false, 0, "closed the connection without an answer"},
		{consumer.URL + "/garbage", false, 0, "malformed HTTP"},
		{consumer.URL + "/headers", false, 0, "server response headers exceeded 65536 bytes"},
		{closed.URL, false, 0, "connection refused"},
		{"http://no-such-host.invalid/in?token=hunter2", false, 0, "host"},
		{strings.Replace(consumer.URL, "http:", "https:", 1), false, 0, "server gave HTTP response to HTTPS client"},
	} {
		o := s.send(context.Background(), hookTo(c.url), anEvent())
		require.Equal(t, c.delivered, o.delivered, c.url)
		require.Equal(t, c.status, o.status, c.url)
		require.Contains(t, o.err, c.err)
		require.NotContains(t, o.err, "hunter2", "a URL's query may be secret")
		require.Equal(t, strings.HasSuffix(c.url, "/gone"), o.gone)
	}
	require.Zero(t, followed.Load())
	require.Less(t, sent.Load(), int64(2*20<<20), "what is read of an answer is bounded")
	require.Equal(t, 7*time.Second, s.send(context.Background(), hookTo(consumer.URL+"/busy"), anEvent()).wait)
	require.Equal(t, "thank you", s.send(context.Background(), hookTo(consumer.URL+"/ok"), anEvent()).text)
}

// Proxies of the environment are not asked; the one that is configured is.
func TestSend_ThroughTheProxyThatIsConfigured(t *testing.T) {
	t.Parallel()
	var asked atomic.Value
	proxy := serve(t, func(_ http.ResponseWriter, r *http.Request) { asked.Store(r.URL.String()) })
	u, err := url.Parse(proxy.URL)
	require.NoError(t, err)
	s := newSender(newTransport(&Targets{}, u), "perigee")
	t.Cleanup(s.client.CloseIdleConnections)
	require.True(t, s.send(context.Background(), hookTo("http://consumer.invalid/in"), anEvent()).delivered)
	require.Equal(t, "http://consumer.invalid/in", asked.Load())
	require.Nil(t, newTransport(&Targets{}, nil).Proxy)
}

func TestTargets_AreRefusedByTheirAddress(t *testing.T) {
	t.Parallel()
	open, closed := Targets{}, Targets{RefusePrivate: true}
	listed := Targets{RefusePrivate: true, Allowed: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("169.254.7.0/24")}}
	for _, c := range []struct {
		address              string
		open, closed, listed bool // is sent to
	}{
		{"93.184.216.34", true, true, true},
		{"2606:2800:220:1::1", true, true, true},
		{"127.0.0.1", true, false, false},
		{"::1", true, false, false},
		{"::ffff:127.0.0.1", true, false, false},
		{"10.1.2.3", true, false, true},
		{"10.2.2.3", true, false, false},
		{"172.31.0.1", true, false, false},
		{"192.168.1.1", true, false, false},
		{"100.64.0.1", true, false, false},
		{"fd12::1", true, false, false},
		{"169.254.169.254", false, false, false},
		{"::ffff:169.254.169.254", false, false, false},
		{"64:ff9b::a9fe:a9fe", false, false, false},
		{"64:ff9b::5db8:d822", true, true, true},
		{"2002:a9fe:a9fe::1", false, false, false},
		{"2002:7f00:1::1", true, false, false},
		{"::a9fe:a9fe", false, false, false},
		{"169.254.7.9", false, false, true},
		{"fe80::1", false, false, false},
		{"fe80::1%eth0", false, false, false},
		{"fd00:ec2::254", false, false, false},
		{"100.100.100.200", false, false, false},
		{"0.0.0.0", false, false, false},
		{"0.1.2.3", false, false, false},
		{"::", false, false, false},
		{"224.0.0.1", false, false, false},
		{"ff02::1", false, false, false},
		{"255.255.255.255", false, false, false},
	} {
		a := netip.MustParseAddr(c.address)
		require.Equal(t, c.open, open.refuses(a) == nil, c.address)
		require.Equal(t, c.closed, closed.refuses(a) == nil, c.address)
		require.Equal(t, c.listed, listed.refuses(a) == nil, c.address)
	}
}

func TestTargets_URLsOfAddressesAreRefusedAtOnce(t *testing.T) {
	t.Parallel()
	r := New(Options{Targets: Targets{RefusePrivate: true}})
	for url, refused := range map[string]string{
		"http://127.0.0.1:8080/":            "127.0.0.1 is this machine itself, and webhooks.private_targets in the scheduler's configuration refuses that",
		"http://[::1]/":                     "this machine itself",
		"https://LOCALHOST./":               "this machine itself",
		"http://a.localhost/":               "this machine itself",
		"http://169.254.169.254/latest":     "link-local, where clouds have their metadata, and not sent to (webhooks.allowed_networks",
		"http://192.168.0.7/":               "private",
		"https://consumer.example.com/":     "",
		"https://[2606:2800:220:1::1]:443/": "",
	} {
		err := r.Refuses(url)
		if refused == "" {
			require.NoError(t, err, url)
		} else {
			require.ErrorContains(t, err, refused, url)
		}
	}
}

// A name that resolves to what may not be sent to is refused when it is connected
// to, whatever it resolved to before.
func TestTargets_NamesAreRefusedWhenTheyAreConnectedTo(t *testing.T) {
	t.Parallel()
	consumer := serve(t, func(http.ResponseWriter, *http.Request) {})
	_, port, err := net.SplitHostPort(consumer.Listener.Addr().String())
	require.NoError(t, err)
	byName := "http://localhost:" + port + "/"
	require.True(t, newTestSender(t, Targets{}).send(context.Background(), hookTo(byName), anEvent()).delivered)
	o := newTestSender(t, Targets{RefusePrivate: true}).send(context.Background(), hookTo(byName), anEvent())
	require.False(t, o.delivered)
	require.Contains(t, o.err, "is this machine itself, and webhooks.private_targets")
	o = newTestSender(t, Targets{}).send(context.Background(), hookTo("http://169.254.169.254/latest/meta-data"), anEvent())
	require.Contains(t, o.err, "169.254.169.254 is link-local")
}

func TestMatcher_SaysWhichEventsAreTold(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		hook     *record.Webhook
		job, typ string
		want     bool
	}{
		{&record.Webhook{Team: "web"}, "web/prod/shop", "task.running", true},
		{&record.Webhook{Team: "web"}, "webshop/prod/shop", "task.running", false},
		{&record.Webhook{Team: "web"}, "", "scheduler.elected", false},
		{&record.Webhook{Team: "*"}, "", "scheduler.elected", true},
		{&record.Webhook{Team: "*"}, "web/prod/shop", "task.running", true},
		{&record.Webhook{Team: "web", Job: "web/prod/*"}, "web/prod/shop", "x", true},
		{&record.Webhook{Team: "web", Job: "web/prod/*"}, "web/devel/shop", "x", false},
		{&record.Webhook{Team: "web", Job: "*/*/shop"}, "web/devel/shop", "x", true},
		{&record.Webhook{Team: "web", Job: "*/*/shop"}, "ops/devel/shop", "x", false},
		{&record.Webhook{Team: "*", Job: "*/prod/*"}, "ops/prod/shop", "x", true},
		{&record.Webhook{Team: "*", Job: "*/prod/*"}, "", "x", false},
		{&record.Webhook{Team: "web", Types: []string{"task.*", "deploy.failed"}}, "web/a/b", "task.lost", true},
		{&record.Webhook{Team: "web", Types: []string{"task.*", "deploy.failed"}}, "web/a/b", "deploy.failed", true},
		{&record.Webhook{Team: "web", Types: []string{"task.*", "deploy.failed"}}, "web/a/b", "deploy.started", false},
		{&record.Webhook{Team: "web", Types: []string{"tas[kl].l?st"}}, "web/a/b", "task.lost", true},
		{&record.Webhook{Team: "*"}, "web/a/b", "audit.write", false},
		{&record.Webhook{Team: "*", Types: []string{"*", "a*.*", "?udit.write"}}, "web/a/b", "audit.write", false},
		{&record.Webhook{Team: "web", Types: []string{"task.*", "audit.*"}}, "web/a/b", "audit.write", true},
		{&record.Webhook{Team: "web", Types: []string{"audit.write"}}, "", "audit.write", false},
		{&record.Webhook{Team: "*", Types: []string{"audit.write"}}, "", "audit.write", true},
	} {
		m := newMatcher(c.hook)
		require.Equal(t, c.want, m.matches(c.job, c.typ), "%v: %s %s", c.hook, c.job, c.typ)
		s := &subscription{hook: c.hook, wants: m}
		x := newIndex(map[string]*subscription{"a": s})
		for range 2 { // found, and kept
			require.Equal(t, c.want, len(x.of(&record.Event{Job: c.job, Type: c.typ})) == 1, "%v: %s %s", c.hook, c.job, c.typ)
		}
	}
}
