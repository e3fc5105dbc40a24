package constraint

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/perigee-sched/perigee/api/nearest"
)

const (
	wantOperator  = "=, !=, in (…), not in (…), <, <=, > or >="
	wantAttribute = "the name of an attribute"
	wantStart     = wantAttribute + ", has or lacks"
)

// meant is what people write who know another language.
var meant = map[string]string{
	"is": "=", "eq": "=", "equals": "=", "ne": "!=", "<>": "!=", "gt": ">", "ge": ">=", "lt": "<", "le": "<=",
	"notin": "not in", "nin": "not in", "~": "in (…)", "=~": "in (…)", "matches": "in (…)", "like": "in (…)",
	"contains": "in (…)", "has": "has", "lacks": "lacks", "exists": "has",
}

// Parse reads a constraint. The error says at which column it goes wrong,
// counted in characters from 1, what is expected there, and what may have been
// meant. What one release accepts the next ones must, since deployed specs are
// parsed again.
func Parse(text string) (Constraint, error) {
	p := parser{text: text}
	p.next()
	c, err := p.constraint()
	if err == nil && p.token != "" {
		err = p.errorf("nothing more")
	}
	if err != nil {
		return Constraint{}, err
	}
	return c, nil
}

// parser reads one token ahead.
type parser struct {
	text  string
	at    int    // of what follows the token
	begin int    // of the token
	token string // "" at the end
	value string // of a word or a quoted text
	word  bool   // the token is a word or a quoted text
	bad   string // why the token is none
}

func (p *parser) errorf(wanted string) error {
	found := "the end"
	if p.token != "" {
		found = strconv.Quote(p.token)
	}
	column := utf8.RuneCountInString(p.text[:p.begin]) + 1
	if p.bad != "" {
		return fmt.Errorf("constraint %q, column %d: %s", p.text, column, p.bad)
	}
	return fmt.Errorf("constraint %q, column %d: expected %s, found %s", p.text, column, wanted, found)
}

// isWord says whether r is part of a name or a value without quotes.
func isWord(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("-_.:/+@*%~", r)
}

// pairs are the tokens of two characters; the last two are none of the
// language, but are told of as a whole.
var pairs = []string{"!=", "==", "<=", ">=", "<>", "=~"}

// next reads the next token.
func (p *parser) next() {
	for p.at < len(p.text) && strings.IndexByte(" \t\r\n", p.text[p.at]) >= 0 {
		p.at++
	}
	rest := p.text[p.at:]
	p.begin, p.token, p.value, p.word, p.bad = p.at, "", "", false, ""
	if rest == "" {
		return
	}
	n := strings.IndexFunc(rest, func(r rune) bool { return !isWord(r) })
	switch {
	case n < 0:
		n = len(rest)
		fallthrough
	case n > 0:
		p.value, p.word = rest[:n], true
	case rest[0] == '"':
		n = p.quoted(rest)
	case len(rest) > 1 && slices.Contains(pairs, rest[:2]):
		n = 2
	default:
		_, n = utf8.DecodeRuneInString(rest)
	}
	p.token = rest[:n]
	p.at += n
}

func (p *parser) quoted(rest string) int {
	prefix, err := strconv.QuotedPrefix(rest)
	if err != nil {
		p.bad = "a text in quotes does not end or has an unknown escape"
		return len(rest)
	}
	p.value, err = strconv.Unquote(prefix)
	if err != nil {
		p.bad = "a text in quotes is malformed"
	}
	p.word = true
	return len(prefix)
}

func (p *parser) constraint() (Constraint, error) {
	if p.token == "!" {
		return Constraint{}, p.errorf(wantStart + ` (did you mean "lacks"?)`)
	}
	first := *p
	name, err := p.attribute(wantStart)
	if err != nil {
		return Constraint{}, err
	}
	switch {
	case first.token == "not" && p.token == "in": // it lacks a name
		return Constraint{}, first.errorf(wantStart)
	case first.token == "not" && p.word:
		return Constraint{}, first.errorf(wantStart + ` (did you mean "lacks"?)`)
	case !p.word || first.token != "has" && first.token != "lacks":
		return p.comparison(name)
	}
	c := Constraint{op: lacks}
	if name == "has" {
		c.op = has
	}
	c.name, err = p.attribute(wantAttribute)
	return c, err
}

// attribute reads the name of an attribute; hostname is host.
func (p *parser) attribute(wanted string) (string, error) {
	name := p.value
	if !p.word || name == "" || strings.ContainsFunc(name, func(r rune) bool { return !isWord(r) }) {
		return "", p.errorf(wanted)
	}
	p.next()
	if name == "hostname" {
		name = "host"
	}
	return name, nil
}

func (p *parser) comparison(name string) (Constraint, error) {
	c := Constraint{name: name}
	switch p.token {
	case "=", "==":
		c.op = equal
	case "!=":
		c.op = notEqual
	case "<", "<=", ">", ">=":
		c.op = map[string]operator{"<": less, "<=": lessOrEqual, ">": greater, ">=": greaterOrEqual}[p.token]
	case "in":
		p.next()
		c.op = in
		err := p.list(&c)
		return c, err
	case "not":
		p.next()
		if p.token != "in" {
			return c, p.errorf("in")
		}
		p.next()
		c.op = notIn
		err := p.list(&c)
		return c, err
	default:
		return c, p.operatorError(name)
	}
	p.next()
	if !p.word {
		return c, p.errorf("a value")
	}
	c.values = []string{p.value}
	if c.op >= less {
		n, err := strconv.ParseFloat(p.value, 64)
		if err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
			return c, p.errorf("a number")
		}
		c.number = n
	}
	p.next()
	return c, nil
}

// operatorError says that no operator follows name, which may itself have been
// meant as one.
func (p *parser) operatorError(name string) error {
	near := meant[strings.ToLower(p.token)]
	if near == "" && p.word {
		near = nearest.Name(p.value, []string{"in", "not in"})
	}
	if near == "" && p.word {
		near = nearest.Name(name, []string{"has", "lacks"})
	}
	if near == "" {
		return p.errorf(wantOperator)
	}
	return p.errorf(fmt.Sprintf("%s (did you mean %q?)", wantOperator, near))
}

func (p *parser) list(c *Constraint) error {
	if p.token != "(" {
		return p.errorf("( and a list of values")
	}
	for {
		p.next()
		if !p.word {
			return p.errorf("a value")
		}
		c.values = append(c.values, p.value)
		p.next()
		switch p.token {
		case ",":
		case ")":
			p.next()
			return nil
		default:
			return p.errorf(", or )")
		}
	}
}
