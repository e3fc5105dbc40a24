package gate

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

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/foreign"
)

const (
	// maxAnswer bounds an answer, in bytes.
	maxAnswer = 64 << 10
	// maxReason bounds what is kept of a gate's reason, in bytes.
	maxReason = 512
	// maxRedirects are followed.
	maxRedirects = 5
)

// put sends a question. Whatever comes back that is not an answer is told as
// wait, with why.
func (r *Runner) put(ctx context.Context, ask core.AskGate) api.GateAnswer {
	answer, err := r.post(ctx, ask)
	if err != nil {
		return api.GateAnswer{Decision: api.GateWait, Reason: fmt.Sprintf("gate %s %v", shown(ask.URL), err)}
	}
	answer.Reason = foreign.OneLine(answer.Reason, maxReason)
	return *answer
}

// post returns the gate's answer, or an error that says what the gate did
// instead.
func (r *Runner) post(ctx context.Context, ask core.AskGate) (*api.GateAnswer, error) {
	body, err := json.Marshal(ask.Question)
	if err != nil {
		return nil, fmt.Errorf("could not be asked: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, ask.URL, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("could not be asked: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "perigee")
	resp, err := r.client.Do(req)
	if err != nil {
		return nil, failure(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, failure(err)
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("answered %d%s", resp.StatusCode, quoted(text))
	case len(text) > maxAnswer:
		return nil, fmt.Errorf("answered 200 with more than %d KiB", maxAnswer>>10)
	}
	return parse(text)
}

func parse(text []byte) (*api.GateAnswer, error) {
	answer := new(api.GateAnswer)
	if err := json.Unmarshal(text, answer); err != nil {
		return nil, fmt.Errorf("answered 200 but not JSON of an answer%s", quoted(text))
	}
	switch answer.Decision {
	case api.GateGo, api.GateWait, api.GateStop:
		return answer, nil
	case "":
		return nil, fmt.Errorf("answered 200 without a decision: it must be go, wait or stop")
	}
	return nil, fmt.Errorf("answered 200 with the decision %q: it must be go, wait or stop", foreign.OneLine(string(answer.Decision), 40))
}

// failure says in words why there was no answer.
func failure(err error) error {
	var (
		network net.Error
		at      *url.Error
	)
	switch {
	case errors.As(err, &network) && network.Timeout():
		return fmt.Errorf("did not answer in %s", timeout)
	case errors.As(err, &at):
		err = at.Err // the URL was said already
	}
	return fmt.Errorf("could not be asked: %w", err)
}

// checkRedirect follows those that ask the same question over the same scheme.
func checkRedirect(req *http.Request, via []*http.Request) error {
	switch first := via[0]; {
	case len(via) > maxRedirects:
		return fmt.Errorf("it redirects more than %d times", maxRedirects)
	case req.URL.Scheme != first.URL.Scheme:
		return fmt.Errorf("it redirects from %s to %s, which is not followed", first.URL.Scheme, req.URL.Scheme)
	case req.Method != http.MethodPost:
		return fmt.Errorf("it redirects with %d, which drops the question: 307 and 308 keep it", req.Response.StatusCode)
	}
	return nil
}

// shown is a URL as people read it: its query may hold a token.
func shown(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	u.RawQuery, u.Fragment = "", ""
	return u.Redacted()
}

// quoted is the beginning of what a gate said, if it can be shown.
func quoted(text []byte) string {
	line := foreign.OneLine(string(text), 120)
	if line == "" {
		return ""
	}
	return fmt.Sprintf(": %q", line)
}
