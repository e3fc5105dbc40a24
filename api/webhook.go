package api

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/perigee-sched/perigee/api/strict"
)

// AllTeams is the team of a webhook that is told of the events of all teams, and
// of those that are no team's.
const AllTeams = "*"

// WebhookRequest asks for a webhook, or for a change of one.
type WebhookRequest struct {
	// Team whose webhook it is, and whose events it is told of; AllTeams is told
	// of all. When absent, the one that Job names. It cannot be changed.
	Team string `json:"team,omitempty"`
	// Job is a pattern of team/stage/name: web/prod/*. All of the team when absent.
	Job string `json:"job,omitempty"`
	// Types are patterns of events' types: task.*, deploy.failed. All when absent.
	Types []string `json:"types,omitempty"`
	// URL that events are POSTed to.
	URL         string `json:"url"`
	Description string `json:"description,omitempty"`
	// Secret that deliveries are signed with, when it is not to be a new one:
	// whsec_ and the base64 of 24 to 64 bytes. Only when a webhook is made.
	Secret string `json:"secret,omitempty"`
}

// The states of a webhook.
const (
	WebhookActive   = "active"   // events are delivered as they come
	WebhookFailing  = "failing"  // the last delivery failed; it is tried again
	WebhookDisabled = "disabled" // nothing is delivered
)

// Webhook is a subscription to events.
type Webhook struct {
	ID          string   `json:"id"`
	Revision    uint64   `json:"revision"` // what If-Match takes
	Team        string   `json:"team"`     // or AllTeams
	Job         string   `json:"job,omitempty"`
	Types       []string `json:"types,omitempty"`
	URL         string   `json:"url"`
	Description string   `json:"description,omitempty"`
	State       string   `json:"state"`
	// Reason says why it fails or is disabled, since when Since. RetryAt is when
	// one that fails is tried again.
	Reason  string     `json:"reason,omitempty"`
	Since   *time.Time `json:"since,omitempty"`
	RetryAt *time.Time `json:"retry_at,omitempty"`
	// Secrets that deliveries are signed with, without their text, the newest first.
	Secrets []WebhookSecret `json:"secrets"`
	// DeadLetters could not be delivered; DeadLettersDropped went since there were
	// too many.
	DeadLetters        int       `json:"dead_letters"`
	DeadLettersDropped uint64    `json:"dead_letters_dropped,omitempty"`
	CreatedAt          time.Time `json:"created_at"`
	CreatedBy          string    `json:"created_by"`
	UpdatedAt          time.Time `json:"updated_at"`
	UpdatedBy          string    `json:"updated_by"`
}

// WebhookSecret is a secret without its text.
type WebhookSecret struct {
	CreatedAt time.Time `json:"created_at"`
	// ExpiresAt is when one that another has replaced is no longer used.
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
}

// WrittenWebhook answers a write of a webhook: the webhook afterwards.
type WrittenWebhook struct {
	Webhook
	Changed bool `json:"changed"`
	Created bool `json:"created,omitempty"`
	// Secret is the text of the newest secret, in the answer to the write that
	// made it and never again.
	Secret   string   `json:"secret,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
}

// RotateSecretRequest asks for a new secret.
type RotateSecretRequest struct {
	// Secret to use, when it is not to be a new one.
	Secret string `json:"secret,omitempty"`
	// Keep is how long those before stay valid beside it, so that the consumer can
	// be told; DefaultSecretKeep when absent, at most MaxSecretKeep.
	Keep *Duration `json:"keep,omitempty"`
}

// How long a secret stays valid that another has replaced.
const (
	DefaultSecretKeep = Duration(24 * time.Hour)
	MaxSecretKeep     = Duration(30 * 24 * time.Hour)
)

// EnableWebhookRequest has a disabled webhook deliver again.
type EnableWebhookRequest struct {
	// Replay delivers what happened since it was disabled, too, as far as it is
	// kept.
	Replay bool `json:"replay,omitempty"`
}

// WebhookTest is what came of a test event.
type WebhookTest struct {
	Event     string `json:"event"` // its id
	Delivered bool   `json:"delivered"`
	// Status that the consumer answered, absent when it did not, and the beginning
	// of the answer.
	Status int    `json:"status,omitempty"`
	Body   string `json:"body,omitempty"`
	// Error says why it was not delivered.
	Error string   `json:"error,omitempty"`
	Took  Duration `json:"took"`
}

// WebhookDeliveries is how far a webhook's deliveries are now. The counts begin
// when the webhook was made, but for some of the last minute before another
// scheduler led.
type WebhookDeliveries struct {
	Webhook string `json:"webhook"`
	State   string `json:"state"`
	// Through is the event up to which all of the webhook's events were delivered,
	// or wait as Waiting counts. Newest is the newest event there is.
	Through string `json:"through"`
	Newest  string `json:"newest"`
	// Reading says where the webhook's events are read from that came meanwhile:
	// "log" or "history"; absent while it keeps up. NotRead says why they cannot be.
	Reading string `json:"reading,omitempty"`
	NotRead string `json:"not_read,omitempty"`
	// Waiting events were taken up and not delivered yet, UnderWay is how many are
	// being delivered now, and Oldest when the oldest of them happened.
	Waiting  int        `json:"waiting"`
	UnderWay int        `json:"under_way"`
	Oldest   *time.Time `json:"oldest,omitempty"`
	// RetryAt is when the consumer is tried again, which fails since FailingSince.
	FailingSince *time.Time `json:"failing_since,omitempty"`
	RetryAt      *time.Time `json:"retry_at,omitempty"`
	// Held are jobs whose events wait for one that failed.
	Held []HeldJob `json:"held,omitempty"`
	// Delivered events and Failed attempts. Untold events were gone before they
	// could be delivered; Gaps say where that was, and where it is not known how
	// many were.
	Delivered   uint64       `json:"delivered"`
	Failed      uint64       `json:"failed"`
	Untold      uint64       `json:"untold,omitempty"`
	Gaps        []WebhookGap `json:"gaps,omitempty"`
	DeliveredAt *time.Time   `json:"delivered_at,omitempty"`
	// Attempts are the latest ones of this leader, the newest first.
	Attempts []WebhookAttempt `json:"attempts"`
}

// HeldJob is a job whose events wait for one that failed.
type HeldJob struct {
	Job      string    `json:"job"` // "" is of events that are about no job
	Event    string    `json:"event"`
	Waiting  int       `json:"waiting"`
	Attempts int       `json:"attempts"`
	Since    time.Time `json:"since"`
	RetryAt  time.Time `json:"retry_at"`
	Error    string    `json:"error"`
}

// WebhookGap is where events could not be told, since they were no longer kept:
// after one event, up to another.
type WebhookGap struct {
	After   string    `json:"after"`
	Through string    `json:"through"`
	At      time.Time `json:"at"`
}

// WebhookAttempt is one delivery that was tried.
type WebhookAttempt struct {
	At        time.Time `json:"at"`
	Event     string    `json:"event"`
	Type      string    `json:"type"`
	Job       string    `json:"job,omitempty"`
	Attempt   int       `json:"attempt"`
	Delivered bool      `json:"delivered"`
	Status    int       `json:"status,omitempty"`
	Error     string    `json:"error,omitempty"`
	Took      Duration  `json:"took"`
}

// DeadLetter is an event that could not be delivered.
type DeadLetter struct {
	Event    string    `json:"event"` // its id
	Type     string    `json:"type"`
	Job      string    `json:"job,omitempty"`
	Time     time.Time `json:"time"` // of the event
	Attempts int       `json:"attempts"`
	FirstAt  time.Time `json:"first_at"`
	LastAt   time.Time `json:"last_at"`
	Error    string    `json:"error"`
	// Redelivering is since when it is to be delivered once more.
	Redelivering *time.Time `json:"redelivering,omitempty"`
}

// DeadLettersRequest names dead letters by their events.
type DeadLettersRequest struct {
	// Events by id; all when absent.
	Events []string `json:"events,omitempty"`
}

// WrittenDeadLetters answers a write of dead letters.
type WrittenDeadLetters struct {
	Webhook string `json:"webhook"`
	Changed bool   `json:"changed"`
	// Count of the dead letters that are to be delivered once more, or that were
	// dropped.
	Count int `json:"count"`
}

// What a webhook may have, in bytes where it is text.
const (
	MaxWebhookURL         = 2048
	MaxWebhookDescription = 1024
	MaxWebhookTypes       = 50
	MaxEventType          = 64
	// MaxEventsNamed is how many dead letters one request may name.
	MaxEventsNamed = 1000
)

// EventPrefix of the types of events. Patterns of types may leave it out.
const EventPrefix = "dev.perigee."

// Normalize fills in what follows from the rest: the team that the job's pattern
// names, types without their prefix.
func (r *WebhookRequest) Normalize() {
	for i, t := range r.Types {
		r.Types[i] = strings.TrimPrefix(t, EventPrefix)
	}
	if team, _, _ := strings.Cut(r.Job, "/"); r.Team == "" && jobPart.MatchString(team) {
		r.Team = team
	}
}

// Validate returns an Invalid that lists everything that is wrong with a request
// that was normalized, nil when nothing is.
func (r *WebhookRequest) Validate() error {
	var p problems
	if r.Team != AllTeams && !jobPart.MatchString(r.Team) {
		if r.Team == "" {
			p.add("team", nil, "is missing: name the team whose events are told, or %s for all", AllTeams)
		} else {
			p.add("team", r.Team, "%q is not a team: it must be 1 to 63 lower-case letters, digits and inner hyphens, or %s for all", strict.Shorten(r.Team), AllTeams)
		}
	}
	p.jobPattern(r)
	p.eventTypes(r.Types)
	p.webhookURL(r.URL)
	p.text("description", r.Description, MaxWebhookDescription)
	if r.Secret != "" {
		if _, err := WebhookKey(r.Secret); err != nil {
			p.add("secret", nil, "%v", err)
		}
	}
	if len(p) > 0 {
		return Invalid(p)
	}
	return nil
}

// jobPattern wants a pattern that can be true of a job of the team.
func (p *problems) jobPattern(r *WebhookRequest) {
	if r.Job == "" {
		return
	}
	if !p.pattern("job", r.Job, 3*64) {
		return
	}
	team, rest, _ := strings.Cut(r.Job, "/")
	switch {
	case strings.Count(rest, "/") != 1:
		p.add("job", r.Job, "%q is no pattern of jobs: it is written team/stage/name, each of which may be or have a *: web/prod/*", strict.Shorten(r.Job))
	case r.Team != AllTeams && team != "*" && team != r.Team:
		p.add("job", r.Job, "%q is not of the team %s: begin it with %s/", strict.Shorten(r.Job), r.Team, r.Team)
	}
}

func (p *problems) pattern(at, text string, most int) bool {
	if !p.line(at, text, most) {
		return false
	}
	if _, err := path.Match(text, ""); err != nil {
		p.add(at, text, "is not a pattern: * stands for any part of a name, ? for one character, [ab] for one of these")
		return false
	}
	return true
}

func (p *problems) eventTypes(types []string) {
	p.count("types", len(types), MaxWebhookTypes)
	seen := map[string]bool{}
	for i, t := range types[:min(len(types), MaxWebhookTypes)] {
		at := strict.Index("types", i)
		if !p.pattern(at, t, MaxEventType) {
			continue
		}
		if seen[t] {
			p.add(at, t, "%q is given twice", strict.Shorten(t))
		}
		seen[t] = true
	}
}

// webhookURL wants a URL that can be POSTed to, and that has nothing which must
// not be shown.
func (p *problems) webhookURL(text string) {
	const like = "write it as https://consumer.example.com/perigee"
	if !p.line("url", text, MaxWebhookURL) {
		return
	}
	u, err := url.Parse(text)
	if err != nil {
		var at *url.Error
		if errors.As(err, &at) {
			err = at.Err
		}
		p.add("url", text, "is not a URL (%v): %s", err, like)
		return
	}
	port, portErr := strconv.ParseUint(u.Port(), 10, 16)
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		p.add("url", text, "is not a URL of http or https: %s", like)
	case u.Hostname() == "" || u.Opaque != "":
		p.add("url", text, "names no host: %s", like)
	case u.Port() != "" && (portErr != nil || port == 0):
		p.add("url", text, "has a port that is none: it must be from 1 to 65535")
	}
	if u.User != nil {
		p.add("url", nil, "has a user or password in it, which everyone would see who may read the webhook: leave it out, and verify the signature of deliveries instead")
	}
	if u.Fragment != "" {
		p.add("url", text, "has a fragment (#%s), which is not sent: leave it out", u.Fragment)
	}
}

// webhookSecretPrefix begins the text of a secret, by the Standard Webhooks
// convention.
const webhookSecretPrefix = "whsec_"

// Bytes of a secret's key.
const (
	MinWebhookKey = 24
	MaxWebhookKey = 64
)

// WebhookKey is the key that a secret's text stands for.
func WebhookKey(secret string) ([]byte, error) {
	text, ok := strings.CutPrefix(secret, webhookSecretPrefix)
	key, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil || len(key) < MinWebhookKey || len(key) > MaxWebhookKey {
		return nil, fmt.Errorf("is not a secret: it is %s and the base64 of %d to %d random bytes", webhookSecretPrefix, MinWebhookKey, MaxWebhookKey)
	}
	return key, nil
}

// WebhookSecretOf is the text of the secret with a key.
func WebhookSecretOf(key []byte) string {
	return webhookSecretPrefix + base64.StdEncoding.EncodeToString(key)
}
