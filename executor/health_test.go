package executor_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
)

// answering is a health endpoint whose status a test sets; 0 is no endpoint.
type answering struct {
	status   atomic.Int64
	requests atomic.Int64
	conns    atomic.Int64
	port     uint32
}

func newAnswering(t testing.TB, status int) *answering {
	a := &answering{}
	a.status.Store(int64(status))
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.requests.Add(1)
		if r.URL.Path != "/healthz" || r.Method != http.MethodGet {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		w.WriteHeader(int(a.status.Load()))
		fmt.Fprintln(w, "the database is away")
	}))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			a.conns.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	a.port = portOf(t, server.Listener.Addr().String())
	return a
}

func checked(port uint32, h api.Health) *api.Definition {
	d := definition("exec sleep 1000")
	d.Spec.Ports = []string{"http"}
	d.Ports["http"] = port
	if h.Interval == 0 {
		h.Interval = api.Duration(20 * time.Millisecond)
	}
	if h.HTTP == nil && h.TCP == nil && h.Command == nil {
		h.HTTP = &api.HTTPCheck{Port: "http"}
	}
	d.Spec.Health = &h
	return d
}

func TestHealth_TellsOnceWhenSuccessesAreEnough(t *testing.T) {
	t.Parallel()
	a := newAnswering(t, 200)
	d := checked(a.port, api.Health{})
	d.Spec.Ready = &api.Ready{Successes: 3}
	r := start(t, d)
	healthy := r.awaitHealth(true)
	require.Equal(t, 3, healthy.report.Successes)
	require.Equal(t, api.PhaseRun, healthy.report.Phase)
	r.eventually("more checks", func() bool { return a.requests.Load() >= 10 })
	require.Equal(t, "STARTING/fetch RUNNING/run RUNNING/run healthy=true", r.updates(), "nothing is said twice")
	require.GreaterOrEqual(t, a.conns.Load(), a.requests.Load(), "each check is of a new connection")
}

func TestHealth_UnhealthyLaterEndsTheTask(t *testing.T) {
	t.Parallel()
	a := newAnswering(t, 302)
	r := start(t, checked(a.port, api.Health{Failures: 3}))
	r.awaitHealth(true)
	a.status.Store(503)
	require.Equal(t, 0, r.exit())
	require.Equal(t, "STARTING/fetch RUNNING/run RUNNING/run healthy=true RUNNING/run healthy=false FAILED/end", r.updates())
	why := fmt.Sprintf("unhealthy: 3 checks in a row failed, last: GET http://127.0.0.1:%d/healthz: 503 Service Unavailable (the database is away)", a.port)
	require.Equal(t, why, r.await("FAILED").Message)
	require.Equal(t, 3, r.awaitHealth(false).report.Failures)
}

func TestHealth_RefusedConnectionsDuringStartupDoNotCount(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	port := portOf(t, l.Addr().String())
	require.NoError(t, l.Close())
	d := checked(port, api.Health{TCP: &api.TCPCheck{Port: "http"}, Failures: 1, Interval: api.Duration(5 * time.Millisecond)})
	// Many failures first, then a listener: only a task that was spared gets there.
	r := start(t, d)
	r.await("RUNNING")
	l, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	r.awaitHealth(true)
}

func TestHealth_NeverHealthyFailsAfterStartup(t *testing.T) {
	t.Parallel()
	d := checked(1, api.Health{Startup: api.Duration(300 * time.Millisecond), Failures: 1, Interval: api.Duration(time.Hour)})
	r := start(t, d)
	require.Equal(t, 0, r.exit())
	require.Equal(t, "not healthy within 300ms of its start, last: GET http://127.0.0.1:1/healthz: connection refused",
		r.await("FAILED").Message)
	require.Equal(t, "STARTING/fetch RUNNING/run RUNNING/run healthy=false FAILED/end", r.updates())
}

func TestHealth_FailAtOnce(t *testing.T) {
	t.Parallel()
	a := newAnswering(t, 500)
	d := checked(a.port, api.Health{HTTP: &api.HTTPCheck{Port: "http", FailAtOnce: []int{501, 500}}, Failures: 100, Startup: api.Duration(time.Hour)})
	r := start(t, d)
	require.Equal(t, 0, r.exit())
	require.Contains(t, r.await("FAILED").Message, "unhealthy, and the job asks to fail at once: GET ")
	require.EqualValues(t, 1, a.requests.Load())
}

func TestHealth_HTTPS(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	d := checked(portOf(t, server.Listener.Addr().String()), api.Health{HTTP: &api.HTTPCheck{Port: "http", Scheme: "https", FailAtOnce: []int{404}}})
	r := start(t, d)
	require.Equal(t, 0, r.exit())
	require.Contains(t, r.await("FAILED").Message, "404 Not Found")
}

func TestHealth_CheckThatHangsTimesOut(t *testing.T) {
	t.Parallel()
	hang := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hang }))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(hang) })
	d := checked(portOf(t, server.Listener.Addr().String()), api.Health{Timeout: api.Duration(50 * time.Millisecond), Startup: api.Duration(200 * time.Millisecond)})
	r := start(t, d)
	require.Equal(t, 0, r.exit())
	require.Contains(t, r.await("FAILED").Message, "/healthz: no answer within 50ms")
}

func TestHealth_Command(t *testing.T) {
	t.Parallel()
	d := checked(1, api.Health{Command: &api.CommandCheck{Command: "test \"$PERIGEE_TASK\" = task-1 && cat well"}, Failures: 2})
	d.Spec.Command = "touch well; exec sleep 1000"
	r := start(t, d)
	r.awaitHealth(true)
	require.NoError(t, removeFile(r, "well"))
	require.Equal(t, 0, r.exit())
	require.Contains(t, r.await("FAILED").Message, "unhealthy: 2 checks in a row failed, last: command ")
	require.Contains(t, r.await("FAILED").Message, "exited with status 1 (cat: well: No such file or directory)")
}

func TestHealth_CommandThatHangsIsKilledWithItsGroup(t *testing.T) {
	t.Parallel()
	d := checked(1, api.Health{Command: &api.CommandCheck{Command: "sleep 1000 & echo $! > pid; wait"},
		Timeout: api.Duration(200 * time.Millisecond), Startup: api.Duration(100 * time.Millisecond)})
	r := start(t, d)
	require.Equal(t, 0, r.exit())
	require.Contains(t, r.await("FAILED").Message, "no answer within 200ms")
	require.False(t, alive(r.pid("pid")))
}

func TestHealth_PortThatIsNotDeclared(t *testing.T) {
	t.Parallel()
	r := start(t, checked(1, api.Health{TCP: &api.TCPCheck{Port: "admin"}}))
	require.Equal(t, 0, r.exit())
	require.Equal(t, `health: port "admin" is not among the job's ports`, r.await("FAILED").Message)
	require.Equal(t, "STARTING/fetch FAILED/end", r.updates())
}
