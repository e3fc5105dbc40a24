package server

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/perigee-sched/perigee/api"
)

// alive says that the process answers.
func (s *Server) alive(w http.ResponseWriter, _ *http.Request) {
	answerJSON(w, map[string]bool{"alive": true})
}

// ready says whether this scheduler can do its part: it leads, can write and is
// subscribed to a Mesos master, or it stands by, has read the journal and knows a leader to
// pass writes on to.
func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	v, leader := s.Scheduler.View(), s.Scheduler.Leader()
	seen := s.seen(callerOf(r.Context()))
	answer := func(is api.Readiness) {
		if !seen {
			is.Leader, is.Master = "", ""
		}
		answerJSON(w, is)
	}
	notReady := func(format string, args ...any) {
		if !seen {
			format, args = "this scheduler is not ready; who shows a token is told why", nil
		}
		newProblem(http.StatusServiceUnavailable, format, args...).kind("not-ready").retryAfter(1).write(w)
	}
	switch {
	case v.Leads && s.Scheduler.Status().Stalled != "":
		notReady("this scheduler cannot write: %s", s.Scheduler.Status().Stalled)
	case v.Leads && !s.Scheduler.Leads():
		notReady("this scheduler cannot renew its lease, and does not know who leads")
	case v.Leads && !v.Observed.Subscribed:
		notReady("this scheduler is not subscribed to a Mesos master")
	case v.Leads:
		answer(api.Readiness{Ready: true, Master: v.Observed.Master})
	case !s.Scheduler.Standby():
		last := "nobody leads yet"
		if l := v.Leader(); l != nil {
			last = "the last known leader is " + l.Address
		}
		notReady("this scheduler does not lead: %s", last)
	case !v.Loaded:
		notReady("this scheduler has not read its journal yet")
	case leader == "":
		notReady("this scheduler stands by, and %s", nobodyLeads(s.Scheduler.Status()))
	default:
		answer(api.Readiness{Ready: true, Role: api.RoleStandby, Leader: leader})
	}
}

func answerJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v) // a client that has gone is not our matter
}

// describe tells of the API, and which version answers to who may know.
func (s *Server) describe(w http.ResponseWriter, r *http.Request) {
	text := s.openAPI
	if !s.seen(callerOf(r.Context())) {
		text = s.unnamed
	}
	w.Header().Set("Content-Type", "application/openapi+json")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.Write(text)
}

// front is what a person sees who opens the address in a browser.
func (s *Server) front(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprint(w, `<!doctype html>
<title>Perigee</title>
<h1>Perigee</h1>
<p>This is the HTTP API of a Perigee scheduler: services, crons and batch jobs on Apache Mesos.</p>
<ul>
<li><a href="/v1/jobs">/v1/jobs</a>, <a href="/v1/tasks">/v1/tasks</a>, <a href="/v1/agents">/v1/agents</a>, <a href="/v1/pending">/v1/pending</a></li>
<li><a href="/readyz">/readyz</a>, <a href="/healthz">/healthz</a>, <a href="/metrics">/metrics</a></li>
<li><a href="/openapi.json">/openapi.json</a> describes every route; docs/api.md has examples</li>
</ul>
`)
}

// binary is a file that is served under its checksum.
type binary struct {
	mu       sync.Mutex
	modified time.Time
	size     int64
	sha256   string
}

// executor serves perigee-executor to Mesos's fetcher, which verifies nothing:
// the ETag is what the command of the task checks.
func (s *Server) executor(w http.ResponseWriter, r *http.Request) {
	if s.Access != nil && !s.Scheduler.View().Loaded {
		newProblem(http.StatusServiceUnavailable, "this scheduler has not read its journal yet").kind("unavailable").retryAfter(1).write(w)
		return
	}
	if s.Access != nil && !s.mayDownload(r) {
		s.notFound(w, r) // as if there were none
		return
	}
	if s.Executor == "" {
		newProblem(http.StatusNotFound, "this scheduler serves no executor").write(w)
		return
	}
	f, err := os.Open(s.Executor)
	if err != nil {
		s.Log.Error("the executor cannot be served", "error", err)
		newProblem(http.StatusInternalServerError, "the executor cannot be read on the scheduler: %v", err).write(w)
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a file", s.Executor)
	}
	var sum string
	if err == nil {
		sum, err = s.binary.sum(f, info)
	}
	if err != nil {
		newProblem(http.StatusInternalServerError, "the executor cannot be read on the scheduler: %v", err).write(w)
		return
	}
	w.Header().Set("ETag", `"`+sum+`"`)
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "perigee-executor", info.ModTime(), f)
}

// sum is the file's SHA-256 in hexadecimal, computed once for as long as the
// file stays the same.
func (b *binary) sum(f *os.File, info os.FileInfo) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.sha256 != "" && b.modified.Equal(info.ModTime()) && b.size == info.Size() {
		return b.sha256, nil
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	b.modified, b.size, b.sha256 = info.ModTime(), info.Size(), hex.EncodeToString(h.Sum(nil))
	return b.sha256, nil
}
