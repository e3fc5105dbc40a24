package access

import (
	"fmt"
	"regexp"
	"strings"
)

// Rule grants a role to whoever an OIDC issuer says something of.
type Rule struct {
	// value is what it says, around what teamMark stands for.
	before, after string
	marked        bool
	grant         Grant // its team may be teamMark
}

// teamMark stands for a team in a Rule.
const teamMark = "{team}"

var name = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// ParseRules reads rules, separated by semicolons or line ends, of the form
// VALUE=ROLE:TEAM or VALUE=ROLE:TEAM:STAGE+STAGE: ops=admin:*, or
// {team}-devs=deployer:{team}:devel+staging.
func ParseRules(text string) ([]Rule, error) {
	var all []Rule
	for _, part := range strings.FieldsFunc(text, func(c rune) bool { return c == ';' || c == '\n' }) {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		r, err := parseRule(part)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", part, err)
		}
		all = append(all, r)
	}
	return all, nil
}

func parseRule(text string) (Rule, error) {
	at := strings.LastIndexByte(text, '=') // of a value that has one itself, such as CN=ops, the last
	if at <= 0 {
		return Rule{}, fmt.Errorf("is no rule: write it as VALUE=ROLE:TEAM or VALUE=ROLE:TEAM:STAGE+STAGE")
	}
	value, granted := strings.TrimSpace(text[:at]), strings.Split(text[at+1:], ":")
	if len(granted) < 2 || len(granted) > 3 {
		return Rule{}, fmt.Errorf("grants %q: write it as ROLE:TEAM or ROLE:TEAM:STAGE+STAGE", text[at+1:])
	}
	var r Rule
	var err error
	if r.grant.Role, err = ParseRole(strings.TrimSpace(granted[0])); err != nil {
		return Rule{}, err
	}
	r.grant.Team = strings.TrimSpace(granted[1])
	if t := r.grant.Team; t != AllTeams && t != teamMark && !name.MatchString(t) {
		return Rule{}, fmt.Errorf("%q is not a team: it must be a team's name, * for all, or %s", t, teamMark)
	}
	if len(granted) == 3 {
		for _, stage := range strings.Split(granted[2], "+") {
			if stage = strings.TrimSpace(stage); !name.MatchString(stage) {
				return Rule{}, fmt.Errorf("%q is not a stage", stage)
			}
			r.grant.Stages = append(r.grant.Stages, stage)
		}
	}
	r.before, r.after, r.marked = strings.Cut(value, teamMark)
	if strings.Contains(r.after, teamMark) {
		return Rule{}, fmt.Errorf("has %s twice in its value", teamMark)
	}
	return r, nil
}

// Grants are what rules grant to whom an issuer says values of, and of whose
// teams it says teams. Where a rule's value has no mark, teams are what its mark
// stands for.
func Grants(rules []Rule, values, teams []string) []Grant {
	var all []Grant
	for _, r := range rules {
		for _, v := range values {
			all = append(all, r.grants(v, teams)...)
		}
	}
	return all
}

func (r Rule) grants(value string, teams []string) []Grant {
	if r.marked {
		team, ok := strings.CutPrefix(value, r.before)
		team, ok2 := strings.CutSuffix(team, r.after)
		if !ok || !ok2 {
			return nil
		}
		teams = []string{team}
	} else if value != r.before {
		return nil
	}
	if r.grant.Team != teamMark {
		return []Grant{r.grant}
	}
	var all []Grant
	for _, team := range teams {
		if name.MatchString(team) { // so that nobody is of team *
			all = append(all, Grant{Role: r.grant.Role, Team: team, Stages: r.grant.Stages})
		}
	}
	return all
}
