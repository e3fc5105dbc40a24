package access_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api/access"
)

func TestRules_GrantWhatTheIssuerSays(t *testing.T) {
	t.Parallel()
	rules, err := access.ParseRules("ops=admin:*; perigee-{team}-devs=deployer:{team}:devel+staging\nmember=viewer:{team};CN=sre,OU=web=operator:web")
	require.NoError(t, err)
	for _, c := range []struct {
		values, teams []string
		want          []string
	}{
		{[]string{"ops"}, nil, []string{"admin of all teams"}},
		{[]string{"ops "}, nil, nil},
		{[]string{"perigee-shop-devs", "other"}, nil, []string{"deployer of shop in devel, staging"}},
		{[]string{"perigee--devs", "perigee-*-devs", "perigee-a/b-devs", "xperigee-a-devs"}, nil, nil},
		{[]string{"member"}, []string{"web", "*", "Shop", "shop"}, []string{"viewer of web", "viewer of shop"}},
		{[]string{"CN=sre,OU=web"}, nil, []string{"operator of web"}},
		{nil, []string{"web"}, nil},
	} {
		var got []string
		for _, g := range access.Grants(rules, c.values, c.teams) {
			got = append(got, g.String())
		}
		require.Equal(t, c.want, got, "%v %v", c.values, c.teams)
	}
}

func TestRules_SayWhatIsWrong(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"ops": "is no rule", "=admin:*": "is no rule", "ops=admin": "ROLE:TEAM", "ops=root:*": `"root" is not a role`,
		"ops=admin:Web": "is not a team", "ops=viewer:web:": "is not a stage", "a=viewer:b:c:d": "ROLE:TEAM",
		"{team}{team}=viewer:{team}": "twice",
	} {
		_, err := access.ParseRules(text)
		require.ErrorContains(t, err, want, text)
	}
	rules, err := access.ParseRules(" ;\n; ")
	require.NoError(t, err)
	require.Empty(t, rules)
}
