package core

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/perigee-sched/perigee/scheduler/record"
)

func (w *world) ask(r Request) (Result, *Error) {
	w.t.Helper()
	w.requests++
	r.ID, r.Actor = w.requests, "ann"
	ready := w.step(r)
	require.Len(w.t, ready.Replies, 1)
	return ready.Replies[0].Result, ready.Replies[0].Err
}

func newToken(id string) *record.Token {
	return &record.Token{Id: id, Team: "*", Role: "admin", Hash: []byte("hash of " + id)}
}

func leading(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.do("lead")
	return w
}

func TestToken_IsInitialisedOnce(t *testing.T) {
	t.Parallel()
	w := leading(t)
	result, err := w.ask(Request{Op: InitToken{newToken("a")}})
	require.Nil(t, err)
	require.Equal(t, Result{Token: "a", Changed: true, Created: true}, result)
	_, err = w.ask(Request{Op: InitToken{newToken("b")}})
	require.Equal(t, Conflict, err.Kind)
	_, err = w.ask(Request{Op: RevokeToken{"a"}})
	require.Nil(t, err)
	w.do("fail over")
	_, err = w.ask(Request{Op: InitToken{newToken("b")}})
	require.Equal(t, Conflict, err.Kind, "nor after it was revoked, by another leader")
	require.Nil(t, w.records[record.TokenKey("b")])
}

func TestToken_IsRevokedForGood(t *testing.T) {
	t.Parallel()
	w := leading(t)
	_, err := w.ask(Request{Op: CreateToken{newToken("a")}})
	require.Nil(t, err)
	_, err = w.ask(Request{Op: CreateToken{newToken("a")}})
	require.Equal(t, Conflict, err.Kind)
	created := w.records[record.TokenKey("a")].(*record.Token)
	require.Equal(t, w.now, created.CreatedAt)
	require.Equal(t, "ann", created.CreatedBy)
	result, err := w.ask(Request{Op: RevokeToken{"a"}})
	require.Nil(t, err)
	require.True(t, result.Changed)
	require.NotEmpty(t, result.Warnings, "it was the last that may make others")
	at := w.now
	w.now += 1000
	result, err = w.ask(Request{Op: RevokeToken{"a"}})
	require.Nil(t, err)
	require.False(t, result.Changed)
	require.Equal(t, at, w.records[record.TokenKey("a")].(*record.Token).RevokedAt)
	_, err = w.ask(Request{Op: RevokeToken{"b"}})
	require.Equal(t, NotFound, err.Kind)
}

func TestToken_UseIsSavedOnceAMinute(t *testing.T) {
	t.Parallel()
	w := leading(t)
	for _, id := range []string{"a", "b"} {
		_, err := w.ask(Request{Op: CreateToken{newToken(id)}})
		require.Nil(t, err)
	}
	use := func(at int64) []Write {
		w.requests++
		ready := w.step(Request{ID: w.requests, Op: UseTokens{[]TokenUse{{"a", "10.0.0.1", at}, {"b", "10.0.0.2", at}, {"gone", "10.0.0.3", at}}}})
		require.Empty(t, ready.Events, "it is no event, nor in the audit trail")
		return ready.Writes
	}
	first := w.now
	require.Len(t, use(first), 2)
	require.Empty(t, use(first+1_000_000), "a clock that is ahead does not count")
	w.now += UseEvery
	require.Empty(t, use(first+UseEvery-1))
	require.Len(t, use(first+UseEvery), 2)
	b := w.records[record.TokenKey("b")].(*record.Token)
	require.Equal(t, first+UseEvery, b.LastUsedAt)
	require.Equal(t, "10.0.0.2", b.LastUsedFrom)
	require.Equal(t, "admin", b.Role)
}

// What ended makes room, the earliest first; what did not is never dropped.
func TestToken_NumberIsBounded(t *testing.T) {
	t.Parallel()
	w := leading(t)
	for i := range tokensMost {
		rec := newToken(fmt.Sprintf("t%05d", i))
		switch i {
		case 7:
			rec.RevokedAt = w.now - 2
		case 9:
			rec.ExpiresAt = w.now - 3
		}
		w.records[record.TokenKey(rec.Id)] = rec
	}
	w.do("fail over")
	for _, goes := range []string{"t00009", "t00007"} {
		_, err := w.ask(Request{Op: CreateToken{newToken("instead of " + goes)}})
		require.Nil(t, err)
		require.Nil(t, w.records[record.TokenKey(goes)])
		require.Len(t, w.core.tokens, tokensMost)
	}
	_, err := w.ask(Request{Op: CreateToken{newToken("one too many")}})
	require.Equal(t, Conflict, err.Kind)
}

func TestIdempotencyKey_IsOfWhoSentIt(t *testing.T) {
	t.Parallel()
	w := leading(t)
	first, err := w.ask(Request{Op: CreateToken{newToken("a")}, IdempotencyKey: "k", KeyOf: "ann", Digest: "d"})
	require.Nil(t, err)
	again, err := w.ask(Request{Op: CreateToken{newToken("b")}, IdempotencyKey: "k", KeyOf: "ann", Digest: "d"})
	require.Nil(t, err)
	require.True(t, again.Repeated)
	require.Equal(t, first.Token, again.Token)
	other, err := w.ask(Request{Op: CreateToken{newToken("c")}, IdempotencyKey: "k", KeyOf: "ben", Digest: "d"})
	require.Nil(t, err)
	require.Equal(t, Result{Token: "c", Changed: true, Created: true}, other, "another's key says nothing of ann's answer")
	_, err = w.ask(Request{Op: CreateToken{newToken("e")}, IdempotencyKey: "k", KeyOf: "ann", Digest: "another"})
	require.Equal(t, Mismatch, err.Kind)
}

// The first leader's secret is kept, by all that follow.
func TestSecret_IsTakenOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.step(Elected{Scheduler: "s1", Incarnation: "abcd", Secret: []byte("first")})
	w.load()
	w.step(Elected{Scheduler: "s2", Incarnation: "wxyz", Secret: []byte("second")})
	require.Equal(t, "first", string(w.records[record.KeyCluster].(*record.Cluster).Secret))

	old := proto.CloneOf(w.records[record.KeyCluster].(*record.Cluster))
	old.Secret = nil // of a version that had none
	w.records[record.KeyCluster] = old
	w.load()
	w.step(Elected{Scheduler: "s3", Incarnation: "wxyz", Secret: []byte("third")})
	require.Equal(t, "third", string(w.records[record.KeyCluster].(*record.Cluster).Secret))
}
