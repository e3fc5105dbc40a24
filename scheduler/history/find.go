package history

// find says how rows of a table are found: those that have any of some terms in
// their columns, and of each group of other terms any, with keys from ≤ k < to.
// The newest come first.
type find struct {
	table    string
	any      []term // none: all rows
	groups   [][]string
	from, to int64
	limit    int
}

// term is something that rows are found by: what it is, and one or two numbers.
type term struct {
	by   by
	a, b int64
}

type by int

const (
	byIdent     by = iota // what it is
	byJobState            // job and state
	byJobSpan             // job and span
	byAgentSpan           // agent and span
	byState
	bySpan
	byLink // a task's run, a deploy's spec
)

// columns of each, by which PostgreSQL finds it.
var columns = [...][]string{
	byIdent: {"ident"}, byJobState: {"job", "state"}, byJobSpan: {"job", "span"}, byAgentSpan: {"agent", "span"},
	byState: {"state"}, bySpan: {"span"}, byLink: {"link"},
}

// numbers are a term's, as many as it has columns.
func (t term) numbers() []int64 { return []int64{t.a, t.b}[:len(columns[t.by])] }

// numbered are all that a row is found by that is in its columns.
func (r *row) numbered() []term {
	span, state := int64(r.span), int64(r.state)
	list := make([]term, 0, 7)
	list = append(list, term{byIdent, r.ident, 0}, term{byJobState, r.job, state}, term{byJobSpan, r.job, span},
		term{byState, state, 0}, term{bySpan, span, 0})
	if r.agent != 0 {
		list = append(list, term{byAgentSpan, r.agent, span})
	}
	if r.link != 0 {
		list = append(list, term{byLink, r.link, 0})
	}
	return list
}
