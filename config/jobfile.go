package config

import (
	"net/url"
	"path/filepath"
	"strings"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/strict"
)

// ReadJobFile reads the specs of a job file, for now always one. An error about
// what the file says is an *Error.
func ReadJobFile(path string) ([]api.Spec, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	return ParseJobFile(path, data)
}

// ParseJobFile is ReadJobFile of a file that was read; name is its path, for
// messages and as what relative file:// URIs start from: artifacts whose URI
// begins with file://./ or file://../ are resolved to absolute ones.
func ParseJobFile(name string, data []byte) ([]api.Spec, error) {
	f := file{name: name, data: data}
	trees, err := f.parse()
	if err != nil {
		return nil, err
	}
	switch {
	case len(trees) == 0:
		return nil, f.fail(strict.Position{}, "is empty: it must say what a job should be")
	case len(trees) > 1:
		return nil, f.fail(trees[1].At, "a second document: a file holds one job")
	}
	if err := f.resolve(trees[0]); err != nil {
		return nil, err
	}
	spec, problems := api.SpecFromTree(trees[0])
	if len(problems) > 0 {
		e := &Error{}
		for _, p := range problems {
			e.Problems = append(e.Problems, f.problem(p))
		}
		return nil, e
	}
	return []api.Spec{*spec}, nil
}

// resolve makes the relative file:// URIs of a job's artifacts absolute.
func (f file) resolve(job *strict.Node) error {
	artifacts := job.Field("artifacts")
	if artifacts == nil {
		return nil
	}
	for _, a := range artifacts.Items {
		uri := a.Field("uri")
		if uri == nil || uri.Kind != strict.String {
			continue
		}
		rest, isFile := strings.CutPrefix(uri.Text, "file://")
		if !isFile || !strings.HasPrefix(rest, "./") && !strings.HasPrefix(rest, "../") {
			continue
		}
		rest, err := url.PathUnescape(rest)
		if err != nil {
			continue // told when the URI is checked
		}
		abs, err := filepath.Abs(filepath.Join(filepath.Dir(f.name), filepath.FromSlash(rest)))
		if err != nil {
			return err
		}
		uri.Text = (&url.URL{Scheme: "file", Path: filepath.ToSlash(abs)}).String()
	}
	return nil
}
