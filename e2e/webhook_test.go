package e2e

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/e2e/program"
	"github.com/perigee-sched/perigee/scheduler/zookeeper/zktest"
)

// example is examples/webhook/consumer.py at work.
type example struct {
	*program.Process
	w    *world
	port *zktest.Port
}

// start runs the consumer, with the secrets that it verifies by.
func (e *example) start(secrets ...string) {
	e.w.Helper()
	_, port, _ := strings.Cut(e.port.String(), ":")
	p, err := program.StartWith(built.dir, "consumer-"+e.w.team, exec.Command("env", "WEBHOOK_SECRET="+strings.Join(secrets, " "),
		"python3", filepath.Join(built.examples, "webhook/consumer.py"), port))
	require.NoError(e.w, err)
	e.Process = p
}

func (e *example) stop() {
	e.w.Helper()
	require.NoError(e.w, e.End(context.Background(), os.Kill))
}

var (
	hookID     = regexp.MustCompile(`(?m)^Webhook (\S+) tells `)
	hookSecret = regexp.MustCompile(`(?m)^Secret:  (whsec_\S+)$`)
)

// What docs/webhooks.md has a new user do, with the consumer of the examples: make
// a webhook, test it, be told of runs, rotate the secret, survive the consumer.
func TestWebhook_AsANewUserWould(t *testing.T) {
	w := begin(t)
	port, err := zktest.ClaimPort()
	require.NoError(t, err)
	t.Cleanup(port.Release)
	consumer := &example{w: w, port: port}
	made := w.must("webhook", "create", "http://"+port.String()+"/", "--job", w.team+"/test/*", "--type", "run.*,job.created", "-m", "an example")
	id, secret := hookID.FindStringSubmatch(made)[1], hookSecret.FindStringSubmatch(made)[1]
	t.Cleanup(func() { w.cliQuietly("webhook", "remove", id, "--yes") })

	r := w.cli("webhook", "test", id)
	require.Equal(t, 1, r.code)
	require.Contains(t, r.errors, "connection refused")
	consumer.start(secret)
	w.await("", "the consumer is there", func() bool { return w.cli("webhook", "test", id).code == 0 })
	require.Contains(t, w.must("webhook", "test", id), "it answered 204 in ")
	w.awaitLine(consumer.Stdout, "dev.perigee.webhook.test "+id)

	job := w.job("sum")
	w.must("deploy", w.file("sum", "job: JOB\nkind: batch\ncommand: 'true'\nresources: {cpus: 0.05, memory: 16MiB}\n"))
	w.must("run", job, "--wait")
	w.awaitLine(consumer.Stdout, "dev.perigee.job.created "+job)
	w.awaitLine(consumer.Stdout, "dev.perigee.run.succeeded "+job+" succeeded")

	// The consumer is away; what happens is told when it is back.
	consumer.stop()
	w.must("run", job, "--wait")
	w.await(job, "the webhook fails", func() bool {
		return strings.Contains(w.must("webhook", "list", "--team", w.team), "failing")
	})
	rotated := hookSecret.FindStringSubmatch(w.must("webhook", "rotate", id))[1]
	consumer.start(rotated, secret)
	w.awaitLine(consumer.Stdout, "dev.perigee.run.succeeded "+job+" succeeded")
	require.Contains(t, w.must("webhook", "show", id), "2 valid secrets")
	consumer.stop()
	consumer.start(secret) // which is valid for another day
	w.await("", "the consumer is there", func() bool { return w.cli("webhook", "test", id).code == 0 })
	w.must("webhook", "rotate", id, "--keep", "0s")
	r = w.cli("webhook", "test", id)
	require.Equal(t, 1, r.code)
	require.Contains(t, r.errors, "answered 401")
	consumer.stop()
	require.Contains(t, w.must("webhook", "dead-letters", id), "There are none")
	require.Contains(t, w.must("webhook", "disable", id, "--reason", "over"), "is disabled")
	require.Contains(t, w.must("webhook", "show", id), "over")
	require.Contains(t, w.must("webhook", "enable", id, "--replay"), "from where it stopped")
	require.Contains(t, w.must("webhook", "update", id, "--type", "deploy.failed"), "tells deploy.failed of "+w.team)
	require.Contains(t, w.must("webhook", "remove", id, "--yes"), "is removed")
	require.Equal(t, 4, w.cli("webhook", "show", id).code)
	for _, wrong := range []string{"consumer", "ftp://x/", "http://", "http://ann:secret@x/", "http://x:99999/", "http://169.254.169.254/"} {
		r = w.cli("webhook", "create", wrong, "--team", w.team)
		require.Equal(t, 3, r.code, r.errors)
		require.Contains(t, r.errors, "url: ")
	}
}

// The consumer of the examples takes each event once, and nothing that was not
// signed, or long ago.
func TestWebhook_TheExampleDropsWhatComesAgain(t *testing.T) {
	w := begin(t)
	port, err := zktest.ClaimPort()
	require.NoError(t, err)
	t.Cleanup(port.Release)
	consumer := &example{w: w, port: port}
	var last atomic.Pointer[http.Request] // with its body
	again := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		kept := r.Clone(context.Background())
		kept.Body = io.NopCloser(bytes.NewReader(body))
		last.Store(kept)
		for range 3 { // as a failover may
			rw.Header().Set("X-Seen", "again")
			if status := send(port.String(), r.Header, body); status != http.StatusNoContent {
				rw.WriteHeader(http.StatusBadGateway)
				return
			}
		}
	}))
	t.Cleanup(again.Close)
	made := w.must("webhook", "create", again.URL, "--team", w.team, "--type", "job.*")
	id, secret := hookID.FindStringSubmatch(made)[1], hookSecret.FindStringSubmatch(made)[1]
	t.Cleanup(func() { w.cliQuietly("webhook", "remove", id, "--yes") })
	consumer.start(secret)
	t.Cleanup(consumer.stop)
	w.await("", "the consumer is there", func() bool { return w.cli("webhook", "test", id).code == 0 })
	job := w.job("idle")
	w.must("deploy", w.file("idle", "job: JOB\nkind: batch\ncommand: 'true'\nresources: {cpus: 0.05, memory: 16MiB}\n"))
	for range 5 {
		w.must("pause", job)
		w.must("resume", job)
	}
	w.await(job, "all is told", func() bool { return strings.Count(consumer.Stdout.String(), "job.resumed") >= 5 })
	require.Equal(t, 5, strings.Count(consumer.Stdout.String(), "job.resumed"))
	require.Equal(t, 5, strings.Count(consumer.Stdout.String(), "job.paused"))

	r := last.Load()
	body, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusNoContent, send(port.String(), r.Header, body))
	require.Equal(t, http.StatusUnauthorized, send(port.String(), r.Header, bytes.Replace(body, []byte("idle"), []byte("busy"), 1)))
	for name, value := range map[string]string{"Webhook-Timestamp": "1700000000", "Webhook-Id": "i1-1-0", "Webhook-Signature": "v1,AAAA"} {
		h := r.Header.Clone()
		h.Set(name, value)
		require.Equal(t, http.StatusUnauthorized, send(port.String(), h, body), name)
		h.Del(name)
		require.Equal(t, http.StatusUnauthorized, send(port.String(), h, body), name)
	}
}

// send POSTs to a consumer; 0 when there was no answer.
func send(address string, h http.Header, body []byte) int {
	req, err := http.NewRequest(http.MethodPost, "http://"+address+"/", bytes.NewReader(body))
	if err != nil {
		return 0
	}
	req.Header = h.Clone()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	resp.Body.Close()
	return resp.StatusCode
}
