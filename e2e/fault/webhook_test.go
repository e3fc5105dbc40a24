package fault

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
)

// subscriber is a consumer of a webhook over real HTTP, which restarts, fails and
// stalls as it is told to, and keeps all that it took.
type subscriber struct {
	t       *testing.T
	address string
	server  *http.Server
	served  sync.WaitGroup

	mu     sync.Mutex
	answer int // status; 0: it stalls
	took   []taken
}

// taken is an event that was answered with success, and when.
type taken struct {
	at    time.Time
	event api.Event
}

func newSubscriber(t *testing.T) *subscriber {
	s := &subscriber{t: t, address: "127.0.0.1:0", answer: http.StatusNoContent}
	s.start()
	t.Cleanup(s.stop)
	return s
}

// start has it listen, where it did before.
func (s *subscriber) start() {
	s.t.Helper()
	var l net.Listener
	eventually(s.t, "the consumer listens", func() (err error) {
		l, err = net.Listen("tcp", s.address)
		return err
	})
	s.address = l.Addr().String()
	s.server = &http.Server{Handler: s}
	s.served.Go(func() { _ = s.server.Serve(l) })
}

// stop cuts off whatever is under way.
func (s *subscriber) stop() {
	_ = s.server.Close()
	s.served.Wait()
}

func (s *subscriber) answers(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = status
}

func (s *subscriber) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	var e api.Event
	if err := json.Unmarshal(body, &e); err != nil || e.ID != r.Header.Get("Webhook-Id") || r.Header.Get("Webhook-Signature") == "" {
		s.t.Errorf("a delivery that is none: %v: %s", r.Header, body)
	}
	s.mu.Lock()
	status := s.answer
	if status == http.StatusNoContent {
		s.took = append(s.took, taken{time.Now(), e})
	}
	s.mu.Unlock()
	if status == 0 {
		<-r.Context().Done()
		return
	}
	w.WriteHeader(status)
}

func (s *subscriber) all() []taken {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.took[:len(s.took):len(s.took)]
}

// TestWebhooks has leaders killed with -9 in the middle of a stream of runs, while
// consumers take all, restart, fail, stall or are dead. Every event of the stream
// is delivered, in order per job, and what is repeated is what a second holds.
func TestWebhooks(t *testing.T) {
	t.Parallel()
	w := newWorld(t, needsZooKeeper(t), "/fault/webhooks")
	steady, shaky, dead := newSubscriber(t), newSubscriber(t), newSubscriber(t)
	dead.answers(http.StatusInternalServerError)
	ids := map[*subscriber]string{}
	for _, s := range []*subscriber{steady, shaky, dead} {
		ids[s] = w.subscribe("http://" + s.address + "/")
	}
	var kills []time.Time
	for i, fault := range []func(){
		func() {},
		func() { shaky.stop(); shaky.start() },
		func() { shaky.answers(http.StatusServiceUnavailable) },
		func() { shaky.answers(0) },
	} {
		begun := len(steady.all())
		fault()
		w.awaitTaken(steady, begun+40)
		leader := w.leader()
		if i == 1 {
			leader.end(os.Interrupt) // hands over
		} else {
			leader.kill()
			kills = append(kills, time.Now())
		}
		w.awaitLeader(leader)
		leader.start()
		w.awaitTaken(steady, len(steady.all())+20)
		shaky.answers(http.StatusNoContent)
	}
	w.held()
	for s, id := range ids {
		if s != dead {
			eventually(t, "all is told", func() error { return w.auditSubscriber(s, id) })
		}
	}
	w.auditRepeats(steady, kills)
	require.Empty(t, dead.all())
	d := w.deliveriesOf(ids[dead])
	require.Equal(t, api.WebhookFailing, d.State)
	require.LessOrEqual(t, d.Waiting, 1000)
	require.Empty(t, d.Gaps)

	// One that was dead all the time, over all those leaders, is told all when it is back.
	dead.answers(http.StatusNoContent)
	w.retry(ids[dead])
	eventually(t, "all is told", func() error { return w.auditSubscriber(dead, ids[dead]) })
}

// subscribe makes a webhook for all that happens to tasks and runs.
func (w *world) subscribe(url string) string {
	w.Helper()
	var id string
	key := "subscribe-" + url
	eventually(w.T, "a webhook is made", func() error {
		return w.anyone(func(ctx context.Context, s *scheduler) error {
			made, err := s.CreateWebhook(ctx, api.WebhookRequest{Team: "web", Types: []string{"task.*", "run.*"}, URL: url}, client.WriteOptions{IdempotencyKey: key})
			if err == nil {
				id = made.ID
			}
			return err
		})
	})
	w.answers.note(key)
	return id
}

// retry has what waits for a consumer tried at once, as a test that succeeds does.
func (w *world) retry(id string) {
	w.Helper()
	eventually(w.T, "a test event is taken", func() error {
		return w.anyone(func(ctx context.Context, s *scheduler) error {
			t, err := s.TestWebhook(ctx, id)
			if err == nil && !t.Delivered {
				err = fmt.Errorf("the test event was not taken: %s", t.Error)
			}
			return err
		})
	})
}

func (w *world) awaitTaken(s *subscriber, n int) {
	w.Helper()
	eventually(w.T, fmt.Sprintf("%d events are taken", n), func() error {
		if got := len(s.all()); got < n {
			return fmt.Errorf("%d were", got)
		}
		return nil
	})
}

func (w *world) deliveriesOf(id string) *api.WebhookDeliveries {
	w.Helper()
	var d *api.WebhookDeliveries
	eventually(w.T, "deliveries are told", func() error {
		return w.anyone(func(ctx context.Context, s *scheduler) (err error) {
			d, err = s.Deliveries(ctx, id)
			return err
		})
	})
	return d
}

// told are the events of the stream that a webhook is to tell: those of its filter
// after the one that tells of it.
func (w *world) told(id string) (map[string][]string, error) {
	events, err := w.consumers[0].seen(elastic)
	if err != nil {
		return nil, err
	}
	byJob, begun := map[string][]string{}, false
	for _, e := range events {
		typ := strings.TrimPrefix(e.Type, api.EventPrefix)
		begun = begun || typ == "webhook.created" && e.Data.Object == id
		if begun && strings.HasPrefix(e.Data.Job, "web/") && (strings.HasPrefix(typ, "task.") || strings.HasPrefix(typ, "run.")) {
			byJob[e.Data.Job] = append(byJob[e.Data.Job], e.ID)
		}
	}
	if !begun {
		return nil, fmt.Errorf("the stream does not tell of webhook %s", id)
	}
	return byJob, nil
}

// auditSubscriber compares what a consumer took, without what came again, with the
// stream of events.
func (w *world) auditSubscriber(s *subscriber, id string) error {
	want, err := w.told(id)
	if err != nil {
		return err
	}
	got, seen := map[string][]string{}, map[string]bool{}
	for _, t := range s.all() {
		if t.event.Type == api.EventPrefix+"webhook.test" || seen[t.event.ID] {
			continue
		}
		seen[t.event.ID] = true
		got[t.event.Data.Job] = append(got[t.event.Data.Job], t.event.ID)
	}
	n := 0
	for job, ids := range want {
		n += len(ids)
		for i, id := range ids {
			if i >= len(got[job]) {
				return fmt.Errorf("of %s %d events came of %d", job, len(got[job]), len(ids))
			}
			if got[job][i] != id {
				return violation{fmt.Errorf("of %s, %s came where %s was to", job, got[job][i], id)}
			}
		}
	}
	w.Logf("%d events of %d jobs in %d deliveries", n, len(want), len(s.all()))
	return nil
}

// auditRepeats: what came again was first taken within what is lost when a leader is
// killed, and at no other time.
func (w *world) auditRepeats(s *subscriber, kills []time.Time) {
	w.Helper()
	const most = 2 * time.Second // a save each second, and a busy machine
	first, repeats := map[string]time.Time{}, 0
	for _, t := range s.all() {
		at, again := first[t.event.ID]
		if !again {
			first[t.event.ID] = t.at
			continue
		}
		repeats++
		excused := false
		for _, kill := range kills {
			excused = excused || at.Before(kill.Add(most)) && at.After(kill.Add(-most))
		}
		require.True(w, excused, "%s came again, which was taken at %s; leaders were killed at %v", t.event.ID, at, kills)
	}
	w.Logf("%d of %d deliveries were repeated over %d kills", repeats, len(s.all()), len(kills))
}
