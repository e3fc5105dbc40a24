// Package exchange has the record of what schedulers and the Mesos master told
// each other, as the master saw it: a file of one line each, which the cluster's
// process writes and tests read. Offers and heartbeats are left out.
package exchange

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"

	"github.com/perigee-sched/perigee/devcluster"
)

// Line is one call or one event.
type Line struct {
	At     time.Time
	Stream string
	Kind   string // SUBSCRIBE, ACCEPT …, or of an event: SUBSCRIBED, UPDATE, ERROR
	Status int    // of a call's answer; 0 for an event
	URL    string // of the scheduler, in SUBSCRIBE
	Tasks  []Task // that ACCEPT launches, KILL ends, RECONCILE asks for, ACKNOWLEDGE and UPDATE are about
	UUID   string // of an update or its acknowledgement, hexadecimal
	State  string // of an update: TASK_RUNNING
}

// Task names one, and where it is.
type Task struct{ ID, Agent string }

// Call says whether a scheduler said it, and not the master.
func (l Line) Call() bool { return l.Status != 0 }

// Accepted says whether it is a call that took effect.
func (l Line) Accepted() bool { return l.Status >= 200 && l.Status < 300 }

// Writer returns what Options.Exchanges takes: it appends lines to a file.
func Writer(path string, failed func(error)) (func(devcluster.Exchange), error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	return func(e devcluster.Exchange) {
		l, ok := lineOf(e)
		if !ok {
			return
		}
		b, err := json.Marshal(l)
		if err == nil {
			_, err = f.Write(append(b, '\n'))
		}
		if err != nil {
			failed(fmt.Errorf("record exchange: %w", err))
		}
	}, nil
}

// Read returns all lines of a file. The last may be cut off, where the writer
// was killed.
func Read(path string) ([]Line, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var all []Line
	for line := range bytes.Lines(text) {
		var l Line
		if err := json.Unmarshal(line, &l); err != nil {
			if !bytes.HasSuffix(line, []byte("\n")) {
				break
			}
			return nil, fmt.Errorf("%s, line %d: %w", path, len(all)+1, err)
		}
		all = append(all, l)
	}
	return all, nil
}

func lineOf(e devcluster.Exchange) (Line, bool) {
	l := Line{At: e.At, Stream: e.Stream, Status: e.Status}
	if e.Call == nil {
		l.Kind = e.Event.Type.String()
		switch e.Event.Type {
		case scheduler.Event_OFFERS, scheduler.Event_RESCIND, scheduler.Event_HEARTBEAT:
			return l, false
		case scheduler.Event_UPDATE:
			s := e.Event.Update.Status
			l.Tasks, l.State, l.UUID = []Task{{s.TaskID.Value, s.GetAgentID().GetValue()}}, s.GetState().String(), hex.EncodeToString(s.UUID)
		}
		return l, true
	}
	l.Kind = e.Call.Type.String()
	switch c := e.Call; c.Type {
	case scheduler.Call_SUBSCRIBE:
		l.URL = c.Subscribe.FrameworkInfo.GetWebUiURL()
	case scheduler.Call_ACCEPT:
		for _, o := range c.Accept.Operations {
			for _, t := range o.GetLaunch().GetTaskInfos() {
				l.Tasks = append(l.Tasks, Task{t.TaskID.Value, t.AgentID.Value})
			}
		}
	case scheduler.Call_KILL:
		l.Tasks = []Task{{c.Kill.TaskID.Value, agent(c.Kill.AgentID)}}
	case scheduler.Call_ACKNOWLEDGE:
		l.Tasks, l.UUID = []Task{{c.Acknowledge.TaskID.Value, c.Acknowledge.AgentID.Value}}, hex.EncodeToString(c.Acknowledge.UUID)
	case scheduler.Call_RECONCILE:
		for _, t := range c.Reconcile.Tasks {
			l.Tasks = append(l.Tasks, Task{t.TaskID.Value, agent(t.AgentID)})
		}
	}
	return l, true
}

func agent(id *mesos.AgentID) string {
	if id == nil {
		return ""
	}
	return id.Value
}
