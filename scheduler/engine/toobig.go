package engine

import (
	"fmt"

	"github.com/perigee-sched/perigee/scheduler/journal"
)

// recordMost is how big a record or an event may be, with its key: that an entry
// holds it, with some room.
const recordMost = journal.MaxEntryBytes - 1<<10

// TooBigError says that a request would have made something that the journal
// cannot hold. Nothing was changed.
//
// Core and the API bound all that a record is made of, so this is a mistake of
// Perigee's. The core has gone on by then: the leadership ends, and the next, of
// this scheduler or another, goes on from what is durable.
type TooBigError struct {
	Key   string // of the record, or the event's type
	Bytes int
}

func (e *TooBigError) Error() string {
	return fmt.Sprintf("%s would be %d bytes big, and the journal holds at most %d; nothing was changed", e.Key, e.Bytes, recordMost)
}

// errAmong is for the requests of a step of which one was too big.
var errAmong = fmt.Errorf("%w: another request was too big for the journal; nothing was changed", ErrUnavailable)

func fits(key string, bytes int) error {
	if bytes > recordMost {
		return &TooBigError{Key: key, Bytes: bytes}
	}
	return nil
}

// alone says that one request alone made effects that write a record. Of several
// it is not known whose it is: repeated one by one, it is.
func (out effects) alone(key string) bool {
	if len(out.answers) != 1 {
		return false
	}
	for _, wr := range out.ready.Writes {
		if wr.Key == key {
			return true
		}
	}
	return false
}
