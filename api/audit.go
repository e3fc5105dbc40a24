package api

import (
	"encoding/json"
	"strings"
	"time"
)

// AuditType is the type of the events of the audit trail, without EventPrefix.
const AuditType = auditPrefix + "write"

const auditPrefix = "audit."

// AsksForAudit says whether a pattern of types asks for the audit trail, which * alone
// does not: it says from where people write and with which keys.
func AsksForAudit(pattern string) bool { return strings.HasPrefix(pattern, auditPrefix) }

// AuditEntry is one write of the audit trail.
type AuditEntry struct {
	ID        string    `json:"id"` // of the event
	Time      time.Time `json:"time"`
	Actor     string    `json:"actor"`
	Operation string    `json:"operation"`
	Token     string    `json:"token,omitempty"`
	From      string    `json:"from,omitempty"`
	Key       string    `json:"key,omitempty"`
	Job       string    `json:"job,omitempty"`
	Task      string    `json:"task,omitempty"`
	Run       string    `json:"run,omitempty"`
	// Object is the id of a deploy group, webhook or token; Team whose it is.
	Object string          `json:"object,omitempty"`
	Team   string          `json:"team,omitempty"`
	Before json.RawMessage `json:"before,omitempty"`
	After  json.RawMessage `json:"after,omitempty"`
}

// RefusedRequest is a request that was refused for who it was from. A scheduler keeps
// the latest in memory.
type RefusedRequest struct {
	Time      time.Time `json:"time"`
	Status    int       `json:"status"` // 401, 403 or 429
	Operation string    `json:"operation"`
	Path      string    `json:"path"`
	From      string    `json:"from"`
	Caller    string    `json:"caller,omitempty"` // absent of strangers
	Detail    string    `json:"detail"`
}
