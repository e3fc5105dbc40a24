package devcluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/perigee-sched/perigee/devcluster/model"
	"github.com/perigee-sched/perigee/devcluster/wire"
)

const (
	typeJSON     = "application/json"
	typeProtobuf = "application/x-protobuf"
	typeText     = "text/plain; charset=utf-8"
)

// maxBody bounds a call.
const maxBody = 64 << 20

// message is a Protocol Buffers message of mesos-go.
type message interface {
	Marshal() ([]byte, error)
	Unmarshal([]byte) error
}

// answerText answers with a status and, where Mesos does, a text.
func answerText(w http.ResponseWriter, code int, text string) {
	if text != "" || code >= 400 {
		w.Header().Set("Content-Type", typeText)
	}
	w.WriteHeader(code)
	io.WriteString(w, text) // a client that has gone is not our matter
}

func answerJSON(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", typeJSON)
	b, err := json.Marshal(value)
	if err != nil {
		answerText(w, http.StatusInternalServerError, err.Error())
		return
	}
	w.Write(b) // a client that has gone is not our matter
}

// answerMessage answers with a message in the format the client accepts.
func answerMessage(w http.ResponseWriter, format string, m message, asJSON func() any) {
	if format == typeJSON {
		answerJSON(w, asJSON())
		return
	}
	b, err := m.Marshal()
	if err != nil {
		answerText(w, http.StatusInternalServerError, err.Error())
		return
	}
	w.Header().Set("Content-Type", typeProtobuf)
	w.Write(b) // a client that has gone is not our matter
}

// refusal is an answer instead of what was asked for.
type refusal struct {
	code int
	text string
}

func (r *refusal) Error() string { return r.text }

// readCall reads the body of a POST. prefix is what this endpoint says before
// what is wrong with a message in JSON.
func readCall(w http.ResponseWriter, r *http.Request, call message, prefix string) *refusal {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", "POST")
		return &refusal{405, fmt.Sprintf("405 Method Not Allowed. Expecting one of { 'POST' }, but received '%s'.", r.Method)}
	}
	format := r.Header.Get("Content-Type")
	if format == "" {
		return &refusal{400, "Expecting 'Content-Type' to be present"}
	}
	if format != typeJSON && format != typeProtobuf {
		return &refusal{415, "Expecting 'Content-Type' of application/json or application/x-protobuf"}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return &refusal{400, "Failed to read body: " + err.Error()}
	}
	if format == typeProtobuf {
		if call.Unmarshal(body) != nil {
			return &refusal{400, "Failed to parse body into Call protobuf"}
		}
		return nil
	}
	err = wire.Unmarshal(body, call)
	var syntax *wire.SyntaxError
	switch {
	case errors.As(err, &syntax):
		return &refusal{400, "Failed to parse body into JSON: " + err.Error()}
	case err != nil:
		return &refusal{400, prefix + err.Error()}
	}
	return nil
}

const convertCall = "Failed to convert JSON into Call protobuf: "

// accepts chooses the format of an answer, "" when the client takes neither.
func accepts(r *http.Request) string {
	header := r.Header.Get("Accept")
	if header == "" || header == typeJSON {
		return typeJSON
	}
	for _, offered := range []string{typeJSON, typeProtobuf} {
		for _, part := range strings.Split(header, ",") {
			media, params, err := mime.ParseMediaType(part)
			if err != nil {
				continue
			}
			if q, err := strconv.ParseFloat(params["q"], 64); err == nil && q == 0 {
				continue
			}
			if media == offered || media == "*/*" || media == "application/*" {
				return offered
			}
		}
	}
	return ""
}

var notAcceptable = &refusal{406, "Expecting 'Accept' to allow 'application/x-protobuf' or 'application/json'"}

// route removes the name of the process that may lead a path, such as /master,
// and returns the endpoint: the longest known one that leads the rest.
func route(path, process string, endpoints ...string) string {
	if rest, ok := strings.CutPrefix(path, process); ok && (rest == "" || rest[0] == '/') {
		path = rest
	}
	best := ""
	for _, e := range endpoints {
		if (path == e || strings.HasPrefix(path, e+"/")) && len(e) > len(best) {
			best = e
		}
	}
	return best
}

func notFound(w http.ResponseWriter) { answerText(w, http.StatusNotFound, "404 Not Found.") }

// version is what /version and GET_VERSION say.
func version() wire.Object {
	return wire.Object{"version": model.Version, "build_date": "2024-08-23 18:59:00", "build_time": 1724439540.0,
		"build_user": "perigee", "git_sha": "c1b42f79d157aa900be5cbb0c1023f1479962aa7"}
}
