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

// Unknown wraps the cause of an append's unknown outcome.
func Unknown(cause error) error { return fmt.Errorf("%w: %w", ErrUnknown, cause) }

// Refused says what is wrong with an append.
func Refused(format string, args ...any) error {
	return fmt.Errorf("append %w: %s", ErrRefused, fmt.Sprintf(format, args...))
}
