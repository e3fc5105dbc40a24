package strict

import (
	"strings"

	"github.com/perigee-sched/perigee/api/nearest"
)

// Nearest returns the candidate that word was most likely meant to be, "" when
// none is near: see nearest.Name; besides, an abbreviation such as mem stands
// for the first candidate it begins.
func Nearest(word string, candidates []string) string {
	if len(word) < 2 {
		return "" // would be near every other letter
	}
	if near := nearest.Name(fold(word), candidates); near != "" {
		return near
	}
	for _, c := range candidates {
		if len(word) >= 3 && strings.HasPrefix(c, fold(word)) {
			return c
		}
	}
	return ""
}

// fold writes word as fields are written: stopFirst and stop-first are
// stop_first.
func fold(word string) string {
	var b strings.Builder
	for i, r := range word {
		switch {
		case r == '-':
			r = '_'
		case r >= 'A' && r <= 'Z':
			if i > 0 && word[i-1] >= 'a' && word[i-1] <= 'z' {
				b.WriteByte('_')
			}
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
}
