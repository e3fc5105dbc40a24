package oidc

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// claims are what an issuer says of somebody.
type claims map[string]json.RawMessage

// find returns the claim of a name, or at a path: realm_access.roles.
func (c claims) find(name string) json.RawMessage {
	if raw, ok := c[name]; ok {
		return raw
	}
	head, rest, nested := strings.Cut(name, ".")
	var inner claims
	if !nested || json.Unmarshal(c[head], &inner) != nil {
		return nil
	}
	return inner.find(rest)
}

// texts are the values of a claim that is a string or a list of strings.
func (c claims) texts(name string) []string {
	raw := c.find(name)
	var one string
	if json.Unmarshal(raw, &one) == nil {
		return []string{one}
	}
	var many []string
	if json.Unmarshal(raw, &many) == nil {
		return many
	}
	return nil
}

// time is a claim that is a number of seconds since 1970.
func (c claims) time(name string) (at time.Time, given bool, err error) {
	raw, given := c[name]
	if !given {
		return time.Time{}, false, nil
	}
	var seconds float64
	if err := json.Unmarshal(raw, &seconds); err != nil {
		return time.Time{}, true, fmt.Errorf("%s is no time: %w", name, err)
	}
	return time.Unix(int64(seconds), 0), true, nil
}
