package server

import (
	"cmp"
	"context"
	"crypto/subtle"
	"net/http"
	"regexp"
	"slices"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/access"
	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/engine"
	"github.com/perigee-sched/perigee/scheduler/record"
)

const (
	tokensPath = "/v1/tokens"
	initToken  = "init-token"
)

func (r routes) tokens() {
	get(r, "get-caller", "/v1/whoami", "Say who asks, and what they may do", r.s.getCaller)
	get(r, "list-tokens", tokensPath, "List tokens, by id", r.s.listTokens)
	create := write(r, "create-token", http.MethodPost, tokensPath, "Make a token", bodyOf[api.TokenRequest](maxSmallBody), r.s.createToken)
	create.Description = "The answer has its text, once: repeated with the same Idempotency-Key, it has not."
	first := write(r, initToken, http.MethodPost, tokensPath+"/init", "Make the first token, an admin's of all teams", bodyOf[api.InitRequest](maxSmallBody), r.s.initToken)
	first.Description = "It takes the code that the leading scheduler has written to its log, or access.init_code, and is possible until there is a token."
	write(r, "revoke-token", http.MethodDelete, tokensPath+"/{token}", "End a token", noBody, r.s.revokeToken)
}

// TokenPath names a token.
type TokenPath struct {
	Token string `path:"token" maxLength:"255"`
}

// in returns the token's record, or 404.
func (p TokenPath) in(v *engine.View) (*record.Token, error) {
	if t := v.Token(p.Token); t != nil {
		return t, nil
	}
	return nil, p.missing()
}

func (p TokenPath) missing() *problem {
	return newProblem(http.StatusNotFound, "there is no token %s", p.Token).kind("not-found")
}

// token tells a token.
func token(t *record.Token, now int64) api.Token {
	out := api.Token{
		ID: t.Id, Team: t.Team, Role: t.Role, Stages: t.Stages, Description: t.Description, State: api.TokenActive,
		CreatedAt: millis(t.CreatedAt), CreatedBy: t.CreatedBy, ExpiresAt: moment(t.ExpiresAt),
		RevokedAt: moment(t.RevokedAt), RevokedBy: t.RevokedBy, LastUsedAt: moment(t.LastUsedAt), LastUsedFrom: t.LastUsedFrom,
	}
	switch {
	case t.RevokedAt != 0:
		out.State = api.TokenRevoked
	case t.ExpiresAt != 0 && t.ExpiresAt <= now:
		out.State = api.TokenExpired
	}
	return out
}

type listTokensInput struct {
	Reading
	Paging
	Team  string `query:"team" doc:"* is that of tokens for all teams"`
	State string `query:"state" enum:"active,expired,revoked"`
}

// listTokens lists those that the caller may revoke.
func (s *Server) listTokens(ctx context.Context, in *listTokensInput) (*listed[api.Token], error) {
	v, err := s.view(ctx, in.Reading)
	if err != nil {
		return nil, err
	}
	after, err := in.after()
	if err != nil {
		return nil, err
	}
	c, now := callerOf(ctx), time.Now().UnixMilli()
	p := newPager[api.Token](in.limit())
	v.Tokens(after, func(t *record.Token) bool {
		if t.Id == after {
			return true
		}
		if !p.see(t.Id) {
			return false
		}
		told := token(t, now)
		if (in.Team == "" || in.Team == t.Team) && (in.State == "" || in.State == told.State) && c.administers(t.Team, t.Stages) {
			p.add(told)
		}
		return true
	})
	return p.answer(), nil
}

// writtenToken answers a write of a token.
type writtenToken struct {
	Status   int
	Replayed string `header:"Idempotency-Replayed" doc:"true when an earlier request with the same key was answered with this token"`
	Body     api.WrittenToken
}

func (s *Server) writeToken(ctx context.Context, op core.Op, text string) (*writtenToken, error) {
	result, v, err := s.execute(ctx, op)
	if err != nil {
		return nil, err
	}
	out := &writtenToken{Status: http.StatusOK, Body: api.WrittenToken{
		Token: api.Token{ID: result.Token}, Changed: result.Changed, Warnings: result.Warnings}}
	_, out.Replayed = marks(result)
	if t := v.Token(result.Token); t != nil {
		out.Body.Token = token(t, time.Now().UnixMilli())
	}
	if result.Created && !result.Repeated {
		out.Status, out.Body.Text = http.StatusCreated, text
	}
	return out, nil
}

func (s *Server) createToken(ctx context.Context, _ *struct{}) (*writtenToken, error) {
	var req api.TokenRequest
	if err := decode(writingOf(ctx).body, &req); err != nil {
		return nil, err
	}
	rec, err := tokenOf(&req, time.Now())
	if err != nil {
		return nil, err
	}
	if c := callerOf(ctx); !c.administers(rec.Team, rec.Stages) {
		return nil, c.forbidden("this takes %s", access.Grant{Role: access.Admin, Team: rec.Team, Stages: rec.Stages})
	}
	text := newText(rec)
	return s.writeToken(ctx, core.CreateToken{Token: rec}, text)
}

// newText gives a token an id and a text.
func newText(t *record.Token) (text string) {
	t.Id, text = access.NewToken()
	t.Hash = access.HashToken(text)
	return text
}

var jobPart = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// tokenOf reads what a token is asked to be.
func tokenOf(req *api.TokenRequest, now time.Time) (*record.Token, error) {
	var r reading
	field := func(at string, value any, message string) {
		r.field("", api.ProblemField{Location: at, Value: value, Message: message})
	}
	if _, err := access.ParseRole(req.Role); err != nil {
		field("role", req.Role, err.Error())
	}
	if req.Team != access.AllTeams && !jobPart.MatchString(req.Team) {
		field("team", req.Team, "must be a team's name, or * for all teams")
	}
	const stagesMost = 32
	if len(req.Stages) > stagesMost {
		field("stages", len(req.Stages), "are too many: name at most 32, or none for all")
	}
	for i, stage := range req.Stages {
		if !jobPart.MatchString(stage) {
			field("stages", stage, "must be stages' names")
		} else if slices.Contains(req.Stages[:i], stage) {
			field("stages", stage, "is named twice")
		}
	}
	if err := printable(req.Description); err != "" {
		field("description", nil, err)
	}
	life := api.DefaultTokenLife
	switch d := req.ExpiresIn; {
	case d != nil && req.NeverExpires:
		field("expires_in", d, "cannot be together with never_expires: leave one out")
	case d != nil && (d.Std() < time.Minute || d.Std() > 10*365*24*time.Hour):
		field("expires_in", d, "must be from 1m to 87600h, which is ten years")
	case d != nil:
		life = *d
	}
	if err := r.err(); err != nil {
		return nil, err
	}
	t := &record.Token{Team: req.Team, Role: req.Role, Stages: req.Stages, Description: req.Description}
	if !req.NeverExpires {
		t.ExpiresAt = now.Add(life.Std()).UnixMilli()
	}
	return t, nil
}

// printable says what is wrong with a line that people will read.
func printable(s string) string {
	if len(s) > maxText {
		return "is too long: at most 255 bytes are allowed"
	}
	if !utf8.ValidString(s) || slices.ContainsFunc([]rune(s), func(c rune) bool { return !unicode.IsPrint(c) }) {
		return "has a character that cannot be printed"
	}
	return ""
}

// initToken makes the first token for whoever has the code.
func (s *Server) initToken(ctx context.Context, _ *struct{}) (*writtenToken, error) {
	var req api.InitRequest
	if err := decode(writingOf(ctx).body, &req); err != nil {
		return nil, err
	}
	if err := printable(req.Description); err != "" {
		return nil, wrongInput("body.description", nil, "%s", err)
	}
	if s.InitCode == "" || subtle.ConstantTimeCompare([]byte(req.Code), []byte(s.InitCode)) != 1 {
		return nil, newProblem(http.StatusForbidden, "the code is not the one that the leading scheduler wrote to its log").kind("forbidden")
	}
	rec := &record.Token{Team: access.AllTeams, Role: access.Admin.String(), Description: cmp.Or(req.Description, "first token")}
	text := newText(rec)
	return s.writeToken(ctx, core.InitToken{Token: rec}, text)
}

func (s *Server) revokeToken(ctx context.Context, in *TokenPath) (*writtenToken, error) {
	return s.writeToken(ctx, core.RevokeToken{ID: in.Token}, "")
}

// tellInitCode writes to the log how the first token is made, whenever this
// scheduler comes to lead while there is none. It ends when there is one, or the
// server stops.
func (s *Server) tellInitCode() {
	if s.Access == nil {
		return
	}
	told := false
	for v := s.Scheduler.View(); s.life.Err() == nil; {
		any := false
		v.Tokens("", func(*record.Token) bool { any = true; return false })
		switch {
		case any:
			return
		case !v.Leads:
			told = false
		case !told && s.Access.InitCodeKnown:
			told = true
			s.Log.Warn("there is no token yet: `perigee token init` makes the first, with access.init_code")
		case !told:
			told = true
			s.Log.Warn("there is no token yet: `perigee token init` makes the first, with this code", "code", s.InitCode)
		}
		next, err := s.Scheduler.WaitIndex(s.life, v.Index+1)
		if err != nil {
			return
		}
		v = next
	}
}
