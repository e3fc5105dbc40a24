package devcluster

import (
	"errors"
	"net/http"
	"strings"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	agentapi "github.com/mesos/mesos-go/api/v1/lib/agent"
	"github.com/mesos/mesos-go/api/v1/lib/executor"

	"github.com/perigee-sched/perigee/devcluster/model"
	"github.com/perigee-sched/perigee/devcluster/sandbox"
	"github.com/perigee-sched/perigee/devcluster/wire"
)

// serve is the agent's HTTP server.
func (a *agentProcess) serve(w http.ResponseWriter, r *http.Request) {
	switch route(r.URL.Path, "/slave(1)", "/api/v1/executor", "/api/v1", "/health", "/version", "/state", "/containers") {
	case "/api/v1/executor":
		a.serveExecutor(w, r)
	case "/api/v1":
		a.serveOperator(w, r)
	case "/health":
	case "/version":
		answerJSON(w, version())
	case "/state":
		answerJSON(w, a.state())
	case "/containers":
		answerJSON(w, a.plainContainers())
	default:
		if strings.HasPrefix(r.URL.Path, "/files/") {
			a.files.Handler().ServeHTTP(w, r)
			return
		}
		notFound(w)
	}
}

func (a *agentProcess) serveExecutor(w http.ResponseWriter, r *http.Request) {
	call := &executor.Call{}
	if no := readCall(w, r, call, convertCall); no != nil {
		answerText(w, no.code, no.text)
		return
	}
	if err := model.ValidateExecutor(call); err != nil {
		answerText(w, 400, "Failed to validate Executor::Call: "+err.Error())
		return
	}
	if call.Type != executor.Call_SUBSCRIBE {
		var answer model.Answer
		a.c.do(func(now time.Time) { answer = a.c.model.ExecutorCall(now, a.name, call) })
		answerText(w, answer.Code, answer.Text)
		return
	}
	format := accepts(r)
	if format == "" {
		answerText(w, notAcceptable.code, notAcceptable.text)
		return
	}
	a.awaitStarted(r, call)
	answer, s := a.c.subscribe(func(now time.Time) model.Answer {
		return a.c.model.ExecutorSubscribe(now, a.name, call)
	})
	if s == nil {
		answerText(w, answer.Code, answer.Text)
		return
	}
	a.c.stream(w, r, answer, s, format)
}

// awaitStarted waits until the agent knows the process that subscribes: an
// executor can be faster than the news of its start.
func (a *agentProcess) awaitStarted(r *http.Request, call *executor.Call) {
	a.c.mu.Lock()
	var started chan struct{}
	for _, e := range a.c.model.Executors(a.name) {
		if e.Framework == call.FrameworkID.Value && e.Info.ExecutorID.Value == call.ExecutorID.Value {
			if x := a.containers[e.Container]; x != nil {
				started = x.started
			}
		}
	}
	a.c.mu.Unlock()
	if started != nil {
		select {
		case <-started:
		case <-r.Context().Done():
		}
	}
}

func (a *agentProcess) serveOperator(w http.ResponseWriter, r *http.Request) {
	call := &agentapi.Call{}
	if no := readCall(w, r, call, ""); no != nil {
		answerText(w, no.code, no.text)
		return
	}
	if no := validateAgentCall(call); no != nil {
		answerText(w, no.code, no.text)
		return
	}
	format := accepts(r)
	if format == "" {
		answerText(w, notAcceptable.code, notAcceptable.text)
		return
	}
	response, err := a.aboutAgent(call)
	if err != nil {
		answerText(w, err.code, err.text)
		return
	}
	answerMessage(w, format, response, func() any { return wire.Encode(response) })
}

func validateAgentCall(call *agentapi.Call) *refusal {
	const prefix = "Failed to validate agent::Call: Expecting '"
	switch {
	case call.Type == agentapi.Call_UNKNOWN:
		return &refusal{400, prefix + "type' to be present"}
	case call.Type == agentapi.Call_LIST_FILES && call.ListFiles == nil:
		return &refusal{400, prefix + "list_files' to be present"}
	case call.Type == agentapi.Call_READ_FILE && call.ReadFile == nil:
		return &refusal{400, prefix + "read_file' to be present"}
	}
	return nil
}

// aboutAgent answers the calls of the agent's operator API.
func (a *agentProcess) aboutAgent(call *agentapi.Call) (*agentapi.Response, *refusal) {
	switch call.Type {
	case agentapi.Call_GET_HEALTH:
		return &agentapi.Response{Type: agentapi.Response_GET_HEALTH,
			GetHealth: &agentapi.Response_GetHealth{Healthy: true}}, nil
	case agentapi.Call_GET_VERSION:
		return &agentapi.Response{Type: agentapi.Response_GET_VERSION,
			GetVersion: &agentapi.Response_GetVersion{VersionInfo: versionInfo()}}, nil
	case agentapi.Call_GET_LOGGING_LEVEL:
		return &agentapi.Response{Type: agentapi.Response_GET_LOGGING_LEVEL,
			GetLoggingLevel: &agentapi.Response_GetLoggingLevel{}}, nil
	case agentapi.Call_GET_CONTAINERS:
		return &agentapi.Response{Type: agentapi.Response_GET_CONTAINERS, GetContainers: a.getContainers()}, nil
	case agentapi.Call_LIST_FILES:
		list, err := a.files.Browse(call.ListFiles.Path)
		if err != nil {
			return nil, fileRefusal(err)
		}
		return &agentapi.Response{Type: agentapi.Response_LIST_FILES,
			ListFiles: &agentapi.Response_ListFiles{FileInfos: list}}, nil
	case agentapi.Call_READ_FILE:
		data, size, err := a.files.Read(call.ReadFile.Path, call.ReadFile.Offset, call.ReadFile.Length)
		if err != nil {
			return nil, fileRefusal(err)
		}
		return &agentapi.Response{Type: agentapi.Response_READ_FILE,
			ReadFile: &agentapi.Response_ReadFile{Size_: size, Data: append([]byte{}, data...)}}, nil
	}
	a.c.mu.Lock()
	defer a.c.mu.Unlock()
	answer := a.c.model.QueryAgent(a.name, call.Type)
	if answer.Agent == nil {
		return nil, &refusal{answer.Code, answer.Text}
	}
	return answer.Agent, nil
}

func fileRefusal(err error) *refusal {
	var e *sandbox.Error
	if errors.As(err, &e) {
		return &refusal{e.Status, e.Message}
	}
	return &refusal{http.StatusInternalServerError, err.Error()}
}

// running are the executors that have a process.
func (a *agentProcess) running() []model.ExecutorView {
	a.c.mu.Lock()
	defer a.c.mu.Unlock()
	var out []model.ExecutorView
	for _, e := range a.c.model.Executors(a.name) {
		if e.PID != 0 {
			out = append(out, e)
		}
	}
	return out
}

func (a *agentProcess) getContainers() *agentapi.Response_GetContainers {
	out := &agentapi.Response_GetContainers{}
	for _, e := range a.running() {
		name, pid := e.Info.GetName(), e.PID
		id := mesos.ContainerID{Value: e.Container}
		out.Containers = append(out.Containers, agentapi.Response_GetContainers_Container{
			FrameworkID: &mesos.FrameworkID{Value: e.Framework}, ExecutorID: &e.Info.ExecutorID, ExecutorName: &name,
			ContainerID: id, ContainerStatus: &mesos.ContainerStatus{ContainerID: &id, ExecutorPID: &pid},
			ResourceStatistics: usage(e),
		})
	}
	return out
}
