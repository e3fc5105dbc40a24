package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/strict"
	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/engine"
	"github.com/perigee-sched/perigee/scheduler/record"
)

const (
	// lookTimeout is how long a store may take to say whether it has an
	// artifact, and looksTimeout how long all that a deploy needs may.
	lookTimeout, looksTimeout = 5 * time.Second, 20 * time.Second
	// looksMost are under way at a time.
	looksMost = 4
	// looksRedirects are followed.
	looksRedirects = 5
)

// stores looks whether artifacts are where they were.
type stores struct{ client *http.Client }

func newStores(transport http.RoundTripper) stores {
	return stores{&http.Client{Transport: transport, Timeout: lookTimeout,
		CheckRedirect: func(_ *http.Request, via []*http.Request) error {
			if len(via) > looksRedirects {
				return fmt.Errorf("it redirects more than %d times", looksRedirects)
			}
			return nil
		}}}
}

// readyToReturn looks whether the artifacts are still there of the deploy that a
// rollback would return to, and has the rollback be to that one and no other.
// Nothing is looked for where the same request was answered before, or where
// instances run that need nothing any more. It returns what could not be looked
// for, and 409 when an artifact is gone.
func (s *Server) readyToReturn(ctx context.Context, op *core.RollBack, unchecked bool) (warnings []string, err error) {
	v, in := s.Scheduler.View(), writingOf(ctx)
	if unchecked {
		return nil, nil
	}
	if kept := v.Answered(record.ScopedKey(in.keyOf, in.key)); in.key != "" && kept != nil {
		return nil, nil // core knows what to answer
	}
	to := destination(v, op)
	if to == nil {
		return nil, nil // core says what is wrong
	}
	spec := s.specs.of(to)
	if spec == nil {
		return []string{fmt.Sprintf("the spec of deploy %d was written by a newer version: its artifacts were not looked for", to.Number)}, nil
	}
	op.To = to.Number
	if roll := v.Rollout(op.Job); roll != nil && roll.Phase == record.RolloutPhase_ROLLOUT_PHASE_KEEPING && roll.Back == to.Number {
		return nil, nil // they run
	}
	problems, warnings := s.stores.missing(ctx, spec.spec.Artifacts, to.Number)
	if len(problems) == 0 {
		return warnings, nil
	}
	p := newProblem(http.StatusConflict, "deploy %d of %s cannot be returned to: %s; nothing was changed. To try nevertheless, say unchecked",
		to.Number, op.Job, problems[0].Message).kind("artifact")
	p.Errors = problems
	return nil, p
}

// destination is the deploy that core would return to, nil when it would refuse.
func destination(v *engine.View, op *core.RollBack) *record.Deploy {
	r := v.Job(op.Job)
	if r == nil {
		return nil
	}
	if op.To != 0 {
		return v.Deploy(op.Job, op.To)
	}
	if roll := v.Rollout(op.Job); roll != nil {
		return v.Deploy(op.Job, roll.Back)
	}
	now := v.Deploy(op.Job, r.Deploy)
	var to *record.Deploy
	v.Deploys(op.Job, func(d *record.Deploy) bool {
		if now != nil && d.Number < now.Number && d.State == record.DeployState_DEPLOY_STATE_SUCCEEDED && d.Digest != now.Digest {
			to = d
		}
		return true
	})
	return to
}

// missing looks for each artifact of a deploy.
func (s stores) missing(ctx context.Context, artifacts []api.Artifact, deploy uint32) (problems []api.ProblemField, warnings []string) {
	ctx, cancel := context.WithTimeout(ctx, looksTimeout)
	defer cancel()
	found := make([]error, len(artifacts))
	var looking errgroup.Group
	looking.SetLimit(looksMost)
	for i, a := range artifacts {
		u, err := url.Parse(a.URI)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" {
			warnings = append(warnings, fmt.Sprintf("artifact %s of deploy %d was not looked for: only agents can see it", shownURI(a.URI), deploy))
			continue
		}
		looking.Go(func() error {
			found[i] = s.look(ctx, a.URI)
			return nil
		})
	}
	_ = looking.Wait() // each has its own
	for i, err := range found {
		if err != nil {
			problems = append(problems, api.ProblemField{Location: strict.Index("spec.artifacts", i) + ".uri", Value: shownURI(artifacts[i].URI),
				Message: fmt.Sprintf("artifact %s %v", shownURI(artifacts[i].URI), err)})
		}
	}
	return problems, warnings
}

// look returns nil when a store has an artifact, and what it said otherwise.
// Stores that refuse HEAD, or sign it apart from GET, are asked for one byte.
func (s stores) look(ctx context.Context, uri string) error {
	status, err := s.ask(ctx, http.MethodHead, uri)
	if err == nil && (status < 200 || status > 299) && status != http.StatusNotFound && status != http.StatusGone {
		status, err = s.ask(ctx, http.MethodGet, uri)
	}
	switch {
	case err != nil:
		return err
	case status >= 200 && status <= 299, status == http.StatusRequestedRangeNotSatisfiable: // it is empty
		return nil
	case status == http.StatusNotFound, status == http.StatusGone:
		return fmt.Errorf("is gone: its store answers %d", status)
	}
	return fmt.Errorf("cannot be looked for: its store answers %d", status)
}

func (s stores) ask(ctx context.Context, method, uri string) (status int, err error) {
	r, err := http.NewRequestWithContext(ctx, method, uri, nil)
	if err != nil {
		return 0, fmt.Errorf("cannot be looked for: %w", err)
	}
	r.Header.Set("User-Agent", "perigee")
	if method == http.MethodGet {
		r.Header.Set("Range", "bytes=0-0")
	}
	answer, err := s.client.Do(r)
	var (
		network net.Error
		at      *url.Error
	)
	switch {
	case err == nil:
		defer answer.Body.Close()
		_, _ = io.CopyN(io.Discard, answer.Body, 1024) // so that the connection serves again, if that is all
		return answer.StatusCode, nil
	case errors.As(err, &network) && network.Timeout():
		return 0, fmt.Errorf("cannot be looked for: its store did not answer in %s", lookTimeout)
	case errors.As(err, &at):
		err = at.Err // the URI is told already
	}
	return 0, fmt.Errorf("cannot be looked for: %w", err)
}

// shownURI is an artifact's URI as people read it: its query may be a signature.
func shownURI(uri string) string {
	u, err := url.Parse(uri)
	if err != nil {
		return strict.Shorten(uri)
	}
	u.RawQuery, u.Fragment = "", ""
	return strings.TrimSpace(u.Redacted())
}
