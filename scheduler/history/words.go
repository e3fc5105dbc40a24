package history

import (
	"strconv"
	"strings"
	"unicode"
)

const (
	wordsMost   = 200 // of one text
	wordMost    = 40  // letters; longer ones are cut
	askedMost   = 20  // words of a question
	wordPrefix  = "w"
	parameterOf = "x"
	actorOf     = "u"
	groupOf     = "g"
)

// words are the distinct words of texts: runs of letters and digits, in lower
// case. They are cut here, and not by the databases, so that both find the same.
func words(texts ...string) []string {
	var out []string
	var seen map[string]bool
	for _, text := range texts {
		for word := range strings.FieldsFuncSeq(text, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
			word = strings.ToLower(word)
			if len(word) > wordMost {
				if letters := []rune(word); len(letters) > wordMost {
					word = string(letters[:wordMost])
				}
			}
			if seen[word] {
				continue
			}
			if seen == nil {
				seen = map[string]bool{}
			}
			seen[word] = true
			if out = append(out, word); len(out) == wordsMost {
				return out
			}
		}
	}
	return out
}

// wordTerms are the terms of the words of texts.
func wordTerms(texts ...string) []string {
	list := words(texts...)
	for i := range list {
		list[i] = wordPrefix + list[i]
	}
	return list
}

// hashTerm is a term for text of any kind and length.
func hashTerm(kind string, text ...string) string {
	return kind + strconv.FormatUint(uint64(hash(text...)), 16)
}
