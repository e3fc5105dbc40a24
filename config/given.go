package config

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/strict"
)

// givenValues are those of variables that are given beside the job files. They
// are taken as they are: ${…} in them stays.
type givenValues struct {
	of    map[string]givenValue
	names []string // in the order given
}

type givenValue struct {
	node   *strict.Node
	said   string // what said it, when no file did
	origin string // for people
	dir    string // what relative paths in it start from
	place  Problem
}

func (g *givenValues) put(name string, v givenValue) {
	if g.of == nil {
		g.of = map[string]givenValue{}
	}
	if _, is := g.of[name]; !is {
		g.names = append(g.names, name)
	}
	g.of[name] = v
}

// readValues reads the values of SetFiles and Set.
func (s *session) readValues() {
	for _, path := range s.o.SetFiles {
		s.valuesOf(path)
	}
	for _, text := range s.o.Set {
		name, value, ok := strings.Cut(text, "=")
		said := "--set " + strict.Shorten(text)
		switch {
		case !ok || name == "":
			s.add(Problem{Where: said, Message: "wants NAME=VALUE"})
		case len(value) > api.MaxSpec:
			s.add(Problem{Where: "--set " + strict.Shorten(name), Message: fmt.Sprintf("is %d bytes long: at most %d are allowed", len(value), api.MaxSpec)})
		default:
			s.given.put(name, givenValue{said: said, origin: "--set", dir: ".", place: Problem{Where: said},
				node: &strict.Node{Kind: strict.String, Plain: true, Text: value}})
		}
	}
}

// valuesOf reads a file of values.
func (s *session) valuesOf(path string) {
	data, err := readFile(path)
	if err != nil {
		s.add(unreadable(path, err).Problems...)
		return
	}
	f := file{name: path, data: data, lines: strings.Split(string(data), "\n")}
	s.files[f.name] = f
	trees, err := f.parse()
	if err != nil {
		s.add(err.(*Error).Problems...)
		return
	}
	switch {
	case len(trees) == 0:
		return
	case len(trees) > 1:
		s.fail(trees[1].At, "", "a second document: a file of values is one")
		return
	case trees[0].Kind != strict.Map:
		s.fail(trees[0].At, "", "wants a map of variables and their values, not %s", trees[0].Describe())
		return
	}
	for _, v := range trees[0].Fields {
		if !v.Value.Scalar() && v.Value.Kind != strict.List {
			s.fail(v.Value.At, v.Name, "wants a value or a list, not %s", v.Value.Describe())
			continue
		}
		s.given.put(v.Name, givenValue{node: v.Value, origin: fmt.Sprintf("%s:%d", path, v.At.Line), dir: filepath.Dir(path),
			place: s.problem(strict.Problem{At: v.At})})
	}
}

// unknownValues tells the values that are none of a job's variables.
func (s *session) unknownValues() {
	names := slices.Sorted(maps.Keys(s.known))
	names = slices.DeleteFunc(names, func(n string) bool { return slices.Contains(builtIns, n) })
	for _, name := range s.given.names {
		p := s.given.of[name].place
		switch {
		case slices.Contains(names, name):
			continue
		case slices.Contains(builtIns, name):
			p.Message = fmt.Sprintf("%s follows from what job says, and cannot be set", name)
			if name == "stage" {
				p.Message = "stage is chosen with --stage"
			}
		case len(names) == 0:
			p.Message = fmt.Sprintf("there is no variable %q: none is declared", strict.Shorten(name))
		default:
			p.Message = fmt.Sprintf("there is no variable %q%s", strict.Shorten(name), choices(name, names))
		}
		s.add(p)
	}
}
