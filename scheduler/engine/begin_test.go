package engine

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/scheduler/journal/memory"
	leases "github.com/perigee-sched/perigee/scheduler/lease/memory"
)

// Who resumes before the journal is loaded is to try again: nothing says yet
// that the events are gone.
func TestFollow_BeforeTheJournalIsLoaded(t *testing.T) {
	e := New(Options{})
	_, err := e.Follow("abcd-7-0")
	require.ErrorIs(t, err, ErrUnavailable)
	e.events.begin("abcd", wholeEntry(3), nil, 10)
	_, err = e.Follow("abcd-7-0")
	require.NoError(t, err)
	var gone *GoneError
	_, err = e.Follow("abcd-2-0")
	require.ErrorAs(t, err, &gone)
}

// A standby that has not read the journal does not know from where on events
// are to come: those that are written meanwhile would be missing.
func TestFollow_OfAStandbyBeforeItsJournalIsLoaded(t *testing.T) {
	e := New(Options{Journal: new(memory.Storage).Open(), Lease: new(leases.Election).Open("a")})
	_, err := e.Follow("")
	require.ErrorIs(t, err, ErrUnavailable)
	e.events.begin("abcd", wholeEntry(3), nil, 10)
	_, err = e.Follow("")
	require.NoError(t, err)
}
