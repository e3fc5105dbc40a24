package api

import (
	"encoding/json"
	"time"
)

// Event is a durable change, as a CloudEvent 1.0. ID orders events and resumes
// a stream.
type Event struct {
	SpecVersion string `json:"specversion"` // 1.0
	ID          string `json:"id"`          // incarnation-index-ordinal
	Source      string `json:"source"`
	Type        string `json:"type"` // dev.perigee.task.running, …
	// Subject is the job; of an event that is about no job, the id of the agent,
	// deploy group, webhook, token or scheduler that it is about.
	Subject     string    `json:"subject,omitempty"`
	Time        time.Time `json:"time"`
	ContentType string    `json:"datacontenttype"` // application/json
	Data        EventData `json:"data"`
}

// EventData is what an event tells; fields that do not apply are absent.
type EventData struct {
	Job      string   `json:"job,omitempty"`
	Task     string   `json:"task,omitempty"`
	Run      string   `json:"run,omitempty"`
	Deploy   uint32   `json:"deploy,omitempty"`
	Instance *uint32  `json:"instance,omitempty"`
	Attempt  uint32   `json:"attempt,omitempty"`
	Agent    string   `json:"agent,omitempty"`
	Host     string   `json:"host,omitempty"`
	Ports    []uint32 `json:"ports,omitempty"`
	State    string   `json:"state,omitempty"`
	Reason   string   `json:"reason,omitempty"`
	Message  string   `json:"message,omitempty"`
	Actor    string   `json:"actor,omitempty"`
	ExitCode *int32   `json:"exit_code,omitempty"`
	// Object is the id of what the event is about that has no field of its own:
	// of a deploy group, a webhook, a token, a scheduler.
	Object string `json:"object,omitempty"`
	// Audit says more of a write that somebody asked for.
	Audit *Audit `json:"audit,omitempty"`
}

// Audit is who asked for a write, how, and what it changed.
type Audit struct {
	Operation string `json:"operation"` // as the API calls it: put-job, scale-job, …
	// Token by its id, or issuer and subject of an OIDC token; absent when no
	// token was needed.
	Token string `json:"token,omitempty"`
	From  string `json:"from,omitempty"` // address of the client
	Key   string `json:"key,omitempty"`  // Idempotency-Key
	// Team of what is about no one job; "*": of all.
	Team string `json:"team,omitempty"`
	// Before and After are what was changed: absent before it existed, and when
	// it is gone.
	Before json.RawMessage `json:"before,omitempty"`
	After  json.RawMessage `json:"after,omitempty"`
}
