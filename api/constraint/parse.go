package constraint

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/perigee-sched/perigee/api/nearest"
)

const expected = "=, !=, in (…), not in (…), <, <=, > or >="

// Parse reads a constraint; the error says where it is wrong and what is
// expected there.
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
	if p.bad != "" {
		return fmt.Errorf("constraint %q, column %d: %s", p.text, p.begin+1, p.bad)
	}
	return fmt.Errorf("constraint %q, column %d: expected %s, found %s", p.text, p.begin+1, wanted, found)
}

// isWord says whether r is part of a name or a value without quotes.
func isWord(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("-_.:/+@*%~", r)
}

func (p *parser) next() {
	for p.at < len(p.text) && (p.text[p.at] == ' ' || p.text[p.at] == '\t') {
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
	case strings.HasPrefix(rest, "!="), strings.HasPrefix(rest, "=="), strings.HasPrefix(rest, "<="), strings.HasPrefix(rest, ">="):
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
		p.bad = "a text in quotes does not end"
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
	if !p.word {
		return Constraint{}, p.errorf("the name of an attribute, has or lacks")
	}
	first := p.value
	if strings.ContainsFunc(first, func(r rune) bool { return !isWord(r) }) || first == "" {
		return Constraint{}, p.errorf("the name of an attribute")
	}
	p.next()
	if p.word && (first == "has" || first == "lacks") {
		if strings.ContainsFunc(p.value, func(r rune) bool { return !isWord(r) }) || p.value == "" {
			return Constraint{}, p.errorf("the name of an attribute")
		}
		c := Constraint{name: p.value, op: map[string]operator{"has": has, "lacks": lacks}[first]}
		p.next()
		return c, nil
	}
	return p.comparison(first)
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
		return c, p.operatorError()
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

func (p *parser) operatorError() error {
	wanted := expected
	if p.word {
		if near := nearest.Name(p.value, []string{"in", "not", "has", "lacks"}); near != "" {
			wanted += fmt.Sprintf(" (did you mean %q?)", near)
		}
	}
	return p.errorf(wanted)
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
