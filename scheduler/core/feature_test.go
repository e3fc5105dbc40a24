package core

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFeatures_MayBeUsedWhileAllKnowThem(t *testing.T) {
	t.Parallel()
	c, err := Load(Config{}, func(func(string, Record) bool) {})
	require.NoError(t, err)
	now := int64(1)
	step := func(events ...Event) {
		now++
		c.Step(now, events)
	}
	step(Elected{Scheduler: "test", Incarnation: "i1"})
	require.False(t, c.may("a"), "nothing is known of the others yet")
	step(Features{Names: []string{"a", "b"}})
	require.True(t, c.may("a"))
	require.False(t, c.may("c"))
	require.Equal(t, []string{"a", "b"}, c.Observe().Features)
	step(Features{Names: []string{"b"}})
	require.False(t, c.may("a"), "an older scheduler has come")
	require.True(t, c.may("b"))
}
