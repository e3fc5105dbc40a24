// Package access says who may do what: the roles, what a role is granted for,
// and how a token is written.
//
// It is pure, and part of the public contract. Which role an operation needs is
// the server's; how somebody proves who they are is a token's or an OIDC
// issuer's.
package access

import (
	"fmt"
	"slices"
	"strings"
)

// Role is what somebody may do. Each role may do what those before it may.
type Role uint8

// The roles.
const (
	None     Role = iota
	Viewer        // read, files of tasks too
	Deployer      // deploy, run, scale, pause and restart jobs
	Operator      // kill tasks, read the audit trail; of all teams: steer schedulers
	Admin         // give tokens out and take them back; of all teams: everything
)

// Roles are the names of the roles, the least first.
var Roles = []string{"viewer", "deployer", "operator", "admin"}

// ParseRole reads a role's name.
func ParseRole(name string) (Role, error) {
	if i := slices.Index(Roles, name); i >= 0 {
		return Role(i + 1), nil
	}
	return None, fmt.Errorf("%q is not a role: it must be one of %s", name, strings.Join(Roles, ", "))
}

func (r Role) String() string {
	if r == None || int(r) > len(Roles) {
		return "none"
	}
	return Roles[r-1]
}

// AllTeams is the team of what is not one team's.
const AllTeams = "*"

// Grant is a role in a team, or in all of them.
type Grant struct {
	Role   Role
	Team   string   // AllTeams: all
	Stages []string // empty: all
}

// Allows says whether a grant is enough for what needs a role in a team and
// stage.
func (g Grant) Allows(role Role, team, stage string) bool {
	return g.Role >= role && (g.Team == AllTeams || g.Team == team) &&
		(len(g.Stages) == 0 || slices.Contains(g.Stages, stage))
}

// Covers says whether all that o allows is allowed by g, too.
func (g Grant) Covers(o Grant) bool {
	if g.Role < o.Role || g.Team != AllTeams && g.Team != o.Team {
		return false
	}
	if len(g.Stages) == 0 {
		return true
	}
	return len(o.Stages) > 0 && !slices.ContainsFunc(o.Stages, func(s string) bool { return !slices.Contains(g.Stages, s) })
}

// String is deployer of payments in devel, staging.
func (g Grant) String() string {
	team := g.Team
	if team == AllTeams {
		team = "all teams"
	}
	if len(g.Stages) == 0 {
		return g.Role.String() + " of " + team
	}
	return g.Role.String() + " of " + team + " in " + strings.Join(g.Stages, ", ")
}

// Principal is somebody who is known, and what they are granted.
type Principal struct {
	// ID never names two: a token's id, or an OIDC issuer and subject.
	ID string
	// Name is for people to read.
	Name   string
	Grants []Grant
}

// May says whether p has a role in a team and stage.
func (p *Principal) May(role Role, team, stage string) bool {
	return slices.ContainsFunc(p.Grants, func(g Grant) bool { return g.Allows(role, team, stage) })
}

// MayJob says whether p has a role for a job, team/stage/name.
func (p *Principal) MayJob(role Role, job string) bool {
	team, rest, _ := strings.Cut(job, "/")
	stage, _, _ := strings.Cut(rest, "/")
	return p.May(role, team, stage)
}

// MayGive says whether p has a grant that covers another.
func (p *Principal) MayGive(o Grant) bool {
	return slices.ContainsFunc(p.Grants, func(g Grant) bool { return g.Covers(o) })
}

// MayCluster says whether p has a role in all teams and stages.
func (p *Principal) MayCluster(role Role) bool { return p.MayGive(Grant{Role: role, Team: AllTeams}) }

// MaySomewhere says whether p has a role in any team.
func (p *Principal) MaySomewhere(role Role) bool {
	return slices.ContainsFunc(p.Grants, func(g Grant) bool { return g.Role >= role })
}
