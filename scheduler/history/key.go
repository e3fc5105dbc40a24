package history

import (
	"encoding/binary"
	"hash/fnv"
	"time"
)

// A row's key, k, is when it ended, in ms, and in its lower bits a hash of what
// it is, so that keys order by time and are the same in every history. Two rows
// whose keys would be equal are told apart by adding to the later one's.
const (
	keyBits = 22
	keyMask = 1<<keyBits - 1
	keyMost = 1<<63 - 1
	// keyTries bounds how many neighbours a key may have.
	keyTries = 64
)

// keyEpoch is when keys begin, in ms: 2020. They last until 2089.
var keyEpoch = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()

func keyOf(ms, ident int64) int64 { return keyFrom(ms) | ident&keyMask }

// keyFrom is the first key of a time.
func keyFrom(ms int64) int64 {
	ms = min(max(ms-keyEpoch, 0), keyMost>>keyBits)
	return ms << keyBits
}

// keyTime is the time of a key, in ms.
func keyTime(k int64) int64 { return k>>keyBits + keyEpoch }

// hash of words, which may have anything in them.
func hash(words ...string) int64 {
	h := fnv.New64a()
	for _, w := range words {
		var n [8]byte
		binary.LittleEndian.PutUint64(n[:], uint64(len(w)))
		h.Write(n[:])
		h.Write([]byte(w))
	}
	x := h.Sum64()
	x ^= x >> 32 // FNV's lower bits depend on few of the last letters
	return int64(x)
}

// Rows have a span, which says about how long they took: less than a second,
// than 8, than 64 and so on. What took place at some time ended soon after it,
// how soon by its span; so that it can be looked for by when it ended.
const spans = 9

func spanOf(began, ended int64) int {
	span := 0
	for most := int64(1000); span < spans-1 && ended-began >= most; most *= 8 {
		span++
	}
	return span
}

// spanMost is how long something of a span took at the most, in ms.
func spanMost(span int) int64 {
	if span == spans-1 {
		return 1 << 40
	}
	most := int64(1000)
	for range span {
		most *= 8
	}
	return most
}
