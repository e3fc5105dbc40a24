package server

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Every operation has a permission, and every permission is an operation's.
func TestPermissions_AreThoseOfTheOperations(t *testing.T) {
	t.Parallel()
	s, err := New(Options{Scheduler: struct{ Scheduler }{}})
	require.NoError(t, err)
	registered := map[string]bool{}
	for _, p := range s.protected {
		registered[p.id] = true
	}
	for id := range permissions {
		require.True(t, registered[id], "%s is no operation: take it out of permissions.go", id)
	}
	s.protect("new-operation", "GET", "/v1/new")
	require.ErrorContains(t, s.unprotected[0], "has no permission")
}
