package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/foreign"
	"github.com/perigee-sched/perigee/scheduler/record"
)

const (
	// timeout of a delivery, the answer's headers included.
	timeout = 15 * time.Second
	// connectTimeout bounds the connection to a consumer.
	connectTimeout = 5 * time.Second
	// restTimeout is how long the rest of an answer may take: it decides nothing,
	// and only a connection is kept by reading it.
	restTimeout = 2 * time.Second
	// answerMost is how much of an answer is read, in bytes, and textMost how much
	// of it is told.
	answerMost = 64 << 10
	textMost   = 400
)

// sender sends deliveries.
type sender struct {
	client *http.Client
	agent  string
}

// newTransport makes connections to consumers. They are kept for each other's
// deliveries, but not without bound.
func newTransport(targets *Targets, proxy *url.URL) *http.Transport {
	dialer := &net.Dialer{Timeout: connectTimeout, KeepAlive: 30 * time.Second, Control: targets.Control}
	t := &http.Transport{
		DialContext:         dialer.DialContext,
		TLSHandshakeTimeout: connectTimeout,
		MaxIdleConns:        512, MaxIdleConnsPerHost: 64, IdleConnTimeout: 90 * time.Second,
		MaxResponseHeaderBytes: answerMost,
		DisableCompression:     true, // an answer is not worth unpacking
		// HTTP/1.1 alone: what one webhook sends must not wait behind another's on
		// the same connection.
		Protocols: new(http.Protocols),
	}
	t.Protocols.SetHTTP1(true)
	if proxy != nil { // not one of the environment, of which the operator may not think
		t.Proxy = http.ProxyURL(proxy)
	}
	return t
}

func newSender(transport http.RoundTripper, agent string) *sender {
	return &sender{agent: agent, client: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// outcome is what came of an attempt to deliver.
type outcome struct {
	delivered bool
	gone      bool // the consumer unsubscribes
	status    int  // 0: there was no answer
	text      string
	err       string // why it was not delivered
	wait      time.Duration
	took      time.Duration
}

// send sends an event, and returns what came of it.
func (s *sender) send(ctx context.Context, w *record.Webhook, e *api.Event) outcome {
	began := time.Now()
	body, err := json.Marshal(e)
	if err != nil {
		return outcome{err: fmt.Sprintf("the event cannot be told: %v", err)}
	}
	o := s.post(ctx, w, e.ID, body, began)
	o.took = time.Since(began)
	return o
}

func (s *sender) post(ctx context.Context, w *record.Webhook, id string, body []byte, at time.Time) outcome {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	limit := time.AfterFunc(timeout, func() { cancel(errTimeout) })
	defer limit.Stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.Url, bytes.NewReader(body))
	if err != nil {
		return outcome{err: "could not be sent: " + cause(ctx, err)}
	}
	req.Header = http.Header{
		headerID: {id}, headerTimestamp: {timestamp(at)}, headerSignature: {signature(w.Secrets, id, at, body)},
		"Content-Type": {"application/cloudevents+json; charset=utf-8"}, "User-Agent": {s.agent},
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return outcome{err: cause(ctx, err)}
	}
	defer resp.Body.Close()
	limit.Reset(restTimeout)
	text, _ := io.ReadAll(io.LimitReader(resp.Body, answerMost)) // the status has said all that counts
	return judge(resp, text)
}

// judge says what an answer means.
func judge(resp *http.Response, text []byte) outcome {
	o := outcome{status: resp.StatusCode, text: foreign.OneLine(string(text), textMost), wait: retryAfter(resp, time.Now())}
	switch status := resp.StatusCode; {
	case status >= 200 && status < 300:
		o.delivered = true
	case status == http.StatusGone:
		o.gone, o.err = true, "answered 410: it wants to be told nothing more"
	case status >= 300 && status < 400:
		o.err = fmt.Sprintf("answered %d, and redirects are not followed", status)
		if at, err := resp.Location(); err == nil {
			o.err = fmt.Sprintf("answered %d, a redirect to %s, which is not followed: if it has moved, change the webhook's URL", status, shown(at))
		}
	default:
		o.err = fmt.Sprintf("answered %d%s", status, quoted(o.text))
	}
	return o
}

var errTimeout = errors.New("timeout")

// cause says in words why there was no answer.
func cause(ctx context.Context, err error) string {
	var (
		refused *refusedError
		network net.Error
		at      *url.Error
		dns     *net.DNSError
	)
	switch {
	case errors.Is(context.Cause(ctx), errTimeout):
		return fmt.Sprintf("did not answer in %s", timeout)
	case errors.As(err, &refused):
		return refused.Error()
	case errors.As(err, &dns) && dns.IsNotFound:
		return fmt.Sprintf("its host %s is not known", dns.Name)
	case errors.As(err, &network) && network.Timeout():
		return fmt.Sprintf("cannot be connected to in %s", connectTimeout)
	case errors.As(err, &at):
		err = at.Err // the URL may hold a token
	}
	if errors.Is(err, io.EOF) {
		return "closed the connection without an answer"
	}
	return foreign.OneLine(err.Error(), textMost)
}

// shown is a URL as others may read it: its query may hold a token.
func shown(u *url.URL) string {
	c := *u
	c.RawQuery, c.Fragment, c.User = "", "", nil
	return c.String()
}

func quoted(text string) string {
	if text == "" {
		return ""
	}
	return fmt.Sprintf(": %q", text)
}
