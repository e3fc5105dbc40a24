package client_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
)

// busy answers 429 until some time has passed, and then what is asked for.
type busy struct {
	until time.Time
	after string // Retry-After
	keys  []string
}

func (b *busy) RoundTrip(r *http.Request) (*http.Response, error) {
	b.keys = append(b.keys, r.Header.Get("Idempotency-Key"))
	answer := func(status int, kind, body string) (*http.Response, error) {
		return &http.Response{Status: fmt.Sprint(status), StatusCode: status, Request: r, Body: io.NopCloser(strings.NewReader(body)),
			Header: http.Header{"Content-Type": {kind}, "Retry-After": {b.after}}}, nil
	}
	if time.Now().Before(b.until) {
		return answer(http.StatusTooManyRequests, "application/problem+json", `{"type":"urn:perigee:too-many-requests","detail":"asks too often"}`)
	}
	return answer(http.StatusOK, "application/json", `{"items":[]}`)
}

func at(t *testing.T, b *busy, o ...client.Option) *client.Client {
	t.Helper()
	c, err := client.New("http://scheduler:7300", append(o, client.WithHTTPClient(&http.Client{Transport: b}))...)
	require.NoError(t, err)
	return c
}

// Who is asked to come back does, when the scheduler has said.
func TestTooManyRequests_AreSentAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		b := &busy{until: began.Add(10 * time.Second), after: "2"}
		_, err := at(t, b).Jobs(t.Context(), client.JobFilter{})
		require.NoError(t, err)
		require.GreaterOrEqual(t, time.Since(began), 10*time.Second)
		require.Less(t, time.Since(began), 13*time.Second)
		require.LessOrEqual(t, len(b.keys), 6)

		// A write keeps its key.
		b = &busy{until: time.Now().Add(5 * time.Second), after: "1"}
		_, err = at(t, b).PauseJob(t.Context(), "web/prod/hello", "", client.WriteOptions{IdempotencyKey: "k"})
		require.NoError(t, err)
		for _, key := range b.keys {
			require.Equal(t, "k", key)
		}
		require.Greater(t, len(b.keys), 3)
	})
}

func TestTooManyRequests_WithinADeadline(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		after   string
		timeout time.Duration
		options []client.Option
		most    time.Duration
		tries   int
	}{
		{"it is too long", "30", 10 * time.Second, nil, 0, 1},
		{"some fit in", "4", 10 * time.Second, nil, 10 * time.Second, 3},
		{"a minute, without one", "20", time.Hour, nil, time.Minute, 3},
		{"not at all", "1", time.Hour, []client.Option{client.WithPatience(0)}, 0, 1},
		{"a proxy does not say when", "", 1500 * time.Millisecond, nil, 1500 * time.Millisecond, 2},
		{"or in its own way", "Fri, 01 Jan 2027 00:00:00 GMT", 1500 * time.Millisecond, nil, 1500 * time.Millisecond, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), c.timeout)
				defer cancel()
				b := &busy{until: began.Add(2 * time.Hour), after: c.after}
				_, err := at(t, b, c.options...).Jobs(ctx, client.JobFilter{})
				var p *api.Problem
				require.ErrorAs(t, err, &p)
				require.Equal(t, http.StatusTooManyRequests, p.Status)
				require.LessOrEqual(t, time.Since(began), c.most)
				require.InDelta(t, c.tries, len(b.keys), 1)
				require.NotEmpty(t, b.keys)
			})
		})
	}
}
