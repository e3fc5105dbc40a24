package cli

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
)

func TestAudit_IsReadByPeople(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	at := time.Date(2026, 11, 21, 3, 11, 39, 0, time.Local)
	a := &app{Streams: Streams{Out: &out}, now: func() time.Time { return at.Add(time.Hour) }}
	entry := api.AuditEntry{Time: at, Actor: "CI (435namd367) for ann", From: "10.0.0.7"}
	of := func(e api.AuditEntry, operation, before, after string) api.AuditEntry {
		e.Time, e.Actor, e.From, e.Operation = entry.Time, entry.Actor, entry.From, operation
		if before != "" {
			e.Before = json.RawMessage(before)
		}
		if after != "" {
			e.After = json.RawMessage(after)
		}
		return e
	}
	require.NoError(t, a.printAudit([]api.AuditEntry{
		of(api.AuditEntry{Job: "web/prod/site"}, "scale-job", `{"instances":2,"digest":"bddbd59eeabb2b0c"}`, `{"instances":3,"digest":"0123456789abcdef","scale_until":"2026-11-21T04:00:00Z"}`),
		of(api.AuditEntry{Job: "web/prod/site"}, "pause-job", `{"paused":false,"pause_reason":""}`, `{"paused":true,"pause_reason":"night \u001b[2J shift"}`),
		of(api.AuditEntry{Job: "web/prod/site", Task: "yqly-000001"}, "kill-task", `{"state":"running"}`, `{"state":"killing"}`),
		of(api.AuditEntry{Job: "ci/prod/build", Run: "r1"}, "cancel-run", `{"state":"active"}`, `{"state":"cancelled"}`),
		of(api.AuditEntry{Object: "435namd367", Team: "web"}, "create-token", "", `{"role":"deployer"}`),
		of(api.AuditEntry{Object: "yqly-00000k", Team: "*"}, "remove-webhook", `{"url":"https://example.com"}`, ""),
		of(api.AuditEntry{Object: "s1", Team: "*"}, "step-down", "", ""),
		of(api.AuditEntry{Job: "web/prod/site"}, "of-a-newer-version", `[1]`, `[2]`),
	}))
	require.Equal(t, `TIME      WHO                      FROM      OPERATION           OF                         CHANGED
03:11:39  CI (435namd367) for ann  10.0.0.7  scale-job           web/prod/site              digest bddbd59eeabb… -> 0123456789ab…, instances 2 -> 3, scale_until 2026-11-21T04:00:00Z
03:11:39  CI (435namd367) for ann  10.0.0.7  pause-job           web/prod/site              pause_reason "" -> "night \x1b[2J shift", paused false -> true
03:11:39  CI (435namd367) for ann  10.0.0.7  kill-task           web/prod/site yqly-000001  state running -> killing
03:11:39  CI (435namd367) for ann  10.0.0.7  cancel-run          ci/prod/build/r1           state active -> cancelled
03:11:39  CI (435namd367) for ann  10.0.0.7  create-token        435namd367 of web          new: role deployer
03:11:39  CI (435namd367) for ann  10.0.0.7  remove-webhook      yqly-00000k                removed: url https://example.com
03:11:39  CI (435namd367) for ann  10.0.0.7  step-down           s1                         -
03:11:39  CI (435namd367) for ann  10.0.0.7  of-a-newer-version  web/prod/site              -
`, out.String())
}
