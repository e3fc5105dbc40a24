package agent

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"time"
)

// ErrGone means that the agent will not come back, or does not want this
// executor: it stayed away past its recovery timeout, does not recover
// executors, or does not know this one.
var ErrGone = errors.New("the agent is gone")

// Session is this executor's session with its agent, across the agent's
// restarts.
type Session struct {
	environment Environment
	client      *http.Client
	events      chan Event
	ledger      *ledger
}

// NewSession returns a session to which Run gives life.
func NewSession(e Environment) *Session {
	return &Session{
		environment: e,
		client: &http.Client{Transport: &http.Transport{
			DialContext: (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
			// A recovering agent may accept a connection long before it answers.
			ResponseHeaderTimeout: 10 * time.Second,
			MaxIdleConns:          1,
			IdleConnTimeout:       time.Second, // idle connections hold buffers
			TLSClientConfig:       &tls.Config{RootCAs: e.Roots},
		}},
		events: make(chan Event),
		ledger: newLedger(e.Executor),
	}
}

// Events delivers what the agent asks. It is never closed.
func (s *Session) Events() <-chan Event { return s.events }

// Send queues a status update. It is sent in order, again after every restart
// of the agent, until the agent acknowledges it.
func (s *Session) Send(status Status) { s.ledger.add(status) }

// Settled waits until the agent has acknowledged every update.
func (s *Session) Settled(ctx context.Context) error { return s.ledger.settled(ctx) }

// Run subscribes, and again whenever the connection breaks, until ctx is done
// (nil), or there is no agent any more (an error that wraps ErrGone).
func (s *Session) Run(ctx context.Context) error {
	defer s.client.CloseIdleConnections()
	away, told := time.Now(), ""
	for attempt := 0; ; attempt++ {
		start := time.Now()
		subscribed, err := s.connection(ctx, away.Add(s.environment.RecoveryTimeout))
		if ctx.Err() != nil {
			return nil
		}
		if subscribed {
			away = time.Now()
		}
		if subscribed && time.Since(start) > briefest {
			attempt = 0
		}
		var refused *refusal
		switch {
		case errors.As(err, &refused) && refused.final():
			return fmt.Errorf("%w: %w", ErrGone, err)
		case !s.environment.Checkpoint:
			return fmt.Errorf("%w, and executors of this framework do not survive it: %w", ErrGone, err)
		case time.Since(away) >= s.environment.RecoveryTimeout:
			return fmt.Errorf("%w: it was away for its recovery timeout of %s: %w", ErrGone, s.environment.RecoveryTimeout, err)
		}
		if err.Error() != told {
			told = err.Error()
			log.Printf("no agent: %v", err)
		}
		if attempt > 0 {
			pause(ctx, s.backoff())
		}
	}
}

// briefest is how long a subscription must have held for the next one to be
// tried at once: an agent that takes and drops them must not be flooded.
const briefest = 50 * time.Millisecond

// backoff is at most half of what a restarted agent waits for its executors.
func (s *Session) backoff() time.Duration {
	half := s.environment.BackoffMax / 2
	return half/8 + rand.N(max(half-half/8, 1))
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// connection is the life of one subscription. It always returns an error, and
// whether the agent had accepted the subscription.
func (s *Session) connection(ctx context.Context, giveUp time.Time) (subscribed bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	late := time.AfterFunc(time.Until(giveUp), func() { cancel(errors.New("no answer to SUBSCRIBE")) })
	defer late.Stop()
	resp, err := s.post(ctx, "SUBSCRIBE", s.ledger.subscribe())
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return false, refused("SUBSCRIBE", resp)
	}
	late.Stop()
	log.Print("subscribed to the agent")
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		if err := s.sendUpdates(ctx); err != nil {
			cancel(err) // ends the reading as well
		}
	}()
	err = s.read(ctx, resp.Body)
	cancel(err)
	<-sent
	return true, context.Cause(ctx)
}

// read delivers events until the stream ends.
func (s *Session) read(ctx context.Context, body io.Reader) error {
	r := bufio.NewReaderSize(body, 1<<10)
	for {
		record, err := readRecord(r)
		if errors.Is(err, io.EOF) {
			return errors.New("it closed the connection")
		}
		if err != nil {
			return err
		}
		var e event
		if err := json.Unmarshal(record, &e); err != nil {
			return fmt.Errorf("read an event: %w", err)
		}
		if err := s.handle(ctx, &e); err != nil {
			return err
		}
	}
}

func (s *Session) handle(ctx context.Context, e *event) error {
	switch e.Type {
	case "LAUNCH":
		var task taskInfo
		if err := json.Unmarshal(e.Launch.Task, &task); err != nil {
			return fmt.Errorf("read LAUNCH: %w", err)
		}
		s.ledger.launched(task.Task.Value, e.Launch.Task)
		return s.deliver(ctx, Launch{Task: task.Task.Value, Data: task.Data})
	case "KILL":
		k := Kill{Task: e.Kill.Task.Value}
		if g := e.Kill.Policy.Grace; g != nil {
			d := time.Duration(g.Nanoseconds)
			k.Grace = &d
		}
		return s.deliver(ctx, k)
	case "ACKNOWLEDGED":
		s.ledger.acknowledged(e.Acknowledged.Task.Value, e.Acknowledged.UUID)
	case "SHUTDOWN":
		return s.deliver(ctx, Shutdown{})
	case "ERROR":
		return &refusal{call: "the session", status: "ERROR", body: e.Error.Message}
	}
	return nil // SUBSCRIBED, HEARTBEAT, MESSAGE, and what later versions add
}

func (s *Session) deliver(ctx context.Context, e Event) error {
	select {
	case s.events <- e:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// sendUpdates sends updates, oldest first, until ctx is done or the agent says
// that this executor is not subscribed.
func (s *Session) sendUpdates(ctx context.Context) error {
	for {
		u, err := s.ledger.next(ctx)
		if err != nil {
			return nil
		}
		switch err := s.sendUpdate(ctx, u); {
		case err == nil:
			s.ledger.sent(u)
		case ctx.Err() != nil:
			return nil
		case isRefusal(err, http.StatusForbidden):
			return err
		case isRefusal(err, http.StatusBadRequest):
			log.Printf("the agent takes no update to %s: %v", u.Status.State, err)
			s.ledger.sent(u) // it would not take it the next time either
		default:
			log.Printf("update to %s not sent yet: %v", u.Status.State, err)
			pause(ctx, s.backoff()/4)
		}
	}
}

func (s *Session) sendUpdate(ctx context.Context, u *update) error {
	resp, err := s.post(ctx, "UPDATE", func(c *call) { c.Update = u })
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		return refused("UPDATE", resp)
	}
	return nil
}

// url is the agent's.
func (s *Session) url() string {
	scheme := "http"
	if s.environment.Secure {
		scheme = "https"
	}
	return scheme + "://" + s.environment.Endpoint + "/api/v1/executor"
}

func (s *Session) post(ctx context.Context, name string, fill func(*call)) (*http.Response, error) {
	c := call{Type: name, Framework: identifier{s.environment.Framework}, Executor: identifier{s.environment.Executor}}
	fill(&c)
	body, err := json.Marshal(&c)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", name, err)
	}
	url := s.url()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("make %s: %w", name, err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	if s.environment.Token != "" {
		req.Header.Set("Authorization", "Bearer "+s.environment.Token)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return resp, nil
}
