package history

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"strconv"

	"google.golang.org/protobuf/proto"

	"github.com/perigee-sched/perigee/scheduler/record"
)

// kind of finished record. Each has a table of its name.
type kind int

const (
	tasks kind = iota
	runs
	deploys
	kinds
)

var tableNames = [kinds]string{"tasks", "runs", "deploys"}

func (k kind) String() string { return tableNames[k] }

// eventsTable has the events, which are counted like a kind.
const eventsTable = "events"

// row is a finished record as its table has it. The record itself is in the
// body, without what is in tables of names.
type row struct {
	kind    kind
	k       int64
	version int64 // of the record: the newer one is greater
	ident   int64 // hash of what it is
	job     int64
	agent   int64
	state   int32
	span    int
	began   int64
	link    int64    // hash of a task's run, of a deploy's spec; 0: none
	terms   []string // by which it is found, beside what is in columns
	body    []byte
}

// rowBytes is about what a row takes beside its body, in both databases.
const rowBytes = 150

// names give numbers to names that many rows have.
type names interface {
	job(name string) (int64, error)
	agent(a agent) (int64, error)
}

// agent is what tasks on one have in common.
type agent struct{ id, host, url, root string }

func rowOf(m record.Message, version int64, n names) (row, error) {
	switch m := m.(type) {
	case *record.Task:
		return taskRow(m, version, n)
	case *record.Run:
		return runRow(m, version, n)
	case *record.Deploy:
		return deployRow(m, version, n)
	}
	return row{}, fmt.Errorf("history keeps no %T", m)
}

func taskRow(t *record.Task, version int64, n names) (r row, err error) {
	r = row{kind: tasks, version: version, ident: hash("task", t.Id), state: int32(t.State)}
	if r.job, err = n.job(t.Job); err != nil {
		return r, err
	}
	if t.Agent != "" || t.Host != "" {
		if r.agent, err = n.agent(agent{t.Agent, t.Host, t.AgentUrl, t.SandboxRoot}); err != nil {
			return r, err
		}
	}
	r.began = t.LaunchedAt
	if r.began == 0 {
		r.began = t.CreatedAt
	}
	if t.Run != "" {
		r.link = runLink(t.Job, t.Run)
	}
	if taskHasWords(t.State) {
		r.terms = wordTerms(t.Message, t.Reason)
	}
	body := t.Copy()
	body.Job, body.Agent, body.Host, body.AgentUrl, body.SandboxRoot = "", "", "", "", ""
	body.UpdateUuid = nil
	return r.with(body, t.EndedAt)
}

func taskHasWords(s record.TaskState) bool {
	return s == record.TaskState_TASK_STATE_FAILED || s == record.TaskState_TASK_STATE_LOST
}

func runHasWords(s record.RunState) bool { return s == record.RunState_RUN_STATE_FAILED }

func runLink(job, run string) int64 { return hash("run", job, run) }

func runRow(run *record.Run, version int64, n names) (r row, err error) {
	r = row{kind: runs, version: version, ident: runLink(run.Job, run.Id), state: int32(run.State)}
	if r.job, err = n.job(run.Job); err != nil {
		return r, err
	}
	if r.began = run.StartedAt; r.began == 0 {
		r.began = run.CreatedAt
	}
	if runHasWords(run.State) {
		r.terms = wordTerms(run.Reason)
	}
	for name, value := range run.Parameters {
		r.terms = append(r.terms, hashTerm(parameterOf, name, value))
	}
	if run.RequestedBy != "" {
		r.terms = append(r.terms, hashTerm(actorOf, run.RequestedBy))
	}
	if run.Group != "" {
		r.terms = append(r.terms, hashTerm(groupOf, run.Group))
	}
	body := run.Copy()
	body.Job = ""
	return r.with(body, run.EndedAt)
}

func deployIdent(job string, number uint32) int64 {
	return hash("deploy", job, strconv.FormatUint(uint64(number), 10))
}

func specLink(digest string) int64 { return hash("spec", digest) }

func deployRow(d *record.Deploy, version int64, n names) (r row, err error) {
	r = row{kind: deploys, version: version, ident: deployIdent(d.Job, d.Number), state: int32(d.State), began: d.CreatedAt}
	if r.job, err = n.job(d.Job); err != nil {
		return r, err
	}
	r.link = specLink(d.Digest)
	r.terms = append(wordTerms(d.Reason, d.Message), hashTerm(actorOf, d.Author))
	body := proto.CloneOf(d)
	body.Job, body.Spec = "", nil
	return r.with(body, d.EndedAt)
}

// with completes a row. What has no end, of an older version, ended when it
// began.
func (r row) with(body record.Message, ended int64) (row, error) {
	if ended == 0 {
		ended = r.began
	}
	if r.began == 0 {
		r.began = ended
	}
	r.k, r.span = keyOf(ended, r.ident), spanOf(r.began, ended)
	data, err := encode.Marshal(body)
	if err != nil {
		return r, fmt.Errorf("encode for history: %w", err)
	}
	r.body = pack(data)
	return r, nil
}

// The first byte of what is stored says how.
const (
	plain    = 0
	deflated = 1
)

// packFrom is the size from which compression pays.
const packFrom = 2048

func pack(data []byte) []byte {
	if len(data) >= packFrom {
		var b bytes.Buffer
		b.WriteByte(deflated)
		w, _ := flate.NewWriter(&b, flate.BestSpeed) // no such level is the only error
		w.Write(data)                                // a buffer takes everything
		w.Close()
		if b.Len() < len(data)*9/10 {
			return b.Bytes()
		}
	}
	return append([]byte{plain}, data...)
}

// unpackMost bounds what is unpacked: nothing that is stored is as large.
const unpackMost = 64 << 20

func unpack(stored []byte) ([]byte, error) {
	switch {
	case len(stored) == 0:
		return nil, fmt.Errorf("a row of history is empty")
	case stored[0] == plain:
		return stored[1:], nil
	case stored[0] == deflated:
		data, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(stored[1:])), unpackMost))
		if err != nil {
			return nil, fmt.Errorf("unpack a row of history: %w", err)
		}
		return data, nil
	}
	return nil, fmt.Errorf("a row of history is in a form that this version does not know: %d", stored[0])
}
