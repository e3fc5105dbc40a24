package server

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/engine"
)

const (
	// pageLimit is how many items a page has when the reader does not say.
	pageLimit = 100
	// maxExamined bounds how many records a page looks at. Where a filter
	// matches few, a page is shorter than asked for, and its cursor goes on.
	maxExamined = 20_000
	// maxIndexWait is how long a read waits for the index it asks for.
	maxIndexWait = 2 * time.Second
)

// Reading is what all reads take.
type Reading struct {
	MinIndex uint64 `query:"min_index" doc:"Wait, at most 2 s, until the answer reflects this journal index (X-Perigee-Index of a write)"`
}

// view returns the state to answer from, and tells its index.
func (s *Server) view(ctx context.Context, in Reading) (*engine.View, error) {
	v := s.Scheduler.View()
	if !v.Loaded {
		return nil, newProblem(http.StatusServiceUnavailable, "this scheduler has not read its journal yet").kind("unavailable").retryAfter(1)
	}
	if v.Index < in.MinIndex {
		waiting, cancel := context.WithTimeout(ctx, maxIndexWait)
		defer cancel()
		var err error
		if v, err = s.Scheduler.WaitIndex(waiting, in.MinIndex); err != nil {
			return nil, newProblem(http.StatusGatewayTimeout, "index %d is not here yet: this scheduler is at %d",
				in.MinIndex, s.Scheduler.View().Index).kind("behind").retryAfter(1)
		}
	}
	responseOf(ctx).setIndex(v)
	return v, nil
}

// Paging is what all lists take.
type Paging struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"Most items of the page. It may have fewer, even none, and still a next one"`
	Cursor string `query:"cursor" maxLength:"1024" doc:"Where the page begins: next of the page before"`
}

func (p Paging) limit() int {
	if p.Limit == 0 {
		return pageLimit
	}
	return p.Limit
}

// after is the key that the page before ended with; "" is the beginning.
func (p Paging) after() (string, error) {
	key, err := base64.RawURLEncoding.DecodeString(p.Cursor)
	if err != nil {
		return "", wrongInput("query.cursor", p.Cursor, "is not a cursor: it is next of the page before, as it was answered")
	}
	return string(key), nil
}

// cursorOf is the cursor of the page after a key.
func cursorOf(key string) string { return base64.RawURLEncoding.EncodeToString([]byte(key)) }

// pager fills a page from records that come in order.
type pager[T any] struct {
	page     api.Page[T]
	limit    int
	examined int
	last     string
}

func newPager[T any](limit int) *pager[T] {
	return &pager[T]{page: api.Page[T]{Items: []T{}}, limit: limit}
}

// see says whether the record with this key is still of the page. It is asked
// before the record is looked at, so that a cursor is given only if there is
// something behind it.
func (p *pager[T]) see(key string) bool {
	if len(p.page.Items) >= p.limit || p.examined >= maxExamined {
		p.page.Next = cursorOf(p.last)
		return false
	}
	p.examined++
	p.last = key
	return true
}

func (p *pager[T]) add(item T) { p.page.Items = append(p.page.Items, item) }

// listed answers a list.
type listed[T any] struct {
	Body api.Page[T]
}

func (p *pager[T]) answer() *listed[T] { return &listed[T]{Body: p.page} }

// answerWith names the path of what is older, if there is no other page.
func (p *pager[T]) answerWith(older string) *listed[T] {
	if p.page.Next == "" {
		p.page.Older = older
	}
	return p.answer()
}

// older is the path of a job's in history; "" when none is kept.
func (s *Server) older(what, job string) string {
	if s.History == nil {
		return ""
	}
	return "/v1/history/" + what + "?job=" + job
}

// glob is a pattern of names, where * stands for anything within one part.
func glob(where, pattern string) (func(string) bool, error) {
	if _, err := path.Match(pattern, ""); errors.Is(err, path.ErrBadPattern) {
		return nil, wrongInput(where, pattern, "is not a pattern: * stands for any part of a name, ? for one character, [ab] for one of these")
	}
	if !strings.ContainsAny(pattern, `*?[\`) {
		return func(s string) bool { return s == pattern }, nil
	}
	return func(s string) bool { ok, _ := path.Match(pattern, s); return ok }, nil
}
