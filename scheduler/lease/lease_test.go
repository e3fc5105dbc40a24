package lease_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/scheduler/lease"
)

func TestFeatures_AreWhatAllKnow(t *testing.T) {
	t.Parallel()
	knows := func(features ...string) lease.Member { return lease.Member{Features: features} }
	for _, c := range []struct {
		members []lease.Member
		want    []string
	}{
		{nil, nil},
		{[]lease.Member{knows("b", "a")}, []string{"a", "b"}},
		{[]lease.Member{knows("b", "a", "c"), knows("c", "b")}, []string{"b", "c"}},
		{[]lease.Member{knows("a"), {Address: "an older one"}}, []string{}},
		{[]lease.Member{{Address: "an older one"}, knows("a")}, nil},
	} {
		require.Equal(t, c.want, lease.Features(c.members), "%v", c.members)
	}
	members := []lease.Member{knows("b", "a"), knows("b")}
	lease.Features(members)
	require.Equal(t, []string{"b", "a"}, members[0].Features, "it is not changed")
}
