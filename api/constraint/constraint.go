// Package constraint reads and applies placement constraints: conditions on an
// agent's attributes and host name that an agent must meet to run a task.
//
// The grammar, one constraint to a string:
//
//	NAME = VALUE          NAME != VALUE
//	NAME in (VALUE, …)    NAME not in (VALUE, …)
//	NAME < NUMBER         and <=, >, >=
//	has NAME              lacks NAME
//
// NAME is an attribute of the agent, or host (also hostname). A VALUE with
// blanks, commas or brackets is put in double quotes. The words has, lacks, in
// and not are written in small letters.
//
// Values are compared as text, the way Mesos shows an attribute: a scalar is 8,
// not 8.0, and ranges are [1-5]. The comparisons read both sides as numbers,
// and an agent whose attribute is no number does not meet them. An agent
// without the attribute meets only !=, not in and lacks.
//
// The package owns one constraint. That all of a job's must be met, and what an
// agent's attributes are, is the scheduler's.
package constraint

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// Attributes are what an agent tells of itself, as text, and its host name under
// the name host.
type Attributes interface {
	Attribute(name string) (value string, ok bool)
}

type operator uint8

const (
	equal operator = iota
	notEqual
	in
	notIn
	less
	lessOrEqual
	greater
	greaterOrEqual
	has
	lacks
)

var symbols = map[operator]string{
	equal: "=", notEqual: "!=", in: "in", notIn: "not in", less: "<", lessOrEqual: "<=",
	greater: ">", greaterOrEqual: ">=", has: "has", lacks: "lacks",
}

// Constraint is one condition. The zero value is none; see Parse.
type Constraint struct {
	name   string
	op     operator
	values []string
	number float64 // of the comparisons
}

// Name is the attribute that the constraint is about; host if it is hostname.
func (c Constraint) Name() string { return c.name }

// Match says whether an agent meets the constraint.
func (c Constraint) Match(agent Attributes) bool {
	value, ok := agent.Attribute(c.name)
	switch c.op {
	case has:
		return ok
	case lacks:
		return !ok
	case equal, in:
		return ok && slices.Contains(c.values, value)
	case notEqual, notIn:
		return !ok || !slices.Contains(c.values, value)
	}
	n, err := strconv.ParseFloat(value, 64)
	if !ok || err != nil || math.IsInf(n, 0) {
		return false
	}
	switch c.op {
	case less:
		return n < c.number
	case lessOrEqual:
		return n <= c.number
	case greater:
		return n > c.number
	}
	return n >= c.number
}

// String is the constraint in its canonical form: "rack in (r1, r2)". Parse reads
// it back as the same constraint, and reasons for pending show it.
func (c Constraint) String() string {
	symbol := symbols[c.op]
	switch c.op {
	case has, lacks:
		return symbol + " " + c.name
	case in, notIn:
		values := make([]string, len(c.values))
		for i, v := range c.values {
			values[i] = quoted(v)
		}
		return subject(c.name) + " " + symbol + " (" + strings.Join(values, ", ") + ")"
	}
	return subject(c.name) + " " + symbol + " " + quoted(c.values[0])
}

// subject keeps an attribute's name at the beginning from being read as a word
// of the language.
func subject(name string) string {
	if name == "has" || name == "lacks" || name == "not" {
		return strconv.Quote(name)
	}
	return name
}

func quoted(v string) string {
	if v == "" || strings.ContainsFunc(v, func(r rune) bool { return !isWord(r) }) {
		return strconv.Quote(v)
	}
	return v
}
