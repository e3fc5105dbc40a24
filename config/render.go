package config

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"github.com/perigee-sched/perigee/api/strict"
)

// Render writes j as a job file of its own: what Load reads of it is j's spec
// again. What is yet to be resolved is left as it is, with a comment.
func Render(j Job) (string, error) {
	canonical, err := j.Spec.Canonical()
	if err != nil {
		return "", err
	}
	tree, err := strict.ParseJSON(canonical)
	if err != nil {
		return "", fmt.Errorf("render %s: %w", j.Spec.Job, err)
	}
	if artifacts := tree.Field("artifacts"); artifacts != nil {
		for _, c := range j.Checksums {
			a := artifacts.Items[c.Artifact]
			a.Fields = append(a.Fields, strict.Field{Name: checksumField, Value: &strict.Node{Kind: strict.String, Text: c.URL}})
		}
	}
	if asks := j.Stage == "prod" || j.Stage == "production"; asks != j.Confirm {
		tree.Fields = append(tree.Fields, strict.Field{Name: "confirm", Value: &strict.Node{Kind: strict.Bool, Text: strconv.FormatBool(j.Confirm)}})
	}
	w := new(yamlWriter)
	w.fields(tree, 0, nil)
	return w.String(), nil
}

// yamlWriter writes a tree as YAML that reads the same to every parser.
type yamlWriter struct{ strings.Builder }

func (w *yamlWriter) fields(n *strict.Node, depth int, p *place) {
	for i, f := range n.Fields {
		if i > 0 {
			w.indent(depth)
		}
		w.WriteString(name(f.Name) + ":")
		at := p.field(f.Name)
		switch {
		case f.Value.Kind == strict.Map && len(f.Value.Fields) > 0:
			w.WriteByte('\n')
			w.indent(depth + 1)
			w.fields(f.Value, depth+1, at)
			continue
		case f.Value.Kind == strict.List && len(f.Value.Items) > 0:
			w.WriteByte('\n')
			w.items(f.Value, depth+1, at)
			continue
		}
		w.WriteByte(' ')
		w.scalar(f.Value, depth+1, at)
		if at.inArtifact(checksumField) {
			w.WriteString(" # read when deploying")
		}
		w.WriteByte('\n')
	}
}

func (w *yamlWriter) items(n *strict.Node, depth int, p *place) {
	for i, item := range n.Items {
		w.indent(depth)
		w.WriteString("- ")
		at := &place{parent: p, item: i + 1}
		if item.Kind == strict.Map && len(item.Fields) > 0 {
			w.fields(item, depth+1, at)
			continue
		}
		w.scalar(item, depth+1, at)
		w.WriteByte('\n')
	}
}

func (w *yamlWriter) indent(depth int) { w.WriteString(strings.Repeat("  ", depth)) }

// plain is text that every version of YAML reads as a string without quotes:
// what begins like a word, a path or a variable of the shell, and amounts with
// a unit. Words that are of another kind are not.
var (
	plainText = regexp.MustCompile(`^([A-Za-z/$]|\.+/)[ -~]*$`)
	amount    = regexp.MustCompile(`^[0-9]+(\.[0-9]+)?(ms|s|m|h|%|[KMGT]?i?B)([0-9]+(ms|s|m|h))*$`)
	otherKind = regexp.MustCompile(`(?i)^(y|n|yes|no|on|off|true|false|null)$`)
)

func plainly(s string) bool {
	return amount.MatchString(s) || plainText.MatchString(s) && !otherKind.MatchString(s) &&
		!strings.Contains(s, ": ") && !strings.Contains(s, " #") && !strings.HasSuffix(s, ":") && !strings.HasSuffix(s, " ")
}

func name(s string) string {
	if plainly(s) && !strings.ContainsAny(s, ":#?") {
		return s
	}
	return quote(s)
}

// quote writes s in double quotes, as YAML and JSON both have it.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\r':
			b.WriteString(`\r`)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r <= 0xff:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r <= 0xffff:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

func (w *yamlWriter) scalar(n *strict.Node, depth int, p *place) {
	switch n.Kind {
	case strict.Map:
		w.WriteString("{}")
	case strict.List:
		w.WriteString("[]")
	case strict.String:
		w.text(escaped(n.Text, p), depth)
	default:
		w.WriteString(n.Text)
	}
}

// text writes a string: as it is, as a block of lines, or in quotes.
func (w *yamlWriter) text(s string, depth int) {
	switch {
	case plainly(s):
		w.WriteString(s)
	case blockable(s):
		lines := strings.Split(strings.TrimSuffix(s, "\n"), "\n")
		w.WriteString("|")
		if !strings.HasSuffix(s, "\n") {
			w.WriteString("-")
		}
		for _, line := range lines {
			w.WriteByte('\n')
			if line != "" {
				w.indent(depth)
			}
			w.WriteString(line)
		}
	default:
		w.WriteString(quote(s))
	}
}

// blockable says whether a block of lines would be read as s.
func blockable(s string) bool {
	body := strings.TrimSuffix(s, "\n")
	if !strings.Contains(body, "\n") || strings.HasSuffix(body, "\n") || strings.HasPrefix(body, " ") || strings.HasPrefix(body, "\n") {
		return false
	}
	for _, line := range strings.Split(body, "\n") {
		if strings.HasSuffix(line, " ") || strings.HasPrefix(line, "\t") || strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) && r != '\t' }) {
			return false
		}
	}
	return true
}

// escaped writes s so that no variable is filled in when it is read again.
func escaped(s string, p *place) string {
	if !strings.Contains(s, "${") {
		return s
	}
	var b strings.Builder
	for at := 0; at < len(s); {
		r := nextReference(s, at)
		b.WriteString(s[at:r.begin])
		if r.end == r.begin {
			break
		}
		at = r.end
		switch {
		case r.literal: // reads as ${, and is to stay $${
			b.WriteString("$$${")
		case p.shell() && r.name == "" && r.raw == strings.ToUpper(r.raw): // cannot have been meant as one
			b.WriteString(r.raw)
			at = r.begin + len(r.raw)
		default:
			b.WriteString("$${" + s[r.begin+2:r.end])
		}
	}
	return b.String()
}
