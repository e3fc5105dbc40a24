package core

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"github.com/perigee-sched/perigee/scheduler/record"
)

// A record has to fit into one entry of the journal, of 500 KiB. What requests
// bring is bounded by the API; what Mesos and time bring is bounded here.
const (
	// messageMost bounds a text that Mesos sent, in bytes.
	messageMost = 4 << 10
	// timelineMost bounds an encoded timeline; timelineKeep is how many of its
	// newest moments stay when it is exceeded.
	timelineMost = 32 << 10
	timelineKeep = 50
	// failuresMost is of how many instances a rollout counts failures.
	failuresMost = 40_000
	// groupMost bounds the specs of a deploy group together.
	groupMost = 320 << 10
)

// validText is what may be kept of a text that came from outside.
func validText(s string) string {
	s = strings.ToValidUTF8(s, "?")
	if len(s) <= messageMost {
		return s
	}
	return fmt.Sprintf("%s… (%d bytes in all)", firstBytes(s, messageMost), len(s))
}

// firstBytes is the beginning of a longer text, of at most n bytes and of whole
// characters.
func firstBytes(s string, n int) string {
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// shortened is a timeline without what lies between its first moment and its
// newest ones, if it has become long.
func shortened(timeline []byte) []byte {
	if len(timeline) <= timelineMost {
		return timeline
	}
	var l record.Timeline
	if proto.Unmarshal(timeline, &l) != nil {
		return timeline // what a newer version wrote is left alone
	}
	for keep := timelineKeep; ; keep /= 2 {
		short := &record.Timeline{}
		if n := len(l.Moments); n > keep+1 {
			left := l.Moments[n-keep-1]
			short.Moments = append(short.Moments, l.Moments[0],
				&record.Moment{At: left.At, State: left.State, Message: "… moments before this one are left out"})
			short.Moments = append(short.Moments, l.Moments[n-keep:]...)
		} else {
			short.Moments = l.Moments
		}
		b, err := proto.Marshal(short)
		if err != nil {
			panic(err) // it was encoded before
		}
		if len(b) <= timelineMost/2 || keep == 0 {
			return b
		}
	}
}
