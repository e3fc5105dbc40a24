package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api/client"
)

// load is users of a web service, who go on asking until they are ended: with
// connections that are kept and with new ones, by GET, which HTTP clients repeat
// by themselves, and by POST, which they do not.
type load struct {
	w    *world
	url  string
	over context.CancelFunc
	work sync.WaitGroup

	mu       sync.Mutex
	requests int
	failures []string
	versions map[string]int // answers, by what they said
	row      int            // answers in a row that said last
	last     string
	changed  chan struct{}
}

// pace of each of four users: 100 requests a second in all.
const pace = 40 * time.Millisecond

// startLoad has users ask until the test, or end, ends them.
func (w *world) startLoad(url string) *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{w: w, url: url, over: cancel, versions: map[string]int{}, changed: make(chan struct{})}
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		for _, fresh := range []bool{false, true} {
			l.work.Go(func() { l.ask(ctx, method, fresh) })
		}
	}
	w.Cleanup(l.end)
	return l
}

func (l *load) end() {
	l.over()
	l.work.Wait()
}

func (l *load) ask(ctx context.Context, method string, fresh bool) {
	transport := &http.Transport{DisableKeepAlives: fresh}
	defer transport.CloseIdleConnections()
	c := &http.Client{Transport: transport, Timeout: patience}
	turn := time.NewTicker(pace)
	defer turn.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-turn.C:
			l.note(one(c, method, l.url))
		}
	}
}

// one is what one request was answered: a version, or what went wrong.
func one(c *http.Client, method, url string) (version string, err error) {
	// Not with the load's context: what began is to end.
	req, err := http.NewRequest(method, url+"/", strings.NewReader(strings.Repeat("x", 100)))
	if err != nil {
		return "", err
	}
	resp, err := c.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s: %s", method, url, resp.Status, body)
	}
	return strings.TrimSpace(string(body)), err
}

func (l *load) note(version string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.requests++
	if err != nil {
		l.failures = append(l.failures, err.Error())
		version = ""
	} else {
		l.versions[version]++
	}
	if l.row++; version != l.last {
		l.row, l.last = 1, version
	}
	close(l.changed)
	l.changed = make(chan struct{})
}

// awaitOnly waits until 50 requests in a row were answered by one version.
func (l *load) awaitOnly(version string) {
	l.w.Helper()
	over := time.After(patience)
	for {
		l.mu.Lock()
		there, changed, said := l.last == version && l.row >= 50, l.changed, fmt.Sprint(l.versions, l.failures)
		l.mu.Unlock()
		if there {
			return
		}
		select {
		case <-changed:
		case <-over:
			require.FailNow(l.w, "not all answers come from "+version, "answers: %s", said)
		}
	}
}

// since is how often each version answered since a count was taken.
func (l *load) since(before map[string]int) map[string]int {
	now := l.count()
	for version, n := range before {
		if now[version] -= n; now[version] == 0 {
			delete(now, version)
		}
	}
	return now
}

func (l *load) count() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	count := map[string]int{}
	for version, n := range l.versions {
		count[version] = n
	}
	return count
}

// lostNone ends the load and wants every request to have been answered 200.
func (l *load) lostNone() {
	l.w.Helper()
	l.end()
	if len(l.failures) > 0 {
		l.w.logTimelines()
	}
	require.Empty(l.w, l.failures, "of %d requests these were lost", l.requests)
	l.w.Logf("%d requests, none lost: %v", l.requests, l.versions)
}

// logTimelines tells what became of each task of the test's jobs, and when.
func (w *world) logTimelines() {
	page, err := w.Tasks(w.ctx, client.TaskFilter{Team: w.team, Ended: true, Limit: 1000})
	require.NoError(w, err)
	for _, t := range page.Items {
		full, err := w.Task(w.ctx, t.ID)
		require.NoError(w, err)
		text := fmt.Sprintf("%s deploy %d instance %d", t.ID, t.Deploy, *t.Instance)
		for _, m := range full.Timeline {
			text += fmt.Sprintf("\n    %s %s %s", m.At.Format("15:04:05.000"), m.State, m.Message)
		}
		w.Log(text)
	}
}
