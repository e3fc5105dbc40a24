package config

import (
	"fmt"
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

// file is a source that problems are told about.
type file struct {
	name string
	data []byte
}

func (f file) problem(p strict.Problem) Problem {
	out := Problem{Where: f.name, Path: p.Path, Message: p.Message}
	if p.At.Line > 0 {
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
	lines := strings.Split(string(f.data), "\n")
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
