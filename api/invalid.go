package api

import (
	"fmt"
	"slices"
	"strings"

	"github.com/perigee-sched/perigee/api/strict"
)

// Invalid is an error that lists everything that is wrong with an input.
type Invalid []ProblemField

func (v Invalid) Error() string {
	lines := make([]string, len(v))
	for i, p := range v {
		lines[i] = p.Message
		if p.Location != "" {
			lines[i] = p.Location + ": " + p.Message
		}
	}
	return strings.Join(lines, "\n")
}

// problems collects what a check finds.
type problems []ProblemField

func (p *problems) add(path string, value any, format string, args ...any) {
	if s, ok := value.(string); ok {
		value = strict.Shorten(s)
	}
	*p = append(*p, ProblemField{Location: path, Message: fmt.Sprintf(format, args...), Value: value})
}

// number wants least ≤ n ≤ most.
func (p *problems) number(path string, n, least, most int) {
	if n < least || n > most {
		p.add(path, n, "is %d: it must be from %d to %d", n, least, most)
	}
}

// optional is number for a field whose 0 stands for its default.
func (p *problems) optional(path string, n, least, most int) {
	if n != 0 {
		p.number(path, n, least, most)
	}
}

// duration wants least ≤ d ≤ most, or 0: that is the default or means none.
func (p *problems) duration(path string, d, least, most Duration) {
	if d != 0 && (d < least || d > most) {
		p.add(path, d.String(), "is %s: it must be from %s to %s", d, least, most)
	}
}

func (p *problems) bytes(path string, b, least, most Bytes) {
	if b < least || b > most {
		p.add(path, b.String(), "is %s: it must be from %s to %s", b, least, most)
	}
}

// count wants at most this many entries.
func (p *problems) count(path string, n, most int) {
	if n > most {
		p.add(path, n, "has %d entries: at most %d are allowed", n, most)
	}
}

// text wants valid UTF-8 without NUL of at most this many bytes.
func (p *problems) text(path, s string, most int) bool {
	switch {
	case len(s) > most:
		p.add(path, nil, "is %d bytes long: at most %d are allowed", len(s), most)
	case strings.ContainsRune(s, 0):
		p.add(path, nil, "has a NUL character")
	case strings.ToValidUTF8(s, "") != s:
		p.add(path, nil, "is not valid UTF-8")
	default:
		return true
	}
	return false
}

// line wants text that is not blank.
func (p *problems) line(path, s string, most int) bool {
	if strings.TrimSpace(s) == "" {
		p.add(path, nil, "is missing or blank")
		return false
	}
	return p.text(path, s, most)
}

// choice wants one of the allowed words; "" is fine where it is the default.
func (p *problems) choice(path, s string, allowed ...string) {
	if s != "" && !slices.Contains(allowed, s) {
		p.add(path, s, "%q is not known: it must be %s%s", strict.Shorten(s), orList(allowed), didYouMean(s, allowed))
	}
}

// sameVariable refuses names that one environment variable would stand for.
func (p *problems) sameVariable(paths, names []string, prefix string) {
	first := map[string]string{}
	for i, name := range names {
		v := variable(name)
		switch other, taken := first[v]; {
		case taken && other == name:
			p.add(paths[i], name, "%q is given twice", strict.Shorten(name))
		case taken:
			p.add(paths[i], name, "%q and %q would both be %s%s in the environment: rename one", other, strict.Shorten(name), prefix, v)
		default:
			first[v] = name
		}
	}
}

// variable is how a name appears in an environment: in capitals, "-" as "_".
func variable(name string) string {
	return strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// orList writes "a, b or c".
func orList(words []string) string { return list(words, " or ") }

// andList writes "a, b and c".
func andList(words []string) string { return list(words, " and ") }

func list(words []string, last string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + last + words[len(words)-1]
}

func didYouMean(word string, candidates []string) string {
	if near := strict.Nearest(word, candidates); near != "" {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	return ""
}
