package core

import (
	"cmp"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/perigee-sched/perigee/api/access"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// CreateToken makes a token: all of the record but when, and by whom.
type CreateToken struct{ Token *record.Token }

// InitToken makes the first token there ever was, and no other.
type InitToken struct{ Token *record.Token }

// RevokeToken ends a token.
type RevokeToken struct{ ID string }

// UseTokens notes when and from where tokens were used last. It is the scheduler's
// own: no user asks for it.
type UseTokens struct{ Uses []TokenUse }

// TokenUse is one of UseTokens.
type TokenUse struct {
	ID, From string
	At       int64 // Unix ms
}

func (CreateToken) isOp() {}
func (InitToken) isOp()   {}
func (RevokeToken) isOp() {}
func (UseTokens) isOp()   {}

// tokensMost are kept, of which those that ended go when there is no room.
const tokensMost = 10_000

// UseEvery is how often the use of a token is saved at the most, in ms.
const UseEvery = 60 * 1000

func (c *Core) putToken(t *record.Token) {
	c.tokens[t.Id] = t
	c.write(record.TokenKey(t.Id), func() Record { return t })
}

// createToken takes a token that is valid; whether who asks may give it away is
// known already.
func (c *Core) createToken(t *record.Token, actor string) (Result, *Error) {
	if c.tokens[t.Id] != nil {
		return Result{}, conflict("there is a token %s already: ask again, for another", t.Id)
	}
	if len(c.tokens) >= tokensMost && !c.forgetToken() {
		return Result{}, conflict("there are %d tokens, and no more are possible: revoke some that are not used", tokensMost)
	}
	t = proto.CloneOf(t)
	t.CreatedAt, t.CreatedBy = c.now, actor
	c.putToken(t)
	return Result{Token: t.Id, Changed: true, Created: true}, nil
}

// forgetToken drops the token that ended first, if any did.
func (c *Core) forgetToken() bool {
	var first *record.Token
	for _, t := range c.tokens {
		if ended := c.endOf(t); ended <= c.now && (first == nil || cmp.Or(cmp.Compare(ended, c.endOf(first)), cmp.Compare(t.Id, first.Id)) < 0) {
			first = t
		}
	}
	if first == nil {
		return false
	}
	delete(c.tokens, first.Id)
	c.delete(record.TokenKey(first.Id))
	return true
}

// endOf is when a token ended, or will; far away when never.
func (c *Core) endOf(t *record.Token) int64 {
	end := int64(1) << 62
	for _, at := range []int64{t.ExpiresAt, t.RevokedAt} {
		if at != 0 {
			end = min(end, at)
		}
	}
	return end
}

func (c *Core) initToken(t *record.Token, actor string) (Result, *Error) {
	if len(c.tokens) > 0 {
		return Result{}, conflict("the first token was made already")
	}
	return c.createToken(t, actor)
}

func (c *Core) revokeToken(id, actor string) (Result, *Error) {
	t := c.tokens[id]
	if t == nil {
		return Result{}, &Error{Kind: NotFound, Detail: fmt.Sprintf("there is no token %s", id)}
	}
	if t.RevokedAt != 0 {
		return Result{Token: id}, nil
	}
	t = proto.CloneOf(t)
	t.RevokedAt, t.RevokedBy = c.now, actor
	c.putToken(t)
	result := Result{Token: id, Changed: true}
	if !c.administered() {
		result.Warnings = []string{"no token is left that may make others for all teams"}
	}
	return result, nil
}

// administered says whether any token may make others for all teams.
func (c *Core) administered() bool {
	for _, t := range c.tokens {
		if t.Role == access.Admin.String() && t.Team == access.AllTeams && len(t.Stages) == 0 && c.endOf(t) > c.now {
			return true
		}
	}
	return false
}

func (c *Core) useTokens(uses []TokenUse) (Result, *Error) {
	for _, u := range uses {
		t := c.tokens[u.ID]
		at := min(u.At, c.now) // of a scheduler whose clock may be ahead
		if t == nil || at < t.LastUsedAt+UseEvery {
			continue
		}
		t = proto.CloneOf(t)
		t.LastUsedAt, t.LastUsedFrom = at, u.From
		c.putToken(t)
	}
	return Result{}, nil
}
