package api

import "time"

// Token is what a user or program shows to the API, without its text.
type Token struct {
	ID          string   `json:"id"`
	Team        string   `json:"team"` // "*": all
	Role        string   `json:"role"`
	Stages      []string `json:"stages,omitempty"` // absent: all
	Description string   `json:"description,omitempty"`
	// State is active, expired or revoked.
	State     string     `json:"state"`
	CreatedAt time.Time  `json:"created_at"`
	CreatedBy string     `json:"created_by"`
	ExpiresAt *time.Time `json:"expires_at,omitempty"` // absent: never
	RevokedAt *time.Time `json:"revoked_at,omitempty"`
	RevokedBy string     `json:"revoked_by,omitempty"`
	// LastUsedAt is when it was last shown to a scheduler that led, to the minute,
	// and LastUsedFrom from which address.
	LastUsedAt   *time.Time `json:"last_used_at,omitempty"`
	LastUsedFrom string     `json:"last_used_from,omitempty"`
}

// The states of tokens.
const (
	TokenActive  = "active"
	TokenExpired = "expired"
	TokenRevoked = "revoked"
)

// TokenRequest asks for a token.
type TokenRequest struct {
	Team        string   `json:"team"` // "*": all
	Role        string   `json:"role"`
	Stages      []string `json:"stages,omitempty"` // none: all
	Description string   `json:"description,omitempty"`
	// ExpiresIn is how long it is valid: DefaultTokenLife when absent.
	ExpiresIn *Duration `json:"expires_in,omitempty"`
	// NeverExpires: it is valid until it is revoked.
	NeverExpires bool `json:"never_expires,omitempty"`
}

// DefaultTokenLife is how long a token is valid that was asked for without
// saying.
const DefaultTokenLife = Duration(365 * 24 * time.Hour)

// InitRequest asks for the first token.
type InitRequest struct {
	// Code is the one that the leading scheduler has written to its log.
	Code        string `json:"code"`
	Description string `json:"description,omitempty"`
}

// WrittenToken answers a write of a token: the token afterwards.
type WrittenToken struct {
	Token
	// Text is what is shown to the API. It is told once, when the token is made:
	// nobody can tell it later, not even when the request is repeated.
	Text     string   `json:"text,omitempty"`
	Changed  bool     `json:"changed"`
	Warnings []string `json:"warnings,omitempty"`
}

// Caller says who asks, and what they may do.
type Caller struct {
	// Name that events and the audit trail have of the caller.
	Name string `json:"name"`
	// ID of the token, or of whom an OIDC issuer vouched for; absent when nobody
	// is asked who they are.
	ID string `json:"id,omitempty"`
	// Everything says that everybody may do everything: access.mode is open.
	Everything bool          `json:"everything,omitempty"`
	Grants     []CallerGrant `json:"grants,omitempty"`
	// From is the address that the request came from.
	From string `json:"from"`
}

// CallerGrant is a role that a caller has.
type CallerGrant struct {
	Role   string   `json:"role"`
	Team   string   `json:"team"`             // "*": all
	Stages []string `json:"stages,omitempty"` // absent: all
}
