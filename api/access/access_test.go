package access_test

import (
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api/access"
)

func TestGrant_AllowsItsTeamAndStages(t *testing.T) {
	t.Parallel()
	g := access.Grant{Role: access.Deployer, Team: "payments", Stages: []string{"devel", "staging"}}
	require.True(t, g.Allows(access.Deployer, "payments", "devel"))
	require.True(t, g.Allows(access.Viewer, "payments", "staging"), "a role may do what a lesser one may")
	require.False(t, g.Allows(access.Operator, "payments", "devel"))
	require.False(t, g.Allows(access.Viewer, "payments", "prod"))
	require.False(t, g.Allows(access.Viewer, "search", "devel"))
	require.False(t, g.Allows(access.Viewer, "*", "devel"))
	all := access.Grant{Role: access.Viewer, Team: access.AllTeams}
	require.True(t, all.Allows(access.Viewer, "search", "prod"))
	require.Equal(t, "deployer of payments in devel, staging", g.String())
	require.Equal(t, "viewer of all teams", all.String())
}

// Nobody gives away more than they have.
func TestGrant_Covers(t *testing.T) {
	t.Parallel()
	all := access.Grant{Role: access.Admin, Team: "*"}
	team := access.Grant{Role: access.Admin, Team: "payments"}
	staged := access.Grant{Role: access.Admin, Team: "payments", Stages: []string{"devel"}}
	allStaged := access.Grant{Role: access.Admin, Team: "*", Stages: []string{"devel"}}
	for _, c := range []struct {
		giver, given access.Grant
		may          bool
	}{
		{all, all, true}, {all, team, true}, {all, staged, true}, {all, allStaged, true},
		{team, all, false}, {team, team, true}, {team, staged, true}, {team, access.Grant{Role: access.Viewer, Team: "search"}, false},
		{staged, team, false}, {staged, staged, true}, {staged, allStaged, false},
		{staged, access.Grant{Role: access.Viewer, Team: "payments", Stages: []string{"devel", "prod"}}, false},
		{allStaged, staged, true}, {allStaged, team, false}, {allStaged, all, false},
		{access.Grant{Role: access.Viewer, Team: "*"}, access.Grant{Role: access.Deployer, Team: "payments"}, false},
	} {
		require.Equal(t, c.may, c.giver.Covers(c.given), "%s gives %s", c.giver, c.given)
	}
	p := &access.Principal{Grants: []access.Grant{allStaged}}
	require.False(t, p.MayCluster(access.Viewer), "who is limited to stages has no part in what has none")
	require.True(t, p.MayJob(access.Admin, "payments/devel/api"))
	require.False(t, p.MayJob(access.Viewer, "payments/prod/api"))
}

func TestParseRole(t *testing.T) {
	t.Parallel()
	for i, name := range access.Roles {
		r, err := access.ParseRole(name)
		require.NoError(t, err)
		require.Equal(t, access.Role(i+1), r)
		require.Equal(t, name, r.String())
	}
	for _, wrong := range []string{"", "Admin", "root", "none"} {
		_, err := access.ParseRole(wrong)
		require.ErrorContains(t, err, "viewer, deployer, operator, admin")
	}
}

func TestToken_IsFoundByScannersAndRead(t *testing.T) {
	t.Parallel()
	pattern := regexp.MustCompile(`^pgt_[a-z2-7]{10}_[0-9a-f]{64}$`)
	id, text := access.NewToken()
	require.Regexp(t, pattern, text)
	got, ok := access.TokenID(text)
	require.True(t, ok)
	require.Equal(t, id, got)
	other, second := access.NewToken()
	require.NotEqual(t, id, other)
	require.NotEqual(t, access.HashToken(text), access.HashToken(second))
	for _, wrong := range []string{"", "pgt_", text[1:], text[:len(text)-1], text + "0", "PGT" + text[3:],
		text[:len(text)-1] + "G", "pgt_" + "ABCDEFGHIJ" + text[14:], text[:14] + "-" + text[15:]} {
		_, ok := access.TokenID(wrong)
		require.False(t, ok, wrong)
	}
}

func FuzzTokenID(f *testing.F) {
	_, text := access.NewToken()
	for _, s := range []string{text, "", "pgt_", "pgt__", text[:20]} {
		f.Add(s)
	}
	pattern := regexp.MustCompile(`\Apgt_[a-z2-7]{10}_[0-9a-f]{64}\z`)
	f.Fuzz(func(t *testing.T, s string) {
		_, ok := access.TokenID(s)
		require.Equal(t, pattern.MatchString(s), ok)
	})
}
