package server

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/core"
)

const (
	// tokenUsesPath is where a standby tells the leader which tokens were shown to it.
	tokenUsesPath = schedulerPath + "/token-uses"
	// usesEvery is how often what was used is saved.
	usesEvery = time.Minute
	// usesTimeout bounds how long that takes, also when a scheduler ends.
	usesTimeout = 3 * time.Second
	// maxUsesBody is enough for all tokens that there may be.
	maxUsesBody = 4 << 20
)

// tokenUses are the tokens that were used and of which that is not saved yet, with
// when and from where they were last. It has those alone that there are.
type tokenUses struct {
	mu   sync.Mutex
	last map[string]core.TokenUse // by id
}

func (u *tokenUses) note(uses ...core.TokenUse) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.last == nil {
		u.last = map[string]core.TokenUse{}
	}
	for _, use := range uses {
		if use.At >= u.last[use.ID].At {
			u.last[use.ID] = use
		}
	}
}

func (u *tokenUses) take() []core.TokenUse {
	u.mu.Lock()
	defer u.mu.Unlock()
	all := slices.SortedFunc(maps.Values(u.last), func(a, b core.TokenUse) int { return cmp.Compare(a.ID, b.ID) })
	clear(u.last)
	return all
}

// KeepTokenUses saves every minute which tokens were used, until ctx ends: then once
// more. The leader writes what all schedulers have noted, in one entry; nothing is
// written while no token is used. It returns nil.
func (s *Server) KeepTokenUses(ctx context.Context) error {
	tick := time.NewTicker(usesEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.SaveTokenUses(ctx)
		case <-ctx.Done():
			s.SaveTokenUses(context.WithoutCancel(ctx))
			return nil
		}
	}
}

// SaveTokenUses saves which tokens were used, as the leader does, or tells that one.
// What cannot be saved now is saved the next time.
func (s *Server) SaveTokenUses(ctx context.Context) {
	v := s.Scheduler.View()
	s.uses.note(s.streams.uses(v)...)
	uses := slices.DeleteFunc(s.uses.take(), func(u core.TokenUse) bool {
		t := v.Token(u.ID)
		return t == nil || u.At < t.LastUsedAt+core.UseEvery
	})
	if len(uses) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, usesTimeout)
	defer cancel()
	var err error
	if v.Leads {
		_, _, err = s.Scheduler.Do(ctx, core.Request{Op: core.UseTokens{Uses: uses}})
	} else {
		err = s.tellTokenUses(ctx, uses)
	}
	if err != nil {
		s.uses.note(uses...)
		s.Log.Debug("when tokens were used last is not saved yet", "tokens", len(uses), "error", err)
	}
}

// tellTokenUses tells the leader, which saves it with what it knows itself.
func (s *Server) tellTokenUses(ctx context.Context, uses []core.TokenUse) error {
	leader := s.Scheduler.Leader()
	if leader == "" || leader == s.Scheduler.Status().Address {
		return fmt.Errorf("nobody leads")
	}
	body, err := json.Marshal(uses)
	if err != nil {
		return err
	}
	// What proves who asks is of the URL, and so of the body.
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, leader+tokenUsesPath+"?sha256="+digestOf(body), bytes.NewReader(body))
	if err != nil {
		return err
	}
	s.prove(r, "")
	answer, err := s.peers.RoundTrip(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusNoContent {
		return fmt.Errorf("the leader answered %s", answer.Status)
	}
	return nil
}

func digestOf(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

// noteTokenUses takes in what another scheduler tells.
func (s *Server) noteTokenUses(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxUsesBody))
	var uses []core.TokenUse
	switch {
	case err != nil:
		newProblem(http.StatusBadRequest, "the body cannot be read: %v", err).write(w)
		return
	case r.URL.Query().Get("sha256") != digestOf(body):
		newProblem(http.StatusBadRequest, "the body is another than was proven").write(w)
		return
	}
	if err := json.Unmarshal(body, &uses); err != nil {
		newProblem(http.StatusBadRequest, "the body is none: %v", err).write(w)
		return
	}
	v := s.Scheduler.View()
	s.uses.note(slices.DeleteFunc(uses, func(u core.TokenUse) bool { return v.Token(u.ID) == nil })...)
	w.WriteHeader(http.StatusNoContent)
}

// isOtherScheduler says whether a request is another scheduler's own, and not passed
// on by it for somebody.
func isOtherScheduler(c *caller, r *http.Request) bool {
	return c.peer && r.Header.Get(api.HeaderForwardedBy) == ""
}

// nothingAt is the answer to what there is not.
func nothingAt(u *url.URL) *problem {
	return newProblem(http.StatusNotFound, "there is nothing at %s: /openapi.json lists what there is", u.Path)
}
