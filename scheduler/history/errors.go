package history

import (
	"errors"
	"fmt"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/engine"
)

// ErrUnavailable: the history cannot be read now. The text says why.
var ErrUnavailable = errors.New("the history cannot be read now")

// ErrSlow: a query took too long and was given up.
var ErrSlow = errors.New("the query of history took too long: narrow it, by time, by job or by agent")

// errCursor: a cursor is not one that a page gave.
var errCursor = api.Invalid{{Location: "query.cursor", Message: "is not a cursor of these: it is next of the page before, as it was answered"}}

// WrongError says that a history is not to be used as configured; trying again
// does not help.
type WrongError struct{ Reason string }

func (e *WrongError) Error() string { return e.Reason }

func wrong(format string, args ...any) error { return &WrongError{fmt.Sprintf(format, args...)} }

// GapError says that events after the one asked for are not in history.
type GapError struct {
	// Next is the last event of the gap: what is asked for after it is there.
	Next engine.EventID
}

func (e *GapError) Error() string {
	return "events after that one are missing in history; it goes on after " + e.Next.String()
}
