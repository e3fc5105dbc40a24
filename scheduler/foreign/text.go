// Package foreign makes what programs of others said fit to be shown to people.
package foreign

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// OneLine is the beginning of a text, at most most bytes and a mark that it goes
// on, on one line and without what cannot be printed.
func OneLine(text string, most int) string {
	text = text[:min(len(text), 4*most)]
	text = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r), r == utf8.RuneError:
			return -1
		}
		return r
	}, text)
	text = strings.Join(strings.Fields(text), " ")
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}
