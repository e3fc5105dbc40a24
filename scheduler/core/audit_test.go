package core

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/scheduler/record"
)

// auditor performs requests of a user, and looks at what the audit trail has of
// them.
type auditor struct {
	*world
	seen   map[string]bool // ops of which something was told
	result Result
	err    *Error
}

func newAuditor(t *testing.T) *auditor {
	t.Helper()
	return &auditor{world: leading(t), seen: map[string]bool{}}
}

// trail performs a request, and returns what the trail has of it.
func (a *auditor) trail(op Op) []*record.Event {
	a.t.Helper()
	a.requests++
	ready := a.step(Request{ID: a.requests, Actor: "ann", IdempotencyKey: fmt.Sprintf("key-%d", a.requests), Digest: "d", KeyOf: "t1", Op: op,
		By: By{Operation: "some-operation", Token: "t1", From: "10.0.0.7"}})
	var out []*record.Event
	for _, e := range ready.Events {
		if e.Type == "audit.write" {
			out = append(out, e)
		}
	}
	require.Len(a.t, ready.Replies, 1)
	a.result, a.err = ready.Replies[0].Result, ready.Replies[0].Err
	require.Equal(a.t, a.err == nil && a.result.Changed, len(out) == 1, "%T: one entry for what changed something, and none otherwise", op)
	return out
}

// told performs a request that changes something, and returns what the trail has
// of it, before and after.
func (a *auditor) told(op Op) (e *record.Event, change string) {
	a.t.Helper()
	all := a.trail(op)
	require.Len(a.t, all, 1, "%T: %v", op, a.err)
	e = all[0]
	a.seen[reflect.TypeOf(op).Name()] = true
	require.Equal(a.t, "ann", e.Actor, "%T", op)
	require.Equal(a.t, a.now, e.At, "%T", op)
	require.Equal(a.t, "some-operation", e.Audit.Operation, "%T", op)
	require.Equal(a.t, "t1", e.Audit.Token, "%T", op)
	require.Equal(a.t, "10.0.0.7", e.Audit.From, "%T", op)
	require.Equal(a.t, fmt.Sprintf("key-%d", a.requests), e.Audit.Key, "%T", op)
	require.NotEqual(a.t, e.Job == "", e.Audit.Team == "", "%T: a job's, or a team's", op)
	for _, text := range [][]byte{e.Audit.Before, e.Audit.After} {
		require.True(a.t, len(text) == 0 || json.Valid(text), "%T: %s", op, text)
		require.NotContains(a.t, strings.ToLower(string(text)), "hush", "%T tells a secret", op)
		require.Less(a.t, len(text), 10_000, "%T", op)
	}
	return e, string(e.Audit.Before) + " " + string(e.Audit.After)
}

func (a *auditor) put(text string) PutJob {
	op := PutJob{}
	op.Spec, op.Canonical = a.spec([]byte(text))
	return op
}

const (
	auditedSite  = `{"job":"web/prod/site","kind":"service","instances":2,"env":{"PASSWORD":"hush"}}`
	auditedSite2 = `{"job":"web/prod/site","kind":"service","instances":2,"env":{"PASSWORD":"hush-hush"}}`
	auditedBuild = `{"job":"ci/prod/build","kind":"batch","parameters":{"key":{"type":"string","default":"hush"}}}`
)

// Every operation is told of, with what it changed; none of them tells a secret.
func TestAudit_TellsEveryOperation(t *testing.T) {
	t.Parallel()
	a := newAuditor(t)
	a.ofJobs()
	a.ofDeploys()
	a.ofWebhooks()
	a.ofTokens()
	e, change := a.told(StepDown{})
	require.Equal(t, "*", e.Audit.Team)
	require.NotEmpty(t, e.Object, "who leads")
	require.Equal(t, " ", change)

	for _, op := range operations(t) {
		switch op {
		case "SaveDeliveries", "UseTokens": // a scheduler's own
			require.False(t, a.seen[op], op)
		default:
			require.True(t, a.seen[op], "the audit trail tells nothing of %s: add it to subjectOf, and here", op)
		}
	}
}

// operations are the names of all ops, as the source has them.
func operations(t *testing.T) (names []string) {
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		require.NoError(t, err)
		for _, d := range parsed.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Name.Name == "isOp" {
				names = append(names, f.Recv.List[0].Type.(*ast.Ident).Name)
			}
		}
	}
	require.Greater(t, len(names), 20)
	return names
}

func (a *auditor) ofJobs() {
	t := a.t
	e, change := a.told(a.put(auditedSite))
	require.Equal(t, "web/prod/site", e.Job)
	require.Regexp(t, `^ \{"deploy":1,"digest":"[0-9a-f]{64}","in_progress":1,"instances":2,"step":1\}$`, change, "it did not exist")
	require.Empty(t, a.trail(a.put(auditedSite)), "nothing was changed")
	require.Empty(t, a.trail(ScaleJob{Job: "web/prod/none", Instances: 3}), "it was refused")
	_, change = a.told(ScaleJob{Job: "web/prod/site", Instances: 3})
	require.Equal(t, `{"instances":2} {"instances":3}`, change)
	_, change = a.told(ScaleJob{Job: "web/prod/site", Instances: 0, Until: a.now + 60_000})
	require.Equal(t, `{"instances":3} {"instances":0,"scale_until":"2026-11-21T01:31:00.000Z"}`, change)
	_, change = a.told(SkipHealth{Job: "web/prod/site", Until: a.now + 60_000})
	require.Equal(t, `{"skip_health":false} {"skip_health":true,"skip_health_until":"2026-11-21T01:31:00.000Z"}`, change)
	_, change = a.told(PauseJob{Job: "web/prod/site", Reason: "night"})
	require.Equal(t, `{"pause_reason":"","paused":false} {"pause_reason":"night","paused":true}`, change)
	_, change = a.told(ResumeJob{Job: "web/prod/site"})
	require.Equal(t, `{"pause_reason":"night","paused":true} {"pause_reason":"","paused":false}`, change)
	_, change = a.told(PauseJob{Job: "web/prod/site", Reason: strings.Repeat("é", 200_000)})
	require.Less(t, len(change), 2000, "long texts are cut")
	require.Contains(t, change, "é…")
	a.told(ResumeJob{Job: "web/prod/site"})
	_, change = a.told(RemoveJob{Job: "web/prod/site"})
	require.Contains(t, change, `"removing":true`)

	a.told(a.put(auditedBuild))
	_, change = a.told(StartRuns{Job: "ci/prod/build", Runs: []NewRun{{}, {Parameters: map[string]string{"key": "hush"}}, {}}})
	require.Regexp(t, `^ \{"runs":3,"first":".+","last":".+"\}$`, change, "one for all")
	run := a.result.Runs[0]
	e, change = a.told(CancelRun{Job: "ci/prod/build", Run: run})
	require.Equal(t, run, e.Run)
	require.Equal(t, `{"cancelled":false,"reason":"","state":"active"} {"cancelled":true,"reason":"cancelled by ann","state":"cancelled"}`, change)
	a.told(StartRuns{Job: "ci/prod/build", Runs: []NewRun{{}}})
	task := a.core.findRun("ci/prod/build", a.result.Runs[0]).task.rec.Id
	e, change = a.told(KillTask{Task: task, Reason: "stuck"})
	require.Equal(t, task, e.Task)
	require.Equal(t, "ci/prod/build", e.Job)
	require.Equal(t, `{"state":"pending","stop_reason":""} {"state":"killed","stop_reason":"killed by ann: stuck"}`, change)
	require.Empty(t, a.trail(KillTask{Task: task}), "it is over")
}

func (a *auditor) ofDeploys() {
	t := a.t
	site := func(spec string) PutJob { return a.put(strings.Replace(spec, "/site", "/shop", 1)) }
	a.told(site(auditedSite))
	a.do("offer a1 cpus=40 mem=81920 ports=31000-31099")
	a.do("serve web/prod/shop")
	a.do("settle web/prod/shop")
	_, change := a.told(site(auditedSite2))
	require.Regexp(t, `^\{"deploy":1,"digest":"[0-9a-f]+"\} \{"deploy":2,"digest":"[0-9a-f]+","in_progress":2,"step":1\}$`, change)
	_, change = a.told(SteerDeploy{Job: "web/prod/shop", Action: SteerPause, Reason: "look"})
	require.Equal(t, `{"deploy_paused":false} {"deploy_paused":true}`, change)
	a.now += 2000
	_, change = a.told(SteerDeploy{Job: "web/prod/shop", Action: SteerPulse})
	require.Equal(t, `{} {"pulse_at":"`+a.ago(0)+`"}`, change)
	_, change = a.told(SteerDeploy{Job: "web/prod/shop", Action: SteerCancel})
	require.Contains(t, change, `"returning":true`)
	a.do("settle web/prod/shop")
	_, change = a.told(Bounce{Job: "web/prod/shop"})
	require.Contains(t, change, `"in_progress":3`)
	a.do("settle web/prod/shop")
	a.told(site(strings.Replace(auditedSite, "hush", "hush3", 1)))
	a.do("settle web/prod/shop")
	_, change = a.told(RollBack{Job: "web/prod/shop"})
	require.Regexp(t, `^\{"deploy":4,`, change)
	a.do("settle web/prod/shop")
	e, change := a.told(RestartInstance{Job: "web/prod/shop", Instance: 1})
	require.NotEmpty(t, e.Task)
	require.Equal(t, `{"replace":false} {"replace":true,"restarted_instance":1}`, change)

	group := PutGroup{}
	for _, team := range []string{"web", "web", "ci"} {
		spec, canonical := a.spec([]byte(strings.ReplaceAll(auditedSite, "web/prod/site", fmt.Sprintf("%s/prod/g%d", team, len(group.Specs)))))
		group.Specs, group.Canonical = append(group.Specs, spec), append(group.Canonical, canonical)
	}
	e, change = a.told(group)
	require.Equal(t, "*", e.Audit.Team, "it is of two teams")
	require.Equal(t, ` {"jobs":"web/prod/g0 web/prod/g1 ci/prod/g2","state":"in_progress"}`, change)
	_, change = a.told(CancelGroup{ID: e.Object, Reason: "no"})
	require.Contains(t, change, `"reason":"cancelled by ann: no"`)
	group.Specs, group.Canonical = group.Specs[1:2], group.Canonical[1:2]
	group.Supersede = true
	e, _ = a.told(group)
	require.Equal(t, "web", e.Audit.Team)
}

func (a *auditor) ofWebhooks() {
	t := a.t
	e, change := a.told(CreateWebhook{&record.Webhook{Team: "web", Url: "https://user:hush@example.com/hush?key=hush#hush", Secrets: []*record.WebhookSecret{{Key: "whsec_hush"}}}})
	require.Equal(t, "web", e.Audit.Team)
	require.Regexp(t, `"url":"https://example.com/… \(sha256 [0-9a-f]{8}\)"`, change)
	id := e.Object
	require.NotEmpty(t, id)
	require.Empty(t, a.trail(EnableWebhook{ID: id}), "it is")
	_, change = a.told(UpdateWebhook{ID: id, Job: "web/prod/*", URL: "https://user:hush@example.com/hush2"})
	require.Regexp(t, `^\{"job":"","url":"https://example.com/… \(sha256 .{8}\)"\} \{"job":"web/prod/\*","url":"https://example.com/… \(sha256 .{8}\)"\}$`, change, "that the URL is another can be seen")
	a.now += 1000
	_, change = a.told(RotateSecret{ID: id, Secret: "whsec_hush2", Keep: 60_000})
	require.Equal(t, `{"secret_made_at":"2026-11-21T01:30:00.000Z","secrets":1} {"secret_made_at":"2026-11-21T01:30:01.000Z","secrets":2}`,
		strings.NewReplacer(a.ago(1000), "2026-11-21T01:30:00.000Z", a.ago(0), "2026-11-21T01:30:01.000Z").Replace(change))
	dead := &record.DeadLetter{Webhook: id, At: &record.Position{Incarnation: "abcd", Index: 3}}
	a.step(Request{Op: SaveDeliveries{Webhooks: []DeliveriesOf{{ID: id, Revision: a.core.webhooks[id].rec.Revision, Dead: []*record.DeadLetter{dead}}}}})
	_, change = a.told(Redeliver{ID: id})
	require.Equal(t, `{} {"to_redeliver":1}`, change)
	_, change = a.told(DropDeadLetters{ID: id})
	require.Equal(t, `{"dead_letters":1} {"dead_letters":0}`, change)
	_, change = a.told(DisableWebhook{ID: id, Reason: "night"})
	require.Equal(t, `{"disabled":false,"reason":""} {"disabled":true,"reason":"night"}`, change)
	a.told(EnableWebhook{ID: id})
	e, change = a.told(RemoveWebhook{ID: id})
	require.Equal(t, "web", e.Audit.Team)
	require.Regexp(t, `^\{.*"job":"web/prod/\*".*\} $`, change, "it is gone")
}

// ago is a time as the trail has it.
func (a *auditor) ago(ms int64) string { return moment(a.now - ms) }

func (a *auditor) ofTokens() {
	t := a.t
	made := newToken("a")
	made.Hash = []byte("hush")
	e, _ := a.told(InitToken{made})
	require.Equal(t, "*", e.Audit.Team)
	require.Equal(t, "a", e.Object)
	made = newToken("b")
	made.Hash, made.Team, made.Role, made.Description = []byte("hush"), "web", "deployer", "CI"
	e, change := a.told(CreateToken{made})
	require.Equal(t, "web", e.Audit.Team)
	require.Equal(t, ` {"description":"CI","role":"deployer","team":"web"}`, change)
	_, change = a.told(RevokeToken{"b"})
	require.Equal(t, `{"revoked_at":""} {"revoked_at":"`+a.ago(0)+`"}`, change)
	require.Empty(t, a.trail(RevokeToken{"b"}), "it was before")
}

// A request that is repeated with its key is executed, and told, once.
func TestAudit_TellsWhatIsRepeatedOnce(t *testing.T) {
	t.Parallel()
	a := newAuditor(t)
	r := Request{ID: 1, Actor: "ann", IdempotencyKey: "k", Digest: "d", Op: CreateToken{newToken("a")}, By: By{Operation: "create-token"}}
	require.Len(t, a.step(r).Events, 1)
	require.Empty(t, a.step(r).Events)
}

// What a scheduler asks of itself is in no trail.
func TestAudit_IsOfUsers(t *testing.T) {
	t.Parallel()
	a := newAuditor(t)
	require.Empty(t, a.step(Request{ID: 1, Op: CreateToken{newToken("a")}}).Events)
}
