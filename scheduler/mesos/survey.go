package mesos

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/master"

	"github.com/perigee-sched/perigee/scheduler/core"
)

// Survey is what a master has of one framework, as its operator API tells.
type Survey struct {
	Master string // host:port
	// Connected: a scheduler is subscribed as the framework now; at WebUI.
	Connected bool
	WebUI     string
	// Removed: Mesos does not accept the framework's id any more.
	Removed bool
	// Tasks that are not over, and Ended: how those ended that Mesos still remembers.
	Tasks []SurveyTask
	Ended map[string]string // by id: FINISHED, FAILED …
	// Agents that are registered: host by id. Recovered are those that a new
	// master still waits for.
	Agents    map[string]string
	Recovered int
}

// SurveyTask is a task that Mesos has.
type SurveyTask struct {
	ID, Name, Agent string
	State           core.MesosState
	Unreachable     bool // with its agent
	Healthy         *bool
}

// Survey asks the leading master about a framework; it changes nothing.
func (d *Driver) Survey(ctx context.Context, framework string) (*Survey, error) {
	masters, err := d.newDetector()
	if err != nil {
		return nil, err
	}
	defer masters.close()
	defer context.AfterFunc(ctx, masters.close)()
	address, err := masters.detect(ctx)
	if err != nil {
		return nil, fmt.Errorf("find the leading mesos master: %w", err)
	}
	s := &Survey{Master: address, Ended: map[string]string{}, Agents: map[string]string{}}
	for _, ask := range []struct {
		call master.Call_Type
		take func(*master.Response)
	}{
		{master.Call_GET_FRAMEWORKS, func(r *master.Response) { s.frameworks(r.GetGetFrameworks(), framework) }},
		{master.Call_GET_AGENTS, func(r *master.Response) { s.agents(r.GetGetAgents()) }},
		{master.Call_GET_TASKS, func(r *master.Response) { s.tasks(r.GetGetTasks(), framework) }},
	} {
		response, err := d.operate(ctx, address, ask.call)
		if err != nil {
			return nil, err
		}
		ask.take(response)
	}
	return s, nil
}

func (s *Survey) frameworks(r *master.Response_GetFrameworks, id string) {
	for i := range r.GetFrameworks() {
		if f := &r.Frameworks[i]; f.FrameworkInfo.ID != nil && f.FrameworkInfo.ID.Value == id {
			s.Connected, s.WebUI = f.Connected, f.FrameworkInfo.GetWebUiURL()
		}
	}
	for i := range r.GetCompletedFrameworks() {
		if f := &r.CompletedFrameworks[i]; f.FrameworkInfo.ID != nil && f.FrameworkInfo.ID.Value == id {
			s.Removed = true
		}
	}
}

func (s *Survey) agents(r *master.Response_GetAgents) {
	for i := range r.GetAgents() {
		if a := &r.Agents[i].AgentInfo; a.ID != nil {
			s.Agents[a.ID.Value] = a.Hostname
		}
	}
	s.Recovered = len(r.GetRecoveredAgents())
}

func (s *Survey) tasks(r *master.Response_GetTasks, framework string) {
	for i := range r.GetTasks() {
		s.task(&r.Tasks[i], framework, false)
	}
	for i := range r.GetUnreachableTasks() {
		s.task(&r.UnreachableTasks[i], framework, true)
	}
	for i := range r.GetCompletedTasks() {
		if t := &r.CompletedTasks[i]; t.FrameworkID.Value == framework {
			s.Ended[t.TaskID.Value] = stateName(t.GetState())
		}
	}
}

// task notes one that Mesos lists as not completed: it may be over, and only not
// acknowledged.
func (s *Survey) task(t *mesos.Task, framework string, unreachable bool) {
	switch {
	case t.FrameworkID.Value != framework:
		return
	case terminal(t.GetState()):
		s.Ended[t.TaskID.Value] = stateName(t.GetState())
		return
	}
	found := SurveyTask{ID: t.TaskID.Value, Name: t.Name, Agent: t.AgentID.Value, State: states[t.GetState()], Unreachable: unreachable}
	if n := len(t.Statuses); n > 0 {
		found.Healthy = t.Statuses[n-1].Healthy
	}
	s.Tasks = append(s.Tasks, found)
}

func terminal(state mesos.TaskState) bool {
	switch state {
	case mesos.TASK_FINISHED, mesos.TASK_FAILED, mesos.TASK_KILLED, mesos.TASK_ERROR, mesos.TASK_LOST, mesos.TASK_DROPPED,
		mesos.TASK_GONE, mesos.TASK_GONE_BY_OPERATOR:
		return true
	}
	return false
}

// stateName is a state without TASK_.
func stateName(state mesos.TaskState) string { return states[state].String() }

// maxOperatorAnswer bounds an answer of the operator API, in bytes: a task takes
// about a kilobyte.
const maxOperatorAnswer = 1 << 30

// operate asks the operator API what needs no arguments.
func (d *Driver) operate(ctx context.Context, address string, what master.Call_Type) (*master.Response, error) {
	body, err := (&master.Call{Type: what}).Marshal()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+"/api/v1", bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	request.Header.Set("Content-Type", protobufType)
	request.Header.Set("Accept", protobufType)
	answer, err := d.http.Do(request)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(io.LimitReader(answer.Body, maxOperatorAnswer))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s was answered %s: %s", what, answer.Status, b[:min(len(b), 200)])
	}
	response := new(master.Response)
	if err := response.Unmarshal(b); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return response, nil
}
