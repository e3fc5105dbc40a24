package engine

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Who resumes before the journal is loaded is to try again: nothing says yet
// that the events are gone.
func TestFollow_BeforeTheJournalIsLoaded(t *testing.T) {
	e := New(Options{})
	_, err := e.Follow("abcd-7-0")
	require.ErrorIs(t, err, ErrUnavailable)
	e.events.begin("abcd", 3, nil, 10)
	_, err = e.Follow("abcd-7-0")
	require.NoError(t, err)
	var gone *GoneError
	_, err = e.Follow("abcd-2-0")
	require.ErrorAs(t, err, &gone)
}
