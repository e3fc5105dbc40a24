package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"

	"github.com/perigee-sched/perigee/api/strict"
)

const maxParameter = 4096 // bytes of a value

// Check returns value in the one way of writing that its type has ("007" is
// the int 7, "T" the bool true), or an error that says what p allows.
func (p Parameter) Check(name, value string) (string, error) {
	v, err := p.normalize(value)
	if err != nil {
		return "", fmt.Errorf("parameter %s: %w", name, err)
	}
	return v, nil
}

func (p Parameter) normalize(value string) (string, error) {
	v, err := p.typed(value)
	if err != nil || len(p.Values) == 0 {
		return v, err
	}
	for _, allowed := range p.Values {
		if a, err := p.typed(allowed); err == nil && a == v {
			return v, nil
		}
	}
	return "", fmt.Errorf("%q is not allowed: it must be %s%s", strict.Shorten(value), orList(p.Values), didYouMean(value, p.Values))
}

// typed checks and rewrites value by p's type alone.
func (p Parameter) typed(value string) (string, error) {
	var text problems
	if !text.text("", value, maxParameter) {
		return "", errors.New(text[0].Message)
	}
	switch p.Type {
	case ParameterInt:
		i, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return "", fmt.Errorf("%q is not an int: it must be a whole number of at most 64 bits", strict.Shorten(value))
		}
		return strconv.FormatInt(i, 10), nil
	case ParameterFloat:
		f, err := strconv.ParseFloat(value, 64)
		if err != nil || math.IsInf(f, 0) || math.IsNaN(f) {
			return "", fmt.Errorf("%q is not a float: it must be a number such as 0.5", strict.Shorten(value))
		}
		b, err := json.Marshal(f) // no exponent where a person would write none
		return string(b), err
	case ParameterBool:
		b, err := strconv.ParseBool(value)
		if err != nil {
			return "", fmt.Errorf("%q is not a bool: it must be true or false", strict.Shorten(value))
		}
		return strconv.FormatBool(b), nil
	}
	return value, nil
}

// BindParameters returns the parameters of a run that was given these: checked,
// normalized and with defaults filled in. The locations of problems are
// "parameters.NAME".
func (s Spec) BindParameters(given map[string]string) (map[string]string, []ProblemField) {
	var p problems
	declared := slices.Sorted(maps.Keys(s.Parameters))
	bound := make(map[string]string, len(declared))
	for _, name := range slices.Sorted(maps.Keys(given)) {
		at := strict.Join("parameters", name)
		parameter, known := s.Parameters[name]
		switch v, err := parameter.normalize(given[name]); {
		case !known && len(declared) == 0:
			p.add(at, given[name], "is not known: %s has no parameters", s.Job)
		case !known:
			p.add(at, given[name], "is not known: %s has %s%s", s.Job, andList(declared), didYouMean(name, declared))
		case err != nil:
			p.add(at, given[name], "%v", err)
		default:
			bound[name] = v
		}
	}
	for _, name := range declared {
		if _, is := given[name]; !is {
			s.Parameters[name].bindDefault(name, bound, &p)
		}
	}
	if len(p) > 0 {
		return nil, p
	}
	return bound, nil
}

func (p Parameter) bindDefault(name string, bound map[string]string, found *problems) {
	at := strict.Join("parameters", name)
	if p.Default == nil {
		about := ""
		if p.Description != "" {
			about = " (" + p.Description + ")"
		}
		found.add(at, nil, "is missing, and has no default%s", about)
		return
	}
	v, err := p.normalize(*p.Default)
	if err != nil {
		found.add(at, *p.Default, "its default is refused: %v", err)
	}
	bound[name] = v
}

var parameterName = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,62}$`)

func (p *problems) parameters(s Spec) {
	p.count("parameters", len(s.Parameters), 100)
	names := slices.Sorted(maps.Keys(s.Parameters))
	paths := make([]string, len(names))
	for i, name := range names {
		paths[i] = strict.Join("parameters", name)
		if !parameterName.MatchString(name) {
			p.add(paths[i], name, "%q is not a parameter's name: it must be a lower-case letter, then up to 62 lower-case letters, digits, - and _", strict.Shorten(name))
		}
		if s.Kind == KindCron && s.Parameters[name].Default == nil {
			p.add(paths[i]+".default", nil, "is missing: nobody gives a cron's scheduled runs a value")
		}
		p.parameter(paths[i], s.Parameters[name])
	}
	p.sameVariable(paths, names, "PARAM_")
}

func (p *problems) parameter(at string, parameter Parameter) {
	p.choice(at+".type", string(parameter.Type), "string", "int", "float", "bool")
	p.count(at+".values", len(parameter.Values), 1000)
	fit := true
	for i, v := range parameter.Values {
		if _, err := parameter.typed(v); err != nil {
			p.add(strict.Index(at+".values", i), v, "%v", err)
			fit = false
		}
	}
	if parameter.Default != nil && fit {
		if _, err := parameter.normalize(*parameter.Default); err != nil {
			p.add(at+".default", *parameter.Default, "%v", err)
		}
	}
	p.text(at+".description", parameter.Description, 1024)
}
