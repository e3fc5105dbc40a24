package config

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/perigee-sched/perigee/api/strict"
)

// DefaultServerFile is the configuration's place when no other is named.
const DefaultServerFile = "/etc/perigee.yaml"

// ServerFile returns the file for LoadServer: the one named, by a flag or else
// by PERIGEE_CONFIG, or DefaultServerFile if it is there, or "".
func ServerFile(named string, environ []string) string {
	for _, entry := range environ {
		if path, ok := strings.CutPrefix(entry, "PERIGEE_CONFIG="); ok && named == "" {
			named = path
		}
	}
	if named != "" {
		return named
	}
	if _, err := os.Stat(DefaultServerFile); errors.Is(err, os.ErrNotExist) {
		return ""
	}
	return DefaultServerFile
}

// Origins say where values came from.
type Origins struct {
	// Of each setting by path: "default", "/etc/perigee.yaml:3",
	// "environment PERIGEE_API_LISTEN", "flag --api-listen".
	Of map[string]string
	// Warnings for the operator, one line each.
	Warnings []string
}

// LoadServer returns the configuration of a scheduler, checked. A flag goes
// before the environment, that before the file, that before the default; an
// empty variable counts as not set.
//
// path is the file, "" for none; see ServerFile. environ has the form of
// os.Environ. flags, which may be nil, had AddServerFlags. An error about what
// was configured is an *Error.
func LoadServer(path string, environ []string, flags *pflag.FlagSet) (*Server, Origins, error) {
	l := &loader{server: new(Server), origins: Origins{Of: map[string]string{}}, sources: map[string]string{}}
	for _, s := range settings {
		if wrong := s.set(l.server, s.def()); wrong != "" && s.def() != "" {
			panic("config: default of " + s.path + ": " + wrong)
		}
		l.origins.Of[s.path] = "default"
	}
	if path != "" {
		if err := l.file(path); err != nil {
			return nil, l.origins, err
		}
	}
	l.environment(environ)
	l.flags(flags)
	l.check()
	if len(l.problems) > 0 {
		return nil, l.origins, &Error{l.problems}
	}
	return l.server, l.origins, nil
}

type loader struct {
	server   *Server
	origins  Origins
	sources  map[string]string // quoted line of a value from the file, by path
	problems []Problem
	bad      []string // paths of values that could not be read
}

func (l *loader) file(path string) error {
	data, err := readFile(path)
	if err != nil {
		return fmt.Errorf("read the configuration: %w", err)
	}
	f := file{name: path, data: data}
	trees, err := f.parse()
	switch {
	case err != nil:
		return err
	case len(trees) == 0:
		return nil
	case len(trees) > 1:
		return f.fail(trees[1].At, "a second document: a configuration is one")
	}
	places, problems := strict.Decode(trees[0], l.server, "yaml")
	for _, p := range strict.Limit(problems) {
		l.problems = append(l.problems, f.problem(p))
		l.bad = append(l.bad, p.Path)
	}
	for path, place := range places {
		if _, is := l.origins.Of[path]; is {
			l.origins.Of[path] = fmt.Sprintf("%s:%d", f.name, place.Key.Line)
			l.sources[path] = f.quote(place.Value)
		}
	}
	return nil
}

// environment takes the variables that settings have, and warns about others
// that look as if they were meant to be one.
func (l *loader) environment(environ []string) {
	vars := map[string]string{}
	for _, entry := range environ {
		if name, value, _ := strings.Cut(entry, "="); strings.HasPrefix(name, "PERIGEE_") {
			vars[name] = value
		}
	}
	names := make([]string, len(settings))
	for i, s := range settings {
		names[i] = s.env()
		if vars[s.env()] != "" {
			l.override(s, vars[s.env()], "environment "+s.env())
		}
		delete(vars, s.env())
	}
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		if foreign(name) {
			continue
		}
		hint := ""
		if near := strict.Nearest(name, names); near != "" {
			hint = ": did you mean " + near + "?"
		}
		l.origins.Warnings = append(l.origins.Warnings, fmt.Sprintf("environment %s is not a setting%s", name, hint))
	}
}

// foreign says whether a variable is somebody else's: the command line's, the
// tests', or that of the task that this scheduler runs in.
func foreign(name string) bool {
	switch name {
	case "PERIGEE_API", "PERIGEE_CONFIG", "PERIGEE_TOKEN", "PERIGEE_CA",
		"PERIGEE_JOB", "PERIGEE_INSTANCE", "PERIGEE_TASK", "PERIGEE_DEPLOY", "PERIGEE_HOST", "PERIGEE_ATTEMPT", "PERIGEE_RUN":
		return true
	}
	return strings.HasPrefix(name, "PERIGEE_TEST_")
}

func (l *loader) flags(flags *pflag.FlagSet) {
	if flags == nil {
		return
	}
	for _, s := range settings {
		if f := flags.Lookup(s.flag()); f != nil && f.Changed {
			l.override(s, f.Value.String(), "flag --"+s.flag())
		}
	}
}

func (l *loader) override(s setting, text, origin string) {
	if wrong := s.set(l.server, text); wrong != "" {
		l.problems = append(l.problems, Problem{Where: origin, Path: s.path, Message: wrong})
		l.bad = append(l.bad, s.path)
		return
	}
	l.origins.Of[s.path] = origin
	delete(l.sources, s.path)
}

func (l *loader) check() {
	for _, p := range l.server.validate() {
		if !slices.ContainsFunc(l.bad, func(bad string) bool { return strict.Within(p.Path, bad) }) {
			p.Where, p.Source = l.origins.Of[p.Path], l.sources[p.Path]
			l.problems = append(l.problems, p)
		}
	}
	if !l.server.API.Loopback() && !l.server.Access.Tokens() {
		l.origins.Warnings = append(l.origins.Warnings, fmt.Sprintf(
			"api.listen is %s: everyone who reaches it may do everything, since access.mode is open", l.server.API.Listen))
	}
}
