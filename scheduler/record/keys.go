package record

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"
)

// Keys of the records there is one of.
const (
	KeyCluster     = "cluster"
	KeyLeader      = "leader"
	KeyWebhookTail = "webhooktail"
)

// Prefixes of the keys of all others. Within a job the keys sort as a person
// would: deploys by number, scheduled runs by instant.
const (
	PrefixJob         = "job/"
	PrefixDeploy      = "deploy/"
	PrefixRollout     = "rollout/"
	PrefixGroup       = "group/"
	PrefixRun         = "run/"
	PrefixTask        = "task/"
	PrefixIdempotency = "idempotency/"
	PrefixRecorder    = "recorder/"
	PrefixAgent       = "agent/"

	PrefixWebhook       = "webhook/"
	PrefixWebhookCursor = "webhookcursor/"
	PrefixDeadLetter    = "deadletter/"
	PrefixToken         = "token/"
)

// JobKey is the key of a job's record; job is "team/stage/name".
func JobKey(job string) string { return PrefixJob + job }

// DeployKey is the key of a deploy's record.
func DeployKey(job string, number uint32) string {
	return fmt.Sprintf("%s%s/%08d", PrefixDeploy, job, number)
}

// RolloutKey is the key of the record of a job's deploy that goes on.
func RolloutKey(job string) string { return PrefixRollout + job }

// GroupKey is the key of a deploy group's record.
func GroupKey(id string) string { return PrefixGroup + id }

// RunKey is the key of a run's record.
func RunKey(job, id string) string { return PrefixRun + job + "/" + id }

// TaskKey is the key of a task's record.
func TaskKey(id string) string { return PrefixTask + id }

// IdempotencyKey is the key of the kept answer to a request.
func IdempotencyKey(key string) string { return PrefixIdempotency + key }

// ScopedKey is an idempotency key as somebody's own; everybody's when of is "".
func ScopedKey(of, key string) string {
	if of == "" {
		return key
	}
	return of + "/" + key
}

// RecorderKey is the key of a scheduler's record about its history.
func RecorderKey(address string) string { return PrefixRecorder + address }

// KeyOf is the key of the record of a task, run or deploy.
func KeyOf(m Message) string {
	switch m := m.(type) {
	case *Task:
		return TaskKey(m.Id)
	case *Run:
		return RunKey(m.Job, m.Id)
	case *Deploy:
		return DeployKey(m.Job, m.Number)
	}
	panic(fmt.Sprintf("record: no key of a %T", m))
}

// WebhookKey is the key of a webhook's record.
func WebhookKey(id string) string { return PrefixWebhook + id }

// WebhookCursorKey is the key of the record of how far a webhook is.
func WebhookCursorKey(id string) string { return PrefixWebhookCursor + id }

// DeadLetterKey is the key of an event that a webhook could not be told of. The
// keys of a webhook's dead letters sort as their events.
func DeadLetterKey(webhook string, at *Position) string {
	return fmt.Sprintf("%s%s/%s-%020d-%010d", PrefixDeadLetter, webhook, at.GetIncarnation(), at.GetIndex(), at.GetOrdinal())
}

// AgentKey is the key of an agent's record.
func AgentKey(id string) string { return PrefixAgent + id }

// TokenKey is the key of a token's record.
func TokenKey(id string) string { return PrefixToken + id }

// New returns an empty record of the type that key holds, nil for a key of a
// type that this version does not know.
func New(key string) proto.Message {
	switch {
	case key == KeyCluster:
		return new(Cluster)
	case key == KeyLeader:
		return new(Leader)
	case key == KeyWebhookTail:
		return new(WebhookTail)
	case strings.HasPrefix(key, PrefixTask):
		return new(Task)
	case strings.HasPrefix(key, PrefixRun):
		return new(Run)
	case strings.HasPrefix(key, PrefixJob):
		return new(Job)
	case strings.HasPrefix(key, PrefixDeploy):
		return new(Deploy)
	case strings.HasPrefix(key, PrefixRollout):
		return new(Rollout)
	case strings.HasPrefix(key, PrefixGroup):
		return new(Group)
	case strings.HasPrefix(key, PrefixIdempotency):
		return new(IdempotentReply)
	case strings.HasPrefix(key, PrefixRecorder):
		return new(Recorder)
	case strings.HasPrefix(key, PrefixWebhook):
		return new(Webhook)
	case strings.HasPrefix(key, PrefixWebhookCursor):
		return new(WebhookCursor)
	case strings.HasPrefix(key, PrefixDeadLetter):
		return new(DeadLetter)
	case strings.HasPrefix(key, PrefixAgent):
		return new(Agent)
	case strings.HasPrefix(key, PrefixToken):
		return new(Token)
	}
	return nil
}

// Decode reads the record that is stored under key; nil and no error when this
// version does not know its type.
func Decode(key string, value []byte) (proto.Message, error) {
	m := New(key)
	if m == nil {
		return nil, nil
	}
	if err := proto.Unmarshal(value, m); err != nil {
		return nil, fmt.Errorf("decode record %q: %w", key, err)
	}
	return m, nil
}

// Message is any record.
type Message = proto.Message
