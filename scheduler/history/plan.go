package history

import (
	"context"
	"path"
	"slices"
	"strings"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// plan says how the rows that a filter chooses are found: by which index, and
// what is looked at in each that is found.
type plan struct {
	kind   kind
	finds  []find
	began  int64 // they began before
	states []int64
	jobs   map[int64]bool // nil: any
	agents map[int64]bool
	keep   func(record.Message) bool
	none   bool // nothing can be chosen
}

// choicesMost bounds the jobs, or agents, that are looked for by name. Where there
// are more, rows are looked at one after the other.
const choicesMost = 200

// statesOf are the names of a kind's states.
func statesOf(k kind) (values map[string]int32, prefix string, over []int64) {
	switch k {
	case tasks:
		return record.TaskState_value, "TASK_STATE_", terminal(record.TaskState_name, func(n int32) bool { return record.TaskState(n).Terminal() })
	case runs:
		return record.RunState_value, "RUN_STATE_", terminal(record.RunState_name, func(n int32) bool { return record.RunState(n).Terminal() })
	}
	return record.DeployState_value, "DEPLOY_STATE_", terminal(record.DeployState_name, func(n int32) bool { return record.DeployState(n).Terminal() })
}

func terminal(names map[int32]string, over func(int32) bool) (out []int64) {
	for n := range names {
		if over(n) {
			out = append(out, int64(n))
		}
	}
	slices.Sort(out)
	return out
}

func (r *reader) plan(ctx context.Context, k kind, f api.HistoryFilter) (p plan, err error) {
	p = plan{kind: k, began: 1 << 62}
	jobs, err := r.jobs(ctx, f)
	if err != nil {
		return p, err
	}
	agents, err := r.agents(ctx, f)
	if err != nil {
		return p, err
	}
	values, prefix, over := statesOf(k)
	states := over
	for i, name := range f.States {
		n, known := values[prefix+strings.ToUpper(name)]
		if i == 0 {
			states = nil
		}
		if known {
			states = append(states, int64(n))
		}
	}
	if len(words(f.Text)) > 0 {
		states = haveWords(k, states)
	}
	p.none = jobs.none() || agents.none() || len(states) == 0
	if len(f.States) > 0 {
		p.states = states
	}
	p.jobs, p.agents = jobs.set(), agents.set()
	groups := p.groups(f)
	base := find{table: k.String(), groups: groups, to: keyMost}
	if !f.From.IsZero() {
		base.from = keyFrom(f.From.UnixMilli())
	}
	if k == tasks && f.Run != "" {
		base.any = []term{{byLink, runLink(f.Job, f.Run), 0}}
		p.keep = func(m record.Message) bool { return m.(*record.Task).Run == f.Run }
	}
	if f.To.IsZero() {
		base.any = append(base.any, drivers(len(base.any) > 0, jobs, agents, p.states, states)...)
		p.finds = []find{base}
		return p, nil
	}
	p.began = f.To.UnixMilli()
	if len(base.any) > 0 {
		p.finds = []find{base}
		return p, nil
	}
	for span := range int64(spans) {
		one := base
		one.any = spanDrivers(jobs, agents, span)
		one.to = keyFrom(p.began + spanMost(int(span)))
		p.finds = append(p.finds, one)
	}
	return p, nil
}

// haveWords are those of states whose rows are found by words: tasks and runs say
// why they failed, and not more.
func haveWords(k kind, states []int64) []int64 {
	return slices.DeleteFunc(slices.Clone(states), func(n int64) bool {
		return k == tasks && !taskHasWords(record.TaskState(n)) || k == runs && !runHasWords(record.RunState(n))
	})
}

// drivers are the terms that fewest rows have, as far as that can be told.
func drivers(driven bool, jobs, agents choice, given, states []int64) (out []term) {
	switch {
	case driven:
	case agents.few():
		for _, n := range agents.numbers {
			for span := range int64(spans) {
				out = append(out, term{byAgentSpan, n, span})
			}
		}
	case jobs.few():
		for _, n := range jobs.numbers {
			for _, state := range states {
				out = append(out, term{byJobState, n, state})
			}
		}
	default:
		for _, state := range given {
			out = append(out, term{byState, state, 0})
		}
	}
	return out
}

// spanDrivers are the same for rows of one span.
func spanDrivers(jobs, agents choice, span int64) (out []term) {
	switch {
	case agents.few():
		for _, n := range agents.numbers {
			out = append(out, term{byAgentSpan, n, span})
		}
	case jobs.few():
		for _, n := range jobs.numbers {
			out = append(out, term{byJobSpan, n, span})
		}
	default:
		out = []term{{bySpan, span, 0}}
	}
	return out
}

// groups are the terms that are not numbers, and have what these stand for looked
// at where they are hashes.
func (p *plan) groups(f api.HistoryFilter) (groups [][]string) {
	for i, word := range words(f.Text) {
		if i < askedMost {
			groups = append(groups, []string{wordPrefix + word})
		}
	}
	switch p.kind {
	case runs:
		for name, value := range f.Parameters {
			groups = append(groups, []string{hashTerm(parameterOf, name, value)})
		}
		if f.Actor != "" {
			groups = append(groups, []string{hashTerm(actorOf, f.Actor)})
		}
		if f.Group != "" {
			groups = append(groups, []string{hashTerm(groupOf, f.Group)})
		}
		p.keep = func(m record.Message) bool {
			run := m.(*record.Run)
			for name, value := range f.Parameters {
				if run.Parameters[name] != value {
					return false
				}
			}
			return (f.Actor == "" || run.RequestedBy == f.Actor) && (f.Group == "" || run.Group == f.Group)
		}
	case deploys:
		if f.Actor != "" {
			groups = append(groups, []string{hashTerm(actorOf, f.Actor)})
			p.keep = func(m record.Message) bool { return m.(*record.Deploy).Author == f.Actor }
		}
	}
	slices.SortFunc(groups, func(a, b []string) int { return strings.Compare(a[0], b[0]) })
	return groups
}

// choice is which of some names are meant; any when it is not given.
type choice struct {
	given   bool
	numbers []int64
}

func (c choice) none() bool { return c.given && len(c.numbers) == 0 }
func (c choice) few() bool  { return c.given && len(c.numbers) <= choicesMost }

func (c choice) set() map[int64]bool {
	if !c.given {
		return nil
	}
	set := make(map[int64]bool, len(c.numbers))
	for _, n := range c.numbers {
		set[n] = true
	}
	return set
}

// jobs are those that a filter names.
func (r *reader) jobs(ctx context.Context, f api.HistoryFilter) (choice, error) {
	named, err := r.jobsNamed(ctx, f)
	c := choice{given: choosesJobs(f)}
	for _, j := range named {
		c.numbers = append(c.numbers, j.n)
	}
	return c, err
}

func choosesJobs(f api.HistoryFilter) bool {
	return f.Job != "" || f.Team != "" || f.Stage != "" || f.Sees != nil
}

type namedJob struct {
	n    int64
	name string
}

func (r *reader) jobsNamed(ctx context.Context, f api.HistoryFilter) (out []namedJob, err error) {
	if !choosesJobs(f) {
		return nil, nil
	}
	first := f.Job
	if i := strings.IndexAny(first, `*?[\`); i >= 0 {
		first = first[:i]
	} else if first != "" {
		f.Job = ""
	}
	query, args := `SELECT n, name FROM jobs WHERE name = ?`, []any{first}
	if f.Job != "" || first == "" {
		if first == "" && f.Team != "" {
			first = f.Team + "/"
		}
		query, args = `SELECT n, name FROM jobs WHERE name >= ? AND name < ?`, []any{first, first + "\U0010ffff"}
	}
	rows, err := r.query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var j namedJob
		if err := rows.Scan(&j.n, &j.name); err != nil {
			return nil, err
		}
		if matchesJob(f, j.name) {
			out = append(out, j)
		}
	}
	return out, rows.Err()
}

func matchesJob(f api.HistoryFilter, job string) bool {
	team, rest, _ := strings.Cut(job, "/")
	stage, _, _ := strings.Cut(rest, "/")
	if f.Job != "" {
		if ok, _ := path.Match(f.Job, job); !ok {
			return false
		}
	}
	return (f.Team == "" || f.Team == team) && (f.Stage == "" || f.Stage == stage) && (f.Sees == nil || f.Sees(job))
}

// agents are those that a filter names, one by its id, several by their host.
func (r *reader) agents(ctx context.Context, f api.HistoryFilter) (choice, error) {
	c := choice{given: f.Agent != ""}
	if !c.given {
		return c, nil
	}
	rows, err := r.query(ctx, `SELECT n FROM agents WHERE agent = ? UNION SELECT n FROM agents WHERE host = ?`, f.Agent, f.Agent)
	if err != nil {
		return c, err
	}
	defer rows.Close()
	for rows.Next() {
		var n int64
		if err := rows.Scan(&n); err != nil {
			return c, err
		}
		c.numbers = append(c.numbers, n)
	}
	return c, rows.Err()
}
