package gate

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/core"
)

// asker is a Runner that runs until the test ends, and the answers it delivers.
type asker struct {
	testing.TB
	*Runner
	answers chan core.GateAnswered
}

func start(t *testing.T, change ...func(*Options)) *asker {
	t.Helper()
	a := &asker{TB: t, answers: make(chan core.GateAnswered, 1000)}
	o := Options{Deliver: func(_ context.Context, events ...core.Event) error {
		for _, e := range events {
			a.answers <- e.(core.GateAnswered)
		}
		return nil
	}}
	for _, c := range change {
		c(&o)
	}
	a.Runner = New(o)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := a.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel()
		running.Wait()
		a.client.CloseIdleConnections()
	})
	return a
}

func question(url, job string, step uint32) core.AskGate {
	return core.AskGate{URL: url, Step: step, Question: api.GateQuestion{
		Job: job, Deploy: 7, From: 6, Step: "canary", Instances: 2, Digest: "d1"}}
}

// answered asks one question and returns what came of it.
func (a *asker) answered(url string) core.GateAnswered {
	a.Helper()
	a.Ask([]core.AskGate{question(url, "web/prod/shop", 3)})
	return <-a.answers
}

func serve(t *testing.T, handle http.HandlerFunc) *httptest.Server {
	s := httptest.NewServer(handle)
	t.Cleanup(s.Close)
	return s
}

func TestGate_IsAskedWithAPostAndItsAnswerIsDelivered(t *testing.T) {
	t.Parallel()
	var asked api.GateQuestion
	gate := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != "POST" || r.Header.Get("Content-Type") != "application/json" || r.URL.RawQuery != "token=x" ||
			json.NewDecoder(r.Body).Decode(&asked) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		fmt.Fprint(w, `{"decision": "go", "reason": "errors\nbelow 1%", "more": 1}`)
	})
	a := start(t)
	require.Equal(t, core.GateAnswered{Job: "web/prod/shop", Deploy: 7, Step: 3, Decision: api.GateGo, Reason: "errors below 1%"},
		a.answered(gate.URL+"?token=x"))
	require.Equal(t, question("", "web/prod/shop", 0).Question, asked)
}

// Whatever is not an answer is wait, and says what it was.
func TestGate_WhatIsNoAnswerIsToldAsWait(t *testing.T) {
	t.Parallel()
	elsewhere := serve(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"decision": "stop"}`) })
	closed := httptest.NewServer(nil)
	closed.Close()
	gate := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/busy":
			http.Error(w, "come <b>back</b>\nlater\x00", http.StatusServiceUnavailable)
		case "/created":
			w.WriteHeader(http.StatusCreated)
			fmt.Fprint(w, `{"decision": "go"}`)
		case "/page":
			fmt.Fprint(w, "<html>go</html>")
		case "/list":
			fmt.Fprint(w, `[{"decision": "go"}]`)
		case "/two":
			fmt.Fprint(w, `{"decision": "go"} {"decision": "stop"}`)
		case "/empty":
		case "/other":
			fmt.Fprint(w, `{"decision": "yes"}`)
		case "/none":
			fmt.Fprint(w, `{"reason": "hm"}`)
		case "/long":
			io.WriteString(w, `{"decision": "go", "reason": "`+strings.Repeat("x", maxAnswer)+`"}`)
		case "/cut":
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, `{"decision":`)
		case "/moved":
			http.Redirect(w, r, elsewhere.URL, http.StatusFound)
		case "/secure":
			http.Redirect(w, r, "https://"+r.Host, http.StatusTemporaryRedirect)
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusTemporaryRedirect)
		case "/kept":
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		}
	})
	a := start(t)
	for path, want := range map[string]string{
		"/busy":    `gate URL/busy answered 503: "come <b>back</b> later"`,
		"/created": `gate URL/created answered 201: "{\"decision\": \"go\"}"`,
		"/page":    `gate URL/page answered 200 but not JSON of an answer: "<html>go</html>"`,
		"/list":    `gate URL/list answered 200 but not JSON of an answer: "[{\"decision\": \"go\"}]"`,
		"/two":     `gate URL/two answered 200 but not JSON of an answer: "{\"decision\": \"go\"} {\"decision\": \"stop\"}"`,
		"/empty":   `gate URL/empty answered 200 but not JSON of an answer`,
		"/other":   `gate URL/other answered 200 with the decision "yes": it must be go, wait or stop`,
		"/none":    `gate URL/none answered 200 without a decision: it must be go, wait or stop`,
		"/long":    `gate URL/long answered 200 with more than 64 KiB`,
		"/cut":     `gate URL/cut could not be asked: unexpected EOF`,
		"/moved":   `gate URL/moved could not be asked: it redirects with 302, which drops the question: 307 and 308 keep it`,
		"/secure":  `gate URL/secure could not be asked: it redirects from http to https, which is not followed`,
		"/loop":    `gate URL/loop could not be asked: it redirects more than 5 times`,
	} {
		got := a.answered(gate.URL + path + "?token=secret")
		require.Equal(t, api.GateWait, got.Decision, path)
		require.Equal(t, want, strings.ReplaceAll(got.Reason, gate.URL, "URL"))
	}
	got := a.answered(closed.URL)
	require.Equal(t, api.GateWait, got.Decision)
	require.Contains(t, got.Reason, "connection refused")
	got = a.answered(gate.URL + "/kept")
	require.Equal(t, api.GateStop, got.Decision, "a redirect that keeps the question is followed")
}

// pipe is a network in one process, so that time may be a fake one.
type pipe struct{ connections chan net.Conn }

func (p pipe) transport() *http.Transport {
	return &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		select {
		case p.connections <- theirs:
			return ours, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}}
}

func (p pipe) Accept() (net.Conn, error) {
	c, ok := <-p.connections
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (p pipe) Close() error   { close(p.connections); return nil }
func (p pipe) Addr() net.Addr { return &net.TCPAddr{} }

// inBubble starts an asker in fake time, whose gates are all handle's.
func inBubble(t *testing.T, handle http.HandlerFunc, do func(*asker)) {
	synctest.Test(t, func(t *testing.T) {
		p := pipe{make(chan net.Conn)}
		gates := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body) // before, a server does not see that its client went away
			r.Body = io.NopCloser(bytes.NewReader(body))
			handle(w, r)
		})}
		var serving sync.WaitGroup
		serving.Go(func() { gates.Serve(p) })
		t.Cleanup(func() {
			gates.Close()
			serving.Wait()
		})
		do(start(t, func(o *Options) { o.Transport = p.transport() }))
	})
}

func TestGate_ThatNeverAnswersIsGivenUp(t *testing.T) {
	t.Parallel()
	inBubble(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, func(a *asker) {
		began := time.Now()
		got := a.answered("http://slow/check?token=x")
		require.Equal(a, api.GateWait, got.Decision)
		require.Equal(a, "gate http://slow/check did not answer in 10s", got.Reason)
		require.Equal(a, timeout, time.Since(began))
	})
}

func TestGate_ThatNeverFinishesItsAnswerIsGivenUp(t *testing.T) {
	t.Parallel()
	inBubble(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, `{"decision"`)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}, func(a *asker) {
		require.Equal(a, "gate http://slow did not answer in 10s", a.answered("http://slow").Reason)
	})
}

// Slow gates hold up neither who asks nor, up to a bound, each other.
func TestGate_QuestionsAreBounded(t *testing.T) {
	t.Parallel()
	var now, highest atomic.Int64
	open := make(chan struct{})
	inBubble(t, func(w http.ResponseWriter, _ *http.Request) {
		n := now.Add(1)
		for h := highest.Load(); n > h && !highest.CompareAndSwap(h, n); h = highest.Load() {
		}
		<-open
		now.Add(-1)
		fmt.Fprint(w, `{"decision": "go"}`)
	}, func(a *asker) {
		open = make(chan struct{}) // of the bubble
		for i := range 100 {
			a.Ask([]core.AskGate{question("http://gate", fmt.Sprintf("web/prod/shop-%d", i), 1)})
		}
		synctest.Wait()
		require.EqualValues(a, most, now.Load())
		close(open)
		jobs := map[string]bool{}
		for range 100 {
			jobs[(<-a.answers).Job] = true
		}
		require.Len(a, jobs, 100)
		require.EqualValues(a, most, highest.Load())
	})
}

// Of one job, one question is asked at a time: the same one is not asked twice,
// and another takes its place.
func TestGate_OneQuestionOfAJobAtATime(t *testing.T) {
	t.Parallel()
	asked := make(chan string, 10)
	inBubble(t, func(w http.ResponseWriter, r *http.Request) {
		var q api.GateQuestion
		json.NewDecoder(r.Body).Decode(&q)
		asked <- q.Step
		if q.Step == "canary" {
			<-r.Context().Done()
			return
		}
		fmt.Fprint(w, `{"decision": "go"}`)
	}, func(a *asker) {
		asked = make(chan string, 10)
		first, second := question("http://gate", "web/prod/shop", 1), question("http://gate", "web/prod/shop", 2)
		second.Question.Step = "half"
		a.Ask([]core.AskGate{first})
		require.Equal(a, "canary", <-asked)
		a.Ask([]core.AskGate{first})
		synctest.Wait()
		require.Empty(a, asked, "the same question is under way")
		a.Ask([]core.AskGate{second})
		require.EqualValues(a, 2, (<-a.answers).Step)
		synctest.Wait()
		require.Empty(a, a.answers, "the first question has no answer")
		require.Equal(a, "half", <-asked)
		require.Empty(a, asked)
	})
}

func TestGate_OnlyTheLeaderAsks(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	gate := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		fmt.Fprint(w, `{"decision": "go"}`)
	})
	looked := make(chan struct{}, 10)
	var leads atomic.Bool
	a := start(t, func(o *Options) {
		o.Leads = func() bool {
			does := leads.Load()
			looked <- struct{}{}
			return does
		}
	})
	a.Ask([]core.AskGate{question(gate.URL, "web/prod/shop", 1)})
	<-looked
	leads.Store(true)
	require.Equal(t, api.GateGo, a.answered(gate.URL).Decision)
	require.EqualValues(t, 1, asked.Load())
}
