// Package cloudevent tells the journal's events as CloudEvents 1.0, which is
// how they leave Perigee: on the stream, to webhooks and from history.
//
// It owns that form alone; which events there are is core's business.
package cloudevent

import (
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
		Ports: e.Ports, State: e.State, Reason: e.Reason, Message: e.Message, Actor: e.Actor,
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
		SpecVersion: "1.0", ID: id, Source: "/perigee/" + cluster, Type: Prefix + e.Type,
		Subject: e.Job, Time: time.UnixMilli(e.At).UTC(), ContentType: "application/json", Data: data,
	}
}
