package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/perigee-sched/perigee/api/strict"
)

// Error lists everything that is wrong with a file or a configuration.
type Error struct{ Problems []Problem }

// Problem is one thing that is wrong.
type Problem struct {
	// Where it was said: "hello.yaml:7:3", "environment PERIGEE_MESOS_ROLE",
	// "flag --mesos-role".
	Where string
	// Path of the value, "" when it is about the whole: health.http.port.
	Path    string
	Message string
	// Source line with a caret below, in two lines; "" when there is none.
	Source string
	// File, Line and Column, from 1, that Where says, when it is in a file.
	File         string
	Line, Column int
	// Context says how it came to be: which file extends this one, from where a
	// variable has its value, which jobs it is about.
	Context []string

	jobs []string // that it is about
	err  error
}

// Unwrap returns the errors that problems are, such as fs.ErrNotExist.
func (e *Error) Unwrap() []error {
	var errs []error
	for _, p := range e.Problems {
		if p.err != nil {
			errs = append(errs, p.err)
		}
	}
	return errs
}

func (e *Error) Error() string {
	var b strings.Builder
	for i, p := range e.Problems {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(p.String())
		if p.Source != "" {
			b.WriteString("\n" + p.Source)
		}
		for _, c := range p.Context {
			b.WriteString("\n    " + c)
		}
	}
	return b.String()
}

// String is p in one line: hello.yaml:7:3: health.http.port: what is wrong.
func (p Problem) String() string {
	s := p.Message
	if p.Path != "" {
		s = p.Path + ": " + s
	}
	if p.Where != "" {
		s = p.Where + ": " + s
	}
	return s
}

// about says which of several jobs a problem is about.
func (p *Problem) about(all int) {
	jobs := slices.Compact(slices.DeleteFunc(p.jobs, func(j string) bool { return j == "" }))
	switch n := len(jobs); {
	case n == 0 || all < 2:
	case n == all && n == 2:
		p.Context = append(p.Context, "in both jobs")
	case n == all:
		p.Context = append(p.Context, fmt.Sprintf("in all %d jobs", n))
	case n == 1:
		p.Context = append(p.Context, "in "+jobs[0])
	default:
		p.Context = append(p.Context, fmt.Sprintf("in %s and %d more of %d jobs", jobs[0], n-1, all))
	}
}

// file is a source that problems are told about.
type file struct {
	name  string
	data  []byte
	lines []string // of data; nil when there is no hurry
}

func (f file) all() []string {
	if f.lines != nil {
		return f.lines
	}
	return strings.Split(string(f.data), "\n")
}

func (f file) problem(p strict.Problem) Problem {
	out := Problem{Where: f.name, File: f.name, Path: p.Path, Message: p.Message}
	if p.At.Line > 0 {
		out.Line, out.Column = p.At.Line, p.At.Column
		out.Where = fmt.Sprintf("%s:%d:%d", f.name, p.At.Line, p.At.Column)
		out.Source = f.quote(p.At)
	}
	return out
}

func (f file) fail(at strict.Position, format string, args ...any) *Error {
	return &Error{[]Problem{f.problem(strict.Problem{Message: fmt.Sprintf(format, args...), At: at})}}
}

// quote returns the line at a position with a caret below its column, or "".
func (f file) quote(at strict.Position) string {
	const before, width = 60, 100 // characters of a long line that are shown
	lines := f.all()
	if at.Line > len(lines) {
		return ""
	}
	line := []rune(strings.TrimRight(lines[at.Line-1], "\r"))
	caret := min(max(at.Column-1, 0), len(line))
	from := 0
	if len(line) > width && caret > before {
		from = caret - before
	}
	line, caret = line[from:min(len(line), from+width)], caret-from
	pad := make([]rune, caret)
	for i := range pad {
		pad[i] = ' '
		if line[i] == '\t' {
			pad[i] = '\t'
		}
	}
	return "    " + string(line) + "\n    " + string(pad) + "^"
}
