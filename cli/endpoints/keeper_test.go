package endpoints

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
)

// serving are the endpoints of a job: one for each instance, on port 31000 and up.
func serving(job string, instances ...int) *api.Endpoints {
	e := &api.Endpoints{Job: job, Index: 7, Endpoints: []api.Endpoint{}}
	for _, n := range instances {
		e.Endpoints = append(e.Endpoints, api.Endpoint{Instance: n, Task: fmt.Sprintf("ab12-00000%d", n), Deploy: 1, Host: "127.0.0.1",
			Ports: map[string]uint32{"http": uint32(31000 + n)}})
	}
	return e
}

func services(job string, instances ...int) []Service {
	return []Service{NewService([]string{"admin", "http"}, serving(job, instances...))}
}

func builtin(t *testing.T, name string) *Template {
	t.Helper()
	tmpl, err := ReadTemplate(name)
	require.NoError(t, err)
	return tmpl
}

func TestTemplates(t *testing.T) {
	t.Parallel()
	s := services("web/prod/shop", 1, 0)
	text, err := builtin(t, "haproxy-servers").Render(s)
	require.NoError(t, err)
	require.Equal(t, `# Kept current by perigee endpoints: what is changed here is lost.

backend web_prod_shop_admin

backend web_prod_shop_http
    server i0-ab12-000000 127.0.0.1:31000 check
    server i1-ab12-000001 127.0.0.1:31001 check
`, string(text), "also a port that nobody serves has its backend: others name it")
	text, err = builtin(t, "haproxy-map").Render(s)
	require.NoError(t, err)
	require.Equal(t, `# Kept current by perigee endpoints: what is changed here is lost.
web/prod/shop/admin 0
web/prod/shop/http 2
web/prod/shop/http/0 127.0.0.1 31000
web/prod/shop/http/1 127.0.0.1 31001
`, string(text))

	own := filepath.Join(t.TempDir(), "own")
	require.NoError(t, os.WriteFile(own, []byte(`{{range .Services}}{{upper .Name}} {{len .Endpoints}} {{range .Endpoints}}{{json .Ports}}{{end}}{{end}}`), 0o600))
	text, err = builtin(t, own).Render(s)
	require.NoError(t, err)
	require.Equal(t, `SHOP 2 {"http":31000}{"http":31001}`, string(text))

	for _, bad := range []string{"{{range .Services}}", "{{nothing}}"} {
		require.NoError(t, os.WriteFile(own, []byte(bad), 0o600))
		_, err := ReadTemplate(own)
		require.ErrorContains(t, err, "the template is not valid")
	}
	require.NoError(t, os.WriteFile(own, []byte("{{.Service}}"), 0o600))
	_, err = builtin(t, own).Render(s)
	require.ErrorContains(t, err, "render the template")
	_, err = ReadTemplate("haproxy")
	require.ErrorContains(t, err, "built in are haproxy-map and haproxy-servers")
}

func TestOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	k := &Keeper{Template: builtin(t, "haproxy-map"), File: filepath.Join(dir, "map"), Command: "echo ran >> " + filepath.Join(dir, "log")}
	require.NoError(t, os.WriteFile(k.File, nil, 0o640))
	for range 2 {
		require.NoError(t, k.Once(services("web/prod/shop", 0)))
	}
	require.NoError(t, k.Once(services("web/prod/shop", 0, 1)))
	log, err := os.ReadFile(filepath.Join(dir, "log"))
	require.NoError(t, err)
	require.Equal(t, "ran\nran\n", string(log), "only when the file changed")
	info, err := os.Stat(k.File)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o640), info.Mode(), "its permissions stay")
	k.Command = "exit 3"
	require.ErrorContains(t, k.Once(services("web/prod/shop")), "exit status 3")
	k.File = filepath.Join(dir, "none", "map")
	require.Error(t, k.Once(services("web/prod/shop")))
}

// kept is a Keeper at work.
type kept struct {
	*testing.T
	keeper  *Keeper
	updates chan []Service
	mu      sync.Mutex
	told    []string
	changed chan struct{}
}

func keep(t *testing.T, command string) *kept {
	t.Helper()
	k := &kept{T: t, updates: make(chan []Service), changed: make(chan struct{}, 100)}
	k.keeper = &Keeper{Template: builtin(t, "haproxy-map"), File: filepath.Join(t.TempDir(), "map"), Command: command, Tell: func(text string) {
		k.mu.Lock()
		k.told = append(k.told, text)
		k.mu.Unlock()
		k.changed <- struct{}{}
	}}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		k.keeper.Run(ctx, k.updates)
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return k
}

func (k *kept) awaitTold(n int) []string {
	k.Helper()
	for {
		k.mu.Lock()
		told := append([]string(nil), k.told...)
		k.mu.Unlock()
		if len(told) >= n {
			return told
		}
		select {
		case <-k.changed:
		case <-time.After(30 * time.Second):
			k.Fatalf("told only %q", told)
		}
	}
}

// TestKeeper_OneCommandForManyChanges: while the command runs, changes gather.
func TestKeeper_OneCommandForManyChanges(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	gate, log := filepath.Join(dir, "gate"), filepath.Join(dir, "log")
	require.NoError(t, os.Mkdir(gate, 0o700))
	// The command stands still while the gate is there.
	k := keep(t, fmt.Sprintf("echo begins >> %s; while test -d %s; do sleep 0.01; done; echo ends >> %[1]s", log, gate))
	for n := range 5 {
		k.updates <- services("web/prod/shop", n)
	}
	k.updates <- services("web/prod/shop", 4) // nothing new
	require.Len(t, k.awaitTold(5), 5)
	require.NoError(t, os.Remove(gate))
	require.Eventually(t, func() bool {
		text, _ := os.ReadFile(log)
		return string(text) == strings.Repeat("begins\nends\n", 2)
	}, 30*time.Second, 5*time.Millisecond, "once for the first change, and once for the four after it")
	text, err := os.ReadFile(k.keeper.File)
	require.NoError(t, err)
	require.Contains(t, string(text), "31004")
}

// TestKeeper_TriesAgain: a command that failed is run again.
func TestKeeper_TriesAgain(t *testing.T) {
	t.Parallel()
	mark := filepath.Join(t.TempDir(), "mark")
	k := keep(t, fmt.Sprintf("mkdir %s.1 || mkdir %s; exit $?", mark, mark+"/none"))
	k.updates <- services("web/prod/shop", 1)
	// The first run succeeds; a change makes the second fail, until it can.
	require.Eventually(t, func() bool { _, err := os.Stat(mark + ".1"); return err == nil }, 30*time.Second, 5*time.Millisecond)
	k.updates <- services("web/prod/shop", 2)
	told := k.awaitTold(3)
	require.Contains(t, told[2], "exit status 1; tried again in 1s")
	require.NoError(t, os.Mkdir(mark, 0o700))
	require.Eventually(t, func() bool { _, err := os.Stat(mark + "/none"); return err == nil }, 30*time.Second, 5*time.Millisecond)
}

// source yields what a test tells it to, for each job.
type source struct {
	endpoints map[string]chan *api.Endpoints
	gone      map[string]bool
	asked     map[string]int // for the spec
}

func (s *source) Job(_ context.Context, job string) (*api.Job, error) {
	s.asked[job]++
	return &api.Job{Spec: &api.Spec{Ports: []string{"http", fmt.Sprint("p", s.asked[job])}}}, nil
}

func (s *source) FollowEndpoints(ctx context.Context, job string) iter.Seq2[*api.Endpoints, error] {
	return func(yield func(*api.Endpoints, error) bool) {
		for {
			select {
			case e := <-s.endpoints[job]:
				if e == nil {
					yield(nil, &api.Problem{Status: 404, Detail: "there is no job " + job})
					return
				}
				if !yield(e, nil) {
					return
				}
			case <-ctx.Done():
				yield(nil, ctx.Err())
				return
			}
		}
	}
}

// TestFollower: nothing is told before all jobs are known; what is known of a job
// stays when it is gone or nobody answers; ports are asked for once a deploy.
func TestFollower(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &source{endpoints: map[string]chan *api.Endpoints{"a/b/c": make(chan *api.Endpoints), "a/b/d": make(chan *api.Endpoints)}, asked: map[string]int{}}
		var told []string
		f := &Follower{Source: s, Jobs: []string{"a/b/c", "a/b/d"}, Tell: func(text string) { told = append(told, text) }}
		ctx, cancel := context.WithCancel(t.Context())
		updates := make(chan []Service)
		ended := make(chan struct{})
		go func() { f.Run(ctx, updates); close(ended) }()
		tell := func(e *api.Endpoints) []Service {
			s.endpoints[e.Job] <- e
			synctest.Wait()
			select {
			case got := <-updates:
				return got
			default:
				return nil
			}
		}
		require.Nil(t, tell(serving("a/b/c", 0)))
		got := tell(serving("a/b/d", 0, 1))
		require.Len(t, got, 2)
		require.Equal(t, "a/b/c", got[0].Job)
		require.Len(t, got[1].Endpoints, 2)
		require.Len(t, got[0].Ports, 2)

		f.Lost("connection refused")
		f.Lost("connection refused")
		time.Sleep(time.Hour) // nobody tells anything
		select {
		case got := <-updates:
			t.Fatalf("told %v though nothing was heard", got)
		default:
		}
		got = tell(serving("a/b/c"))
		require.Empty(t, got[0].Endpoints, "nobody serves, as the scheduler said")
		require.Len(t, got[1].Endpoints, 2)
		require.Len(t, got[0].Ports, 2)
		require.Equal(t, []string{"connection refused; what was known stays", "a scheduler answers again"}, told)
		require.Equal(t, map[string]int{"a/b/c": 1, "a/b/d": 1}, s.asked)

		next := serving("a/b/d", 0, 1)
		next.Endpoints[1].Deploy = 2
		got = tell(next)
		require.Equal(t, 2, s.asked["a/b/d"])
		require.Equal(t, "p2", got[1].Ports[1].Name)

		s.endpoints["a/b/d"] <- nil // the job is gone
		synctest.Wait()
		require.Equal(t, "there is no job a/b/d; what was known stays", told[2])
		got = tell(serving("a/b/c", 3))
		require.Len(t, got[1].Endpoints, 2)
		time.Sleep(goneFor)
		require.Empty(t, tell(serving("a/b/d"))[1].Endpoints, "it is looked for again")
		cancel()
		<-ended
	})
}

// TestKeeper_TemplateFails: the file stays, and is written once it can be.
func TestKeeper_TemplateFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var fail atomic.Bool
		fail.Store(true)
		tmpl := builtin(t, "haproxy-map")
		tmpl.t.Funcs(map[string]any{"ip": func(host string) (string, error) {
			if fail.Load() {
				return "", errors.New("no such host")
			}
			return host, nil
		}})
		told := make(chan string, 10)
		k := &Keeper{Template: tmpl, File: filepath.Join(t.TempDir(), "map"), Tell: func(text string) { told <- text }}
		ctx, cancel := context.WithCancel(t.Context())
		updates, ended := make(chan []Service), make(chan struct{})
		go func() { k.Run(ctx, updates); close(ended) }()
		updates <- services("web/prod/shop", 0)
		synctest.Wait()
		require.NoFileExists(t, k.File)
		require.Contains(t, <-told, "no such host")
		time.Sleep(minPause)
		synctest.Wait()
		require.Contains(t, <-told, "tried again in 2s")
		fail.Store(false)
		time.Sleep(2 * minPause)
		synctest.Wait()
		text, err := os.ReadFile(k.File)
		require.NoError(t, err)
		require.True(t, strings.HasSuffix(string(text), "web/prod/shop/http/0 127.0.0.1 31000\n"))
		cancel()
		<-ended
	})
}
