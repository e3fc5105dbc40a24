package agent

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// refusal is an agent's answer to a call that it did not take.
type refusal struct {
	call   string
	code   int // 0 is an ERROR event
	status string
	body   string
}

func (r *refusal) Error() string {
	return fmt.Sprintf("%s was answered %s: %s", r.call, r.status, r.body)
}

// final says whether trying again is no use. An agent that is starting answers
// 503, and 404 until its routes are there.
func (r *refusal) final() bool {
	return r.call != "UPDATE" && (r.code == 0 || r.code == http.StatusBadRequest ||
		r.code == http.StatusUnauthorized || r.code == http.StatusForbidden)
}

func isRefusal(err error, code int) bool {
	var r *refusal
	return errors.As(err, &r) && r.code == code
}

func refused(call string, resp *http.Response) error {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10)) // what was read is good enough to show
	return &refusal{call: call, code: resp.StatusCode, status: resp.Status, body: strings.TrimSpace(string(body))}
}
