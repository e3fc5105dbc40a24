package oidc

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"

	"github.com/perigee-sched/perigee/api/access"
)

const (
	// keysFresh is how long keys are used before they are fetched again, so that
	// one that the issuer withdrew is used no longer than that; keysMost is how
	// long they are while the issuer does not answer.
	keysFresh = 10 * time.Minute
	keysMost  = 24 * time.Hour
	// askEvery is how often the issuer is asked at most, whoever shows what, and
	// askTimeout how long it may take to answer.
	askEvery   = 5 * time.Second
	askTimeout = 5 * time.Second
	// answerMost bounds its answers, in bytes.
	answerMost = 1 << 20
)

// keys are those that an issuer signs with. It implements oidc.KeySet.
type keys struct {
	issuer string
	client *http.Client
	now    func() time.Time
	log    *slog.Logger

	mu    sync.Mutex
	all   []jose.JSONWebKey
	at    time.Time // when all was fetched
	asked time.Time // when the issuer was asked last
	err   error     // what came of it
}

// VerifySignature implements oidc.KeySet. A key that is not known is looked for
// at the issuer: it may be new.
func (k *keys) VerifySignature(ctx context.Context, jwt string) ([]byte, error) {
	payload, err := k.verify(jwt)
	if asked, ok := ctx.Value(askedKey{}).(*asked); ok {
		asked.err = err
	}
	return payload, err
}

// asked is where the reason goes of a signature that is not verified: go-oidc
// passes on its text alone.
type asked struct{ err error }

type askedKey struct{}

func (k *keys) verify(jwt string) ([]byte, error) {
	signatures := make([]jose.SignatureAlgorithm, len(algorithms))
	for i, a := range algorithms {
		signatures[i] = jose.SignatureAlgorithm(a)
	}
	jws, err := jose.ParseSignedCompact(jwt, signatures)
	if err != nil {
		return nil, err
	}
	all, err := k.get(false)
	if err != nil {
		return nil, err
	}
	if payload, ok := verified(jws, all); ok {
		return payload, nil
	}
	if known(jws, all) {
		return nil, fmt.Errorf("the signature is not the issuer's")
	}
	if all, err = k.get(true); err != nil {
		return nil, err
	}
	if payload, ok := verified(jws, all); ok {
		return payload, nil
	}
	return nil, fmt.Errorf("the issuer has no key %q", jws.Signatures[0].Header.KeyID)
}

func verified(jws *jose.JSONWebSignature, all []jose.JSONWebKey) ([]byte, bool) {
	id := jws.Signatures[0].Header.KeyID
	for i := range all {
		if id != "" && all[i].KeyID != id || all[i].Use == "enc" {
			continue
		}
		if payload, err := jws.Verify(&all[i]); err == nil {
			return payload, true
		}
	}
	return nil, false
}

func known(jws *jose.JSONWebSignature, all []jose.JSONWebKey) bool {
	for i := range all {
		if all[i].KeyID != "" && all[i].KeyID == jws.Signatures[0].Header.KeyID {
			return true
		}
	}
	return false
}

// get returns the keys, fetched anew when they are old or wanted is set, and the
// issuer was not asked just before.
func (k *keys) get(wanted bool) ([]jose.JSONWebKey, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.now()
	if (wanted || now.Sub(k.at) >= keysFresh) && now.Sub(k.asked) >= askEvery {
		k.asked = now
		var fetched []jose.JSONWebKey
		if fetched, k.err = k.fetch(); k.err == nil {
			k.all, k.at = fetched, now
		} else {
			k.log.Warn("the OIDC issuer's keys cannot be fetched", "issuer", k.issuer, "error", k.err)
		}
	}
	if k.err != nil && (wanted || k.all == nil || now.Sub(k.at) >= keysMost) {
		return nil, fmt.Errorf("%w: the OIDC issuer %s does not tell its keys", access.ErrUnavailable, k.issuer)
	}
	return k.all, nil
}

// fetch asks the issuer. Requests of all wait for it, so it has a time of its own.
func (k *keys) fetch() ([]jose.JSONWebKey, error) {
	ctx, cancel := context.WithTimeout(oidc.ClientContext(context.Background(), k.client), askTimeout)
	defer cancel()
	provider, err := oidc.NewProvider(ctx, k.issuer)
	if err != nil {
		return nil, err
	}
	var says struct {
		Keys string `json:"jwks_uri"`
	}
	if err := provider.Claims(&says); err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, says.Keys, nil)
	if err != nil {
		return nil, err
	}
	answer, err := k.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", says.Keys, answer.Status)
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&set); err != nil {
		return nil, fmt.Errorf("read %s: %w", says.Keys, err)
	}
	all := []jose.JSONWebKey{}
	for _, raw := range set.Keys {
		var key jose.JSONWebKey
		if key.UnmarshalJSON(raw) == nil && key.Valid() && key.IsPublic() { // others are of kinds that are not used
			all = append(all, key)
		}
	}
	return all, nil
}

// limited bounds what is read of answers.
func limited(c *http.Client) *http.Client {
	bounded := *c
	inner := c.Transport
	if inner == nil {
		inner = http.DefaultTransport
	}
	bounded.Transport = bounding{inner}
	return &bounded
}

type bounding struct{ inner http.RoundTripper }

func (b bounding) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := b.inner.RoundTrip(r)
	if err == nil {
		answer.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(answer.Body, answerMost), answer.Body}
	}
	return answer, err
}
