package core

import (
	"cmp"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// deployGroups are several jobs' deploys, one after the other.
type deployGroups struct {
	byID  map[string]*deployGroup
	ended []*deployGroup // the earliest first
	moved []*deployGroup // to look at before the step ends
}

type deployGroup struct {
	rec    *record.Group
	edited uint64
	gone   bool
}

// groupsKept are the ended groups that stay.
const groupsKept = 100

func (g *deployGroups) load(rec *record.Group) {
	if g.byID == nil {
		g.byID = map[string]*deployGroup{}
	}
	group := &deployGroup{rec: rec}
	g.byID[rec.Id] = group
	if rec.State.Terminal() {
		g.ended = append(g.ended, group)
		slices.SortFunc(g.ended, func(a, b *deployGroup) int {
			return cmp.Or(cmp.Compare(a.rec.EndedAt, b.rec.EndedAt), cmp.Compare(a.rec.Id, b.rec.Id))
		})
		return
	}
	g.moved = append(g.moved, group)
	slices.SortFunc(g.moved, func(a, b *deployGroup) int { return cmp.Compare(a.rec.Id, b.rec.Id) })
}

func (c *Core) editGroup(g *deployGroup) *record.Group {
	if g.edited != c.step {
		g.rec = proto.CloneOf(g.rec)
		g.edited = c.step
		c.write(record.GroupKey(g.rec.Id), func() Record {
			if g.gone {
				return nil
			}
			return g.rec
		})
	}
	return g.rec
}

// putGroup begins a group, once nothing forbids any of its specs.
func (c *Core) putGroup(op PutGroup, actor string) (Result, *Error) {
	seen := map[string]bool{}
	var fields []api.ProblemField
	size := 0
	for _, canonical := range op.Canonical {
		size += len(canonical)
	}
	if size > groupMost {
		fields = append(fields, api.ProblemField{Location: "specs", Message: fmt.Sprintf(
			"are %d bytes as canonical JSON: at most %d together are one group; deploy those that are big in a group of their own, or one by one", size, groupMost)})
	}
	for i, spec := range op.Specs {
		at := fmt.Sprintf("specs[%d]", i)
		if seen[spec.Job] {
			fields = append(fields, api.ProblemField{Location: at + ".job", Message: spec.Job + " is in the group twice"})
		}
		seen[spec.Job] = true
		if err := c.mayPut(PutJob{Spec: spec, Canonical: op.Canonical[i], Supersede: op.Supersede}); err != nil {
			if err.Kind != Invalid {
				return Result{}, err
			}
			fields = append(fields, api.ProblemField{Location: at, Message: err.Detail})
		}
	}
	if len(fields) > 0 {
		return Result{}, &Error{Kind: Invalid, Detail: "the group cannot be deployed", Fields: fields}
	}
	author := cmp.Or(op.Author, actor)
	rec := &record.Group{Id: c.cluster.Incarnation + "-" + c.nextID(), State: deployInProgress, Author: author, Message: op.Message,
		Links: op.Links, CreatedAt: c.now, Replace: op.Supersede, Actor: actor}
	for i, spec := range op.Specs {
		rec.Members = append(rec.Members, &record.GroupMember{Job: spec.Job, Spec: op.Canonical[i]})
	}
	g := &deployGroup{rec: rec}
	if c.deployGroups.byID == nil {
		c.deployGroups.byID = map[string]*deployGroup{}
	}
	c.deployGroups.byID[rec.Id] = g
	c.editGroup(g)
	c.tellGroup(g, "deploy_group.started", "")
	c.deployGroups.moved = append(c.deployGroups.moved, g)
	return Result{Group: rec.Id, Changed: true, Created: true}, nil
}

// cancelGroup undoes a group in progress.
func (c *Core) cancelGroup(op CancelGroup, actor string) (Result, *Error) {
	g := c.deployGroups.byID[op.ID]
	switch {
	case g == nil:
		return Result{}, &Error{Kind: NotFound, Detail: fmt.Sprintf("there is no deploy group %s, or it is no longer kept", op.ID)}
	case g.rec.State == deployRollingBack:
		return Result{Group: op.ID}, nil
	case g.rec.State.Terminal():
		return Result{}, conflict("deploy group %s is over: it is %s", op.ID, StateName(g.rec.State))
	}
	why := "cancelled by " + actor
	if op.Reason != "" {
		why += ": " + op.Reason
	}
	for _, m := range g.rec.Members {
		if j := c.jobs[m.Job]; m.Began && j != nil {
			if r := j.inProgress(); r != nil && r.deploy.rec.Number == m.Deploy && r.rec.Phase != phaseReturning {
				c.cancelDeploy(r, why)
			}
		}
	}
	if g.rec.State == deployInProgress {
		c.undoGroup(g, why)
	}
	return Result{Group: op.ID, Changed: true}, nil
}

func (c *Core) tellGroup(g *deployGroup, typ, reason string) {
	c.emit(&record.Event{Type: typ, State: StateName(g.rec.State), Reason: reason, Message: g.rec.Message, Actor: cmp.Or(c.acting, g.rec.Actor), Object: g.rec.Id})
}

// deployMoved has the group of a deploy looked at when that ended.
func (c *Core) deployMoved(d *deploy) {
	if g := c.deployGroups.byID[d.rec.Group]; d.rec.Group != "" && g != nil && d.rec.State.Terminal() {
		c.deployGroups.moved = append(c.deployGroups.moved, g)
	}
}

// advanceGroups goes on with the groups of which something ended; it says
// whether there were any.
func (c *Core) advanceGroups() bool {
	moved := c.deployGroups.moved
	c.deployGroups.moved = nil
	for _, g := range moved {
		switch g.rec.State {
		case deployInProgress:
			c.advanceGroup(g)
		case deployRollingBack:
			c.unwindGroup(g)
		}
	}
	return len(moved) > 0
}

// advanceGroup begins the next member's deploy once the one before has
// succeeded.
func (c *Core) advanceGroup(g *deployGroup) {
	for i := range g.rec.Members {
		m := g.rec.Members[i]
		if !m.Began {
			if err := c.beginMember(g, i); err != nil {
				c.editGroup(g).Members[i].Reason = err.Detail
				c.undoGroup(g, fmt.Sprintf("%s could not be deployed: %s", m.Job, err.Detail))
				return
			}
			m = g.rec.Members[i]
		}
		if !m.Changed || m.Deploy == 0 {
			continue
		}
		state, reason := c.memberState(g, m.Job, m.Deploy)
		switch {
		case state == deploySucceeded:
		case !state.Terminal():
			return // its end is told
		default:
			c.editGroup(g).Members[i].Reason = reason
			c.undoGroup(g, fmt.Sprintf("deploy %d of %s %s: %s", m.Deploy, m.Job, endedAs(state), reason))
			return
		}
	}
	c.endGroup(g, deploySucceeded, "")
}

// endedAs says how a deploy ended, behind its name.
func endedAs(state record.DeployState) string {
	switch state {
	case deployFailed:
		return "failed"
	case deployRolledBack:
		return "was rolled back"
	}
	return "was " + StateName(state)
}

// memberState is the state of a deploy that may no longer be there.
func (c *Core) memberState(g *deployGroup, job string, number uint32) (record.DeployState, string) {
	j := c.jobs[job]
	if j == nil || j.rec.Removing {
		return deployCancelled, "the job is removed"
	}
	d := j.deploy(number)
	switch {
	case d == nil:
		return deploySucceeded, "" // no longer kept: a later one has succeeded
	case d.rec.Group != g.rec.Id:
		return deployCancelled, anotherJob
	}
	return d.rec.State, d.rec.Reason
}

// anotherJob is why a group leaves a job alone that has a member's name.
const anotherJob = "the job was removed, and another has its name"

// beginMember deploys one job of a group.
func (c *Core) beginMember(g *deployGroup, i int) *Error {
	m := g.rec.Members[i]
	spec, err := api.ParseSpec(m.Spec)
	if err != nil {
		return &Error{Kind: Invalid, Detail: err.Error()}
	}
	before := c.jobs[m.Job]
	back, instances, running := uint32(0), uint32(0), uint32(0)
	if before != nil {
		back, instances, running = before.rec.Stable, before.rec.Instances, before.rec.Deploy
	}
	result, failed := c.putJob(PutJob{Spec: spec, Canonical: m.Spec, Supersede: g.rec.Replace,
		Notes: Notes{Author: g.rec.Author, Message: g.rec.Message, Links: g.rec.Links}}, g.rec.Actor)
	if failed != nil {
		return failed
	}
	m = c.editGroup(g).Members[i]
	m.Began, m.Changed, m.Spec, m.Back, m.InstancesBefore = true, result.Changed, nil, back, instances
	if j := c.jobs[m.Job]; result.Changed && (before == nil || j.rec.Deploy != running) {
		m.Deploy = j.rec.Deploy
		c.editDeploy(j, j.target()).Group = g.rec.Id
		c.deployMoved(j.target()) // it may be over
	}
	return nil
}

// undoGroup returns the members that were deployed, the last one first.
func (c *Core) undoGroup(g *deployGroup, reason string) {
	rec := c.editGroup(g)
	rec.State, rec.Reason = deployRollingBack, reason
	c.tellGroup(g, "deploy_group.rolling_back", reason)
	c.deployGroups.moved = append(c.deployGroups.moved, g)
}

// unwindGroup goes on with returning members, one after the other.
func (c *Core) unwindGroup(g *deployGroup) {
	for i := len(g.rec.Members) - 1; i >= 0; i-- {
		m := g.rec.Members[i]
		if !m.Began || !m.Changed {
			continue
		}
		if m.Rollback != 0 {
			switch state, reason := c.memberState(g, m.Job, m.Rollback); {
			case !state.Terminal():
				return
			case state != deploySucceeded && state != deploySuperseded:
				c.editGroup(g).Members[i].Reason = "its return failed: " + reason
			}
			continue
		}
		if m.Deploy != 0 {
			if state, _ := c.memberState(g, m.Job, m.Deploy); !state.Terminal() {
				return // it returns by itself
			}
		}
		if c.undoMember(g, i) {
			return
		}
	}
	c.endUndo(g)
}

// undoMember returns one job; wait says whether that takes a deploy.
func (c *Core) undoMember(g *deployGroup, i int) (wait bool) {
	m := g.rec.Members[i]
	j := c.jobs[m.Job]
	state := deploySucceeded
	if m.Deploy != 0 {
		state, _ = c.memberState(g, m.Job, m.Deploy)
	}
	rec := c.editGroup(g).Members[i]
	rec.Changed = false // nothing more follows of it, unless there is a rollback
	switch {
	case j == nil || j.rec.Removing:
	case m.Deploy != 0 && j.deploy(m.Deploy) != nil && j.deploy(m.Deploy).rec.Group != g.rec.Id:
		rec.Reason = anotherJob
	case state != deploySucceeded:
		if state != deployRolledBack && state != deployCancelled && rec.Reason == "" {
			rec.Reason = endedAs(state)
		}
		if m.Back == 0 && m.Deploy == 1 {
			c.removeMember(j)
		}
	case m.Deploy != 0 && j.rec.Deploy != m.Deploy:
		rec.Reason = fmt.Sprintf("is left as it is: deploy %d came later", j.rec.Deploy)
	case m.Deploy == 0:
		c.setInstances(j, m.InstancesBefore, g.rec.Actor)
	case m.Back == 0:
		c.removeMember(j)
	default:
		return c.returnMember(g, rec, j)
	}
	return false
}

// removeMember takes back that a group created a job.
func (c *Core) removeMember(j *job) {
	if _, err := c.removeJob(j, "perigee"); err != nil {
		panic(err) // nothing forbids it
	}
}

// returnMember deploys again what a job ran before its group.
func (c *Core) returnMember(g *deployGroup, rec *record.GroupMember, j *job) (wait bool) {
	if r := j.rollout; r != nil && r.rec.Phase == phaseKeeping && r.rec.Back == rec.Back {
		c.beginReturn(r, deployRolledBack, g.rec.Reason)
		rec.Changed = true
		return true // looked at again when that is over
	}
	to := j.deploy(rec.Back)
	if to == nil {
		rec.Reason = fmt.Sprintf("is left as it is: deploy %d is no longer kept", rec.Back)
		return false
	}
	if _, err := c.deployAgain(j, to, record.DeployKind_DEPLOY_KIND_ROLLBACK,
		Notes{Author: g.rec.Author, Message: "deploy group " + g.rec.Id + " is rolled back"}, g.rec.Actor, &record.Rollout{}); err != nil {
		rec.Reason = "its return failed: " + err.Detail
		return false
	}
	if c.setInstances(j, rec.InstancesBefore, g.rec.Actor); j.rollout != nil {
		c.editRollout(j.rollout).InstancesChanged = false
	}
	rec.Changed, rec.Rollback = true, j.rec.Deploy
	c.editDeploy(j, j.target()).Group = g.rec.Id
	c.deployMoved(j.target())
	return true
}

// endUndo ends a group whose members are back, as far as they could be.
func (c *Core) endUndo(g *deployGroup) {
	for _, m := range g.rec.Members {
		if m.Reason != "" && m.Began && (m.Rollback != 0 || m.Deploy == 0) {
			c.endGroup(g, deployFailed, g.rec.Reason+"; "+m.Job+" "+m.Reason)
			return
		}
	}
	c.endGroup(g, deployRolledBack, g.rec.Reason)
}

func (c *Core) endGroup(g *deployGroup, state record.DeployState, reason string) {
	rec := c.editGroup(g)
	rec.State, rec.Reason, rec.EndedAt = state, reason, c.now
	for _, m := range rec.Members {
		m.Spec = nil
	}
	c.tellGroup(g, "deploy_group."+StateName(state), reason)
	all := &c.deployGroups
	if all.ended = append(all.ended, g); len(all.ended) > groupsKept {
		old := all.ended[0]
		c.editGroup(old)
		old.gone = true
		delete(all.byID, old.rec.Id)
		all.ended = all.ended[1:]
	}
}
