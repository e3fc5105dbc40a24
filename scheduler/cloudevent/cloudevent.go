// Package cloudevent tells the journal's events as CloudEvents 1.0, which is
// how they leave Perigee: on the stream, to webhooks and from history.
//
// It owns that form alone; which events there are is core's business.
package cloudevent

import (
	"cmp"
	"encoding/json"
	"strings"
	"time"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// Prefix of the types of events, as consumers see them.
const Prefix = "dev.perigee."

// Of tells an event that has an id. The cluster's name is in its source.
func Of(cluster, id string, e *record.Event) api.Event {
	data := api.EventData{
		Job: e.Job, Task: e.Task, Run: e.Run, Deploy: e.Deploy, Attempt: e.Attempt, Agent: e.Agent, Host: e.Host,
		Ports: e.Ports, State: e.State, Reason: e.Reason, Message: e.Message, Actor: e.Actor, Object: e.Object,
		Audit: audit(e.Audit),
	}
	if strings.HasPrefix(e.Type, "task.") {
		if e.Run == "" {
			instance := e.Instance
			data.Instance = &instance
		}
		if e.ExitCode != 0 || e.Type == "task.finished" {
			code := e.ExitCode
			data.ExitCode = &code
		}
	}
	return api.Event{
		SpecVersion: "1.0", ID: id, Source: Source(cluster), Type: Prefix + e.Type,
		Subject: cmp.Or(e.Job, e.Object, e.Agent), Time: time.UnixMilli(e.At).UTC(), ContentType: "application/json", Data: data,
	}
}

// Source is the source of a cluster's events.
func Source(cluster string) string { return "/perigee/" + cluster }

func audit(a *record.Audit) *api.Audit {
	if a == nil {
		return nil
	}
	return &api.Audit{Operation: a.Operation, Token: a.Token, From: a.From, Key: a.Key, Team: a.Team, Before: raw(a.Before), After: raw(a.After)}
}

// raw passes JSON on as it is. What is none, of another version, is told as a
// string: it must not keep the event from being told.
func raw(b []byte) json.RawMessage {
	if len(b) == 0 {
		return nil
	}
	if json.Valid(b) {
		return b
	}
	text, err := json.Marshal(string(b))
	if err != nil {
		panic(err) // a string can be told
	}
	return text
}
