package api

import (
	"slices"
	"strings"
	"time"
)

// EventKind is a kind of events: those whose types begin alike.
type EventKind struct {
	Name  string // task
	About string // what they are about
	Types []EventType
}

// EventType is one type of events.
type EventType struct {
	Type  string // without EventPrefix: task.running
	Means string // when it is told, and what follows
	// Always are the fields that EventData always has in it, and Sometimes those
	// that it may have besides.
	Always, Sometimes []string
	Example           Event
}

// EventKinds is the catalogue: all that Perigee tells. docs/events.md is made from
// it, and nothing is told that is not in it.
func EventKinds() []EventKind {
	var kinds []EventKind
	for _, table := range []kindTable{taskEvents, runEvents, deployEvents, groupEvents, jobEvents, agentEvents, schedulerEvents, webhookEvents, auditEvents} {
		kinds = append(kinds, table.kind())
	}
	return kinds
}

// EventTypes are the types of all kinds, by name without EventPrefix.
func EventTypes() map[string]EventType {
	types := map[string]EventType{}
	for _, kind := range EventKinds() {
		for _, t := range kind.Types {
			types[t.Type] = t
		}
	}
	return types
}

// kindTable is how the catalogue is written down: what the types of a kind have
// in common, once.
type kindTable struct {
	name, about       string
	always, sometimes string // fields, separated by spaces
	example           EventData
	types             []typeRow
}

// typeRow is a type: what follows the kind's name and a point, what it means,
// which of the fields it has always that others of its kind have sometimes, and
// what its example has else than the kind's.
type typeRow struct {
	name, means string
	always      string
	example     func(*EventData)
}

// ofAll are fields that events of any type may have: who caused it, where
// somebody did, and what they asked for.
var ofAll = []string{"actor", "audit"}

func (k kindTable) kind() EventKind {
	out := EventKind{Name: k.name, About: k.about}
	for _, row := range k.types {
		t := EventType{Type: k.name + "." + row.name, Means: row.means, Always: strings.Fields(k.always + " " + row.always)}
		for _, field := range append(strings.Fields(k.sometimes), ofAll...) {
			if !slices.Contains(t.Always, field) {
				t.Sometimes = append(t.Sometimes, field)
			}
		}
		data := k.example
		if row.example != nil {
			row.example(&data)
		}
		t.Example = exampleOf(t.Type, data)
		out.Types = append(out.Types, t)
	}
	return out
}

// exampleOf is an event as it may have happened.
func exampleOf(typ string, data EventData) Event {
	subject := data.Job
	for _, other := range []string{data.Object, data.Agent} {
		if subject == "" {
			subject = other
		}
	}
	return Event{SpecVersion: "1.0", ID: "yqly-1041-3", Source: "/perigee/main", Type: EventPrefix + typ, Subject: subject,
		Time: time.Date(2026, 11, 21, 3, 11, 39, 120e6, time.UTC), ContentType: "application/json", Data: data}
}

func exampleState(state string) func(*EventData) { return func(d *EventData) { d.State = state } }

func exampleReason(reason string) func(*EventData) { return func(d *EventData) { d.Reason = reason } }

func exampleEnd(state, reason string) func(*EventData) {
	return func(d *EventData) { d.State, d.Reason = state, reason }
}
