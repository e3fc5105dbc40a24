package journal

import (
	"errors"
	"fmt"
)

var (
	// ErrFenced means that a newer epoch leads. It is final: withhold all effects.
	ErrFenced = errors.New("fenced: a newer epoch leads the journal")

	// ErrUnknown means that a group may or may not be durable; see Journal.Resolve.
	ErrUnknown = errors.New("outcome of the append is unknown")

	// ErrRefused means that a group, or the moment of its append, breaks the contract of Append.
	ErrRefused = errors.New("refused")

	// ErrBehind means that a follower was too slow: entries it has not read were compacted away.
	ErrBehind = errors.New("behind: entries not yet read were compacted away")

	// ErrClosed is returned by every use after Close.
	ErrClosed = errors.New("journal is closed")
)

// CorruptError says where a journal is damaged. What was acknowledged is lost there, so nothing
// goes on by itself: an operator restores the file or a backup.
type CorruptError struct {
	File   string // path of the file (or znode)
	Offset int64  // of the first byte that cannot be read as what it should be
	Reason string
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("journal is corrupt: %s at offset %d: %s", e.File, e.Offset, e.Reason)
}

// UnfinishedError says that a restore into a journal did not end: what it holds may be part of a
// backup, or what was there before.
type UnfinishedError struct{ Where string }

func (e *UnfinishedError) Error() string {
	return fmt.Sprintf("%s: a restore into this journal did not end, and what it holds is not all: run `perigee state restore` again, to its end", e.Where)
}

// ErrNotToRestore means that a journal was not opened to be restored.
var ErrNotToRestore = errors.New("the journal was not opened to be restored")

// Unknown wraps the cause of an append's unknown outcome.
func Unknown(cause error) error { return fmt.Errorf("%w: %w", ErrUnknown, cause) }

// Refused says what is wrong with an append.
func Refused(format string, args ...any) error {
	return fmt.Errorf("append %w: %s", ErrRefused, fmt.Sprintf(format, args...))
}
