package server

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/mux"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/engine"
)

// response is an answer being written, and what is known of it for metrics.
type response struct {
	http.ResponseWriter
	status int    // 0 until the header is written
	route  string // template of the path
	asked  *http.Request
	stream bool // lasts as long as its reader likes
	head   bool // HEAD: streams write no body
}

func (w *response) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *response) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// setIndex tells which state an answer reflects.
func (w *response) setIndex(v *engine.View) {
	w.Header().Set(api.HeaderIndex, strconv.FormatUint(v.Index, 10))
}

type responseKey struct{}

// responseOf returns the answer to the request that ctx belongs to.
func responseOf(ctx context.Context) *response {
	w, _ := ctx.Value(responseKey{}).(*response)
	return w
}

// around is what all requests have in common: the index header, refusing what
// other sites' pages send, HEAD as GET, metrics, and an answer also to a panic.
func (s *Server) around(next http.Handler) http.Handler {
	origins := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w := &response{ResponseWriter: rw, route: "unmatched"}
		began := time.Now()
		defer func() { s.metrics.observe(r.Method, w, time.Since(began)) }()
		defer s.recover(w, r)
		deadline(w, began.Add(answerTimeout), began.Add(answerTimeout))
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if s.Access == nil || s.Access.Reads == ReadsOpen {
			s.tellRole(w)
		}
		if _, err := url.ParseQuery(r.URL.RawQuery); err != nil { // r.URL.Query leaves out what is malformed
			newProblem(http.StatusBadRequest, "the query of the URL cannot be read: %v", err).write(w)
			return
		}
		if err := origins.Check(r); err != nil {
			newProblem(http.StatusForbidden, "a page of another site may not write here: %v", err).write(w)
			return
		}
		r2 := r.WithContext(context.WithValue(r.Context(), responseKey{}, w))
		w.asked = r2
		if r.Method == http.MethodHead {
			r2.Method, w.head = http.MethodGet, true
		}
		next.ServeHTTP(w, r2)
	})
}

// deadline sets by when a request must be read and its answer written; the zero
// time is never. Recorders in tests have no deadlines.
func deadline(w http.ResponseWriter, read, write time.Time) {
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(read)
	_ = control.SetWriteDeadline(write)
}

// recover answers a panic. http.ErrAbortHandler is not one: it cuts an answer
// off where its reader would otherwise take it for complete.
func (s *Server) recover(w *response, r *http.Request) {
	p := recover()
	if p == nil {
		return
	}
	if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(p)
	}
	s.Log.Error("panic in the API", "method", r.Method, "path", r.URL.Path, "panic", p, "stack", string(debug.Stack()))
	if w.status != 0 {
		panic(http.ErrAbortHandler)
	}
	newProblem(http.StatusInternalServerError, "this is a fault of the scheduler; its log says more").write(w)
}

// named remembers the template of the path that matched.
func named(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if route := mux.CurrentRoute(r); route != nil {
			if template, err := route.GetPathTemplate(); err == nil {
				responseOf(r.Context()).route = template
			}
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Server) notFound(w http.ResponseWriter, r *http.Request) {
	nothingAt(r.URL).write(w)
}

// methodNotAllowed says which methods the path has.
func (s *Server) methodNotAllowed(w http.ResponseWriter, r *http.Request) {
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodPost, http.MethodDelete} {
		try, match := *r, mux.RouteMatch{}
		try.Method = method
		if s.router.Match(&try, &match) && match.MatchErr == nil && match.Route != nil {
			allowed = append(allowed, method)
		}
	}
	if slices.Contains(allowed, http.MethodGet) {
		allowed = append(allowed, http.MethodHead)
	}
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	newProblem(http.StatusMethodNotAllowed, "%s is not possible at %s: it has %s",
		r.Method, r.URL.Path, strings.Join(allowed, ", ")).write(w)
}
