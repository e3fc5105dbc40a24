// Package nearest answers "did you mean …?": it picks, from the names that
// would have been valid, the one a misspelt word most likely meant.
//
// It owns only that choice. The wording of the error stays with its caller.
package nearest

import "strings"

// longest is the longest word worth correcting, in bytes: anything longer is
// not a misspelt name, and the work stays bounded on hostile input.
const longest = 64

// Name returns the entry of names closest to got, ignoring case, or "" when
// none is close: at most a third of the letters wrong (at least one), counting
// an insertion, a deletion, a replacement or two swapped neighbours as one.
// The first of equally close names wins.
func Name(got string, names []string) string {
	got = strings.ToLower(got)
	if got == "" || len(got) > longest {
		return ""
	}
	best, bound := "", max(1, len(got)/3)+1
	for _, name := range names {
		if skew := len(name) - len(got); skew >= bound || -skew >= bound {
			continue
		}
		if d := distance(got, strings.ToLower(name)); d < bound {
			best, bound = name, d
		}
	}
	return best
}

// distance is the optimal string alignment distance of a and b, in bytes.
func distance(a, b string) int {
	before := make([]int, len(b)+1)
	above := make([]int, len(b)+1)
	row := make([]int, len(b)+1)
	for j := range above {
		above[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(above[j]+1, row[j-1]+1, above[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, above, row = above, row, before
	}
	return above[len(b)]
}
