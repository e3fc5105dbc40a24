package config

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/strict"
)

// place is where a value is in a job; its path is only written when needed.
type place struct {
	parent *place
	name   string
	item   int // from 1; 0 when it is a field
}

func (p *place) field(name string) *place { return &place{parent: p, name: name} }

func (p *place) String() string {
	switch {
	case p == nil:
		return ""
	case p.item > 0:
		return strict.Index(p.parent.String(), p.item-1)
	}
	return strict.Join(p.parent.String(), p.name)
}

// shell says whether the value is a line for /bin/sh, where ${PORT_HTTP} is
// the shell's.
func (p *place) shell() bool {
	if p == nil {
		return false
	}
	if p.item > 0 {
		return p.parent.name == "setup" && p.parent.parent == nil
	}
	top := p
	for top.parent != nil {
		top = top.parent
	}
	return p.name == "command" && top.name != "env" && top.name != "labels" && top.name != "variables" && top.name != "parameters"
}

// inArtifact says whether the value is a field of an artifact, called so.
func (p *place) inArtifact(name string) bool {
	return p != nil && p.name == name && p.item == 0 && p.parent != nil && p.parent.item > 0 &&
		p.parent.parent.name == "artifacts" && p.parent.parent.parent == nil
}

const checksumField = "sha256_from"

// expand returns n with variables filled in, and without what was removed; n
// itself stays as it is.
func (b *builder) expand(n *strict.Node, p *place) *strict.Node {
	b.visited++
	switch n.Kind {
	case strict.Map:
		out := &strict.Node{Kind: strict.Map, At: n.At, Fields: make([]strict.Field, 0, len(n.Fields))}
		for _, f := range n.Fields {
			if !f.Removed {
				f.Value = b.expand(f.Value, p.field(f.Name))
			}
			if strings.Contains(f.Name, "${") && variableAt.MatchString(f.Name) {
				b.fail(f.At, p.field(f.Name).String(), "variables are filled in in values, not in names")
				b.spoiled[f.At] = true
			}
			out.Fields = append(out.Fields, f)
		}
		return out
	case strict.List:
		out := &strict.Node{Kind: strict.List, At: n.At, Items: make([]*strict.Node, len(n.Items))}
		for i, item := range n.Items {
			out.Items[i] = b.expand(item, &place{parent: p, item: i + 1})
		}
		return out
	case strict.String:
		if p == nil || !p.inArtifact(p.name) || !meansChecksum(p.name) { // that is later, when the URI is known
			return b.fill(n, p)
		}
	}
	return n
}

var variableAt = regexp.MustCompile(`\$\{[a-z][a-z0-9_]{0,62}\}`)

// fill returns a string with variables filled in.
func (b *builder) fill(n *strict.Node, p *place) *strict.Node {
	out, dir := n, filepath.Dir(n.At.File)
	if strings.Contains(n.Text, "${") {
		out, dir = b.filled(n, p)
	}
	if out.Kind == strict.String && (p.inArtifact("uri") || p.inArtifact(checksumField)) {
		if uri := absoluteURI(out.Text, dir); uri != out.Text {
			clone := *out
			clone.Text, out = uri, &clone
		}
	}
	return out
}

// filled also returns the directory that a relative path starts from.
func (b *builder) filled(n *strict.Node, p *place) (*strict.Node, string) {
	dir := filepath.Dir(n.At.File)
	var text strings.Builder
	for at := 0; at < len(n.Text); {
		r := nextReference(n.Text, at)
		text.WriteString(n.Text[at:r.begin])
		at = r.end
		switch {
		case r.end == r.begin: // nothing more
			text.WriteString(n.Text[r.begin:])
			at = len(n.Text)
		case r.literal:
			text.WriteString("${")
		case r.name == "" || !r.closed:
			if !p.shell() || b.meant(r) {
				b.malformed(n, p, r)
				continue
			}
			text.WriteString(n.Text[r.begin:r.end])
		default:
			v := b.lookup(n, p, r)
			if v == nil {
				continue
			}
			b.note(n.At, v)
			if r.begin == 0 && r.end == len(n.Text) {
				return restamped(v.result, n.At), v.dir
			}
			if v.result.Kind == strict.List {
				b.wrong(n, p, r, "%s is a list: it has to be the whole value", r.raw)
				continue
			}
			text.WriteString(v.result.Text)
			b.grown += len(v.result.Text)
		}
		if b.grown > 4*api.MaxSpec {
			b.wrong(n, p, r, "is too long: all values that are filled in may have %d bytes", 4*api.MaxSpec)
			break
		}
	}
	return &strict.Node{Kind: strict.String, Text: text.String(), At: n.At}, dir
}

// restamped is a variable's value in the place where it is used.
func restamped(n *strict.Node, at strict.Position) *strict.Node {
	out := *n
	out.At, out.Items = at, nil
	for _, item := range n.Items {
		out.Items = append(out.Items, restamped(item, at))
	}
	return &out
}

// reference is a ${…} in a text.
type reference struct {
	begin, end int
	raw        string
	name       string // "" when it is no variable's name
	closed     bool   // } follows the name
	literal    bool   // it is $${
}

// nextReference returns the first reference from at on; an empty one when there
// is none.
func nextReference(text string, at int) reference {
	i := strings.Index(text[at:], "${")
	if i < 0 {
		return reference{begin: len(text), end: len(text)}
	}
	i += at
	if i > at && text[i-1] == '$' {
		return reference{begin: i - 1, end: i + 2, literal: true}
	}
	r := reference{begin: i, end: i + 2}
	word := i + 2
	for word < len(text) && word < i+66 && (text[word] == '_' || text[word] >= '0' && text[word] <= '9' || text[word]|0x20 >= 'a' && text[word]|0x20 <= 'z') {
		word++
	}
	if name := text[i+2 : word]; variableName.MatchString(name) {
		r.name, r.end = name, word
	}
	if word < len(text) && text[word] == '}' && word > i+2 {
		r.closed, r.end = true, word+1
	}
	r.raw = text[i:max(r.end, word)]
	return r
}

// meant says whether what looks like the shell's was meant to be a variable of
// the job file.
func (b *builder) meant(r reference) bool {
	word := strings.Trim(r.raw, "${}")
	return r.name != "" || word != strings.ToUpper(word) && b.vars[strings.ToLower(word)] != nil
}

// malformed tells what begins like a variable and is none.
func (b *builder) malformed(n *strict.Node, p *place, r reference) {
	low := strings.ToLower(strings.Trim(r.raw, "${}"))
	raw := r.raw
	if end := strings.IndexAny(n.Text[r.begin:], "}\n"); end > 0 && end < 40 && n.Text[r.begin+end] == '}' {
		raw = n.Text[r.begin : r.begin+end+1]
	}
	switch {
	case b.vars[low] != nil:
		b.wrong(n, p, r, "%s is not a variable: did you mean ${%s}? Or %s", raw, low, escape(p, raw))
	case r.closed:
		b.wrong(n, p, r, "%s is not a variable's name, which is lower-case letters, digits and _; %s", raw, escape(p, raw))
	default:
		b.wrong(n, p, r, "%s is not how a variable is written, ${name}; %s", raw, escape(p, raw))
	}
}

// escape says how to write what was not meant to be filled in.
func escape(p *place, raw string) string {
	if p.shell() {
		return fmt.Sprintf("write $%s for a variable of the shell", raw)
	}
	return fmt.Sprintf("write $%s for the text itself", raw)
}

// lookup returns the variable of a reference, nil when it has no value, which
// is told.
func (b *builder) lookup(n *strict.Node, p *place, r reference) *variable {
	if v := b.variable(r.name); v != nil {
		if v.result == nil {
			b.spoiled[n.At] = true
			return nil
		}
		return v
	}
	switch {
	case r.name == "uri":
		b.wrong(n, p, r, "%s is only known in sha256_from", r.raw)
	case (r.name == "team" || r.name == "stage" || r.name == "name") && b.inJob:
		b.wrong(n, p, r, "%s", missingBuiltIn(r.name))
	case r.name == "team" || r.name == "stage" || r.name == "name":
		b.spoiled[n.At] = true // what is wrong with job is told
	default:
		known := append(append([]string{}, b.names...), "team", "stage", "name")
		if b.vars["uri"] != nil {
			known = append(known, "uri")
		}
		if near := strict.Nearest(r.name, known); near != "" {
			b.wrong(n, p, r, "%s is not a variable: did you mean ${%s}? Or %s", r.raw, near, escape(p, r.raw))
			break
		}
		b.wrong(n, p, r, "%s is not a variable; known: %s; %s", r.raw, strings.Join(known, ", "), escape(p, r.raw))
	}
	return nil
}

func missingBuiltIn(name string) string {
	switch name {
	case "stage":
		return "${stage} has no value, since there are no stages: add stages, or write the stage itself"
	case "name":
		return "${name} has no value: give it one with name: beside job"
	}
	return "${" + name + "} follows from what job says, and cannot be used in it"
}

// wrong tells a problem at a reference, and nothing more about its value.
func (b *builder) wrong(n *strict.Node, p *place, r reference, format string, args ...any) {
	b.spoiled[n.At] = true
	nth := strings.Count(n.Text[:min(r.begin, len(n.Text))], r.raw)
	b.fail(b.files[n.At.File].locate(n.At, r.raw, nth), p.String(), format, args...)
}

// note says, of a value, which variable it has from where.
func (b *builder) note(at strict.Position, v *variable) {
	if v.origin == "" {
		return
	}
	text := fmt.Sprintf("${%s} is %s, from %s", v.name, v.result.Describe(), v.origin)
	if !slices.Contains(b.notes[at], text) {
		b.notes[at] = append(b.notes[at], text)
	}
}

// locate returns where the nth occurrence, from 0, of text is from a position
// on, or that position.
func (f file) locate(at strict.Position, text string, nth int) strict.Position {
	lines := f.all()
	for i := max(at.Line-1, 0); i < len(lines) && text != ""; i++ {
		from := 0
		if i == at.Line-1 {
			for range max(at.Column-1, 0) {
				_, size := utf8.DecodeRuneInString(lines[i][from:])
				from += size
			}
		}
		for {
			j := strings.Index(lines[i][from:], text)
			if j < 0 {
				break
			}
			from += j
			if nth == 0 {
				return strict.Position{Line: i + 1, Column: utf8.RuneCountInString(lines[i][:from]) + 1, File: at.File}
			}
			nth, from = nth-1, from+len(text)
		}
	}
	return at
}
