package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/perigee-sched/perigee/api/nearest"
	"github.com/perigee-sched/perigee/api/strict"
)

// source is a file whose documents have the shape that job files have.
type source struct {
	file
	path string // absolute, without symbolic links
	docs []*strict.Node
	bad  *Error
}

// read returns the file at path, which is read once.
func (s *session) read(path string) (*source, *Error) {
	abs := absolute(path)
	if src := s.sources[abs]; src != nil {
		return src, nil
	}
	if len(s.sources) >= maxFiles {
		return nil, &Error{[]Problem{{Where: path, File: path, Message: fmt.Sprintf("is one file too many: at most %d are read together", maxFiles)}}}
	}
	data, err := readFile(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	if s.bytes += len(data); s.bytes > maxBytes {
		return nil, &Error{[]Problem{{Where: path, File: path, Message: fmt.Sprintf("is too much: files that are read together may have %d bytes", maxBytes)}}}
	}
	return s.parsed(abs, file{name: path, data: data}), nil
}

// parsed keeps a file that was read.
func (s *session) parsed(abs string, f file) *source {
	f.lines = strings.Split(string(f.data), "\n")
	src := &source{file: f, path: abs}
	s.sources[abs], s.files[f.name] = src, f
	trees, err := f.parse()
	var wrong *Error
	if errors.As(err, &wrong) {
		src.bad = wrong
		return src
	}
	c := &shape{file: f}
	for _, tree := range trees {
		c.document(tree)
	}
	if src.docs = trees; len(c.found) > 0 {
		src.bad = &Error{c.found}
	}
	return src
}

// absolute returns what a file is known by; a path that leads nowhere stays as
// it is.
func absolute(path string) string {
	abs, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	if real, err := filepath.EvalSymlinks(abs); err == nil {
		return real
	}
	return abs
}

func unreadable(path string, err error) *Error {
	return &Error{[]Problem{{Where: path, File: path, Message: "cannot be read: " + reason(err), err: err}}}
}

// reason is an error of a file without its path.
func reason(err error) string {
	var inner *fs.PathError
	if errors.As(err, &inner) {
		err = inner.Err
	}
	return err.Error()
}

// link says how a file came in.
type link struct {
	verb string // extended, included
	at   strict.Position
}

func (l link) String() string {
	return fmt.Sprintf("%s by %s:%d", l.verb, l.at.File, l.at.Line)
}

// trail is how the files of a job came in, by name; the file that was named on
// the command line came in by itself.
type trail map[string]link

// of returns by what a file came in, the nearest first.
func (t trail) of(name string) []string {
	var lines []string
	for range maxNested {
		l, is := t[name]
		if !is {
			break
		}
		lines = append(lines, l.String())
		name = l.at.File
	}
	return lines
}

// follow opens the file that a string of src names; field is extends or
// include, open the files that led here. It tells what is wrong.
func (s *session) follow(src *source, n *strict.Node, field string, open []*source, t trail) *source {
	fail := func(format string, args ...any) *source {
		p := s.problem(strict.Problem{Path: field, Message: fmt.Sprintf(format, args...), At: n.At})
		p.Context = append(p.Context, t.of(src.name)...)
		s.add(p)
		return nil
	}
	if s.visits += costOfFile; s.full(n.At) {
		return nil
	}
	path := filepath.FromSlash(n.Text)
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(src.name), path)
	}
	abs := absolute(path)
	if i := slices.IndexFunc(open, func(o *source) bool { return o.path == abs }); i >= 0 {
		circle := ""
		for _, o := range open[i:] {
			circle += o.name + " → "
		}
		return fail("goes round in a circle: %s%s", circle, path)
	}
	if len(open) >= maxNested {
		return fail("is one file too many: at most %d may lead to one another", maxNested)
	}
	if err := regular(path); err != nil {
		return fail("%s cannot be read: %s%s", path, reason(err), similar(path, src.name))
	}
	next, err := s.read(path)
	if err != nil {
		for _, p := range err.Problems {
			p.Context = append(p.Context, fmt.Sprintf("%s by %s:%d", past[field], src.name, n.At.Line))
			s.add(p)
		}
		return nil
	}
	if _, is := t[next.name]; !is && next.name != open[0].name {
		t[next.name] = link{past[field], n.At}
	}
	if next.bad != nil {
		for _, p := range next.bad.Problems {
			p.Context = append(slices.Clone(p.Context), t.of(next.name)...)
			s.add(p)
		}
		return nil
	}
	return next
}

// similar names the file that a path was likely meant to be, or says where
// paths start.
func similar(path, from string) string {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) > 10_000 {
		return "; the path starts from the directory of " + from
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	stem := func(name string) string { return strings.TrimSuffix(name, filepath.Ext(name)) }
	near := nearest.Name(filepath.Base(path), names)
	if near != "" && near != filepath.Base(path) && nearest.Name(stem(filepath.Base(path)), []string{stem(near)}) != "" {
		return fmt.Sprintf("; did you mean %s?", filepath.Join(filepath.Dir(path), near))
	}
	return "; the path starts from the directory of " + from
}

var past = map[string]string{"extends": "extended", "include": "included"}
