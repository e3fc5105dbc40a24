package config

import (
	"bytes"
	"fmt"
	"io"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/strict"
)

// Job is what a job file says of one job, for one stage.
type Job struct {
	// Spec is valid, but for the checksums that are yet to be read.
	Spec api.Spec
	// File that the job is in, as it was named, and the line where it begins.
	File string
	Line int
	// Stage is the second part of the job's name.
	Stage string
	// Confirm says that a person is to be asked before this is deployed.
	Confirm bool
	// Checksums that Resolve reads. Until then their artifacts have none, and a
	// scheduler refuses the spec.
	Checksums []Checksum

	at  strict.Position // where it begins
	top int             // the same for all jobs of a file that was named
}

// Options of reading job files.
type Options struct {
	// Stage to take of files that have stages.
	Stage string
	// AllStages takes every stage of every job.
	AllStages bool
	// Set gives variables values, each as NAME=VALUE; the last one counts.
	Set []string
	// SetFiles are paths of YAML or JSON files, each a map of variables' values.
	// Later ones go before earlier ones, and Set before all.
	SetFiles []string
	// Stdin is read where a path is "-"; nil is empty.
	Stdin io.Reader
}

// Load returns the jobs of a job file, in its order, each for the stage that
// was chosen. An error is an *Error that lists everything that is wrong. It
// reads files alone, never the network.
func Load(path string, o Options) ([]Job, error) { return LoadFiles([]string{path}, o) }

// LoadFiles is Load of several files. A variable that is set must be known to
// one of their jobs.
func LoadFiles(paths []string, o Options) ([]Job, error) {
	s := newSession(o)
	s.readValues()
	for _, path := range paths {
		s.top(s.open(path))
	}
	return s.end()
}

// Parse is Load of a file that was read; name is its path, for messages and as
// what relative paths in it start from.
func Parse(name string, data []byte, o Options) ([]Job, error) {
	s := newSession(o)
	s.readValues()
	s.top(s.parsed(absolute(name), file{name: name, data: data}), nil)
	return s.end()
}

// Bounds of what is read together.
const (
	maxFiles  = 2_000
	maxBytes  = 32 << 20  // of all files
	maxJobs   = 5_000     // times stages
	maxVisits = 1_000_000 // values of all jobs, after everything was filled in
	maxNested = 16        // files that extend or include one another
	maxStages = 32
	// costOfFile counts a file that another names as so many values, since it is
	// looked for each time.
	costOfFile = 100
)

// session reads job files that belong together.
type session struct {
	o       Options
	sources map[string]*source // by absolute path
	files   map[string]file    // by name
	bytes   int
	visits  int
	jobs    []Job
	given   givenValues
	// known are the names of all variables that a job has, declared or built in.
	known map[string]bool
	laid  map[strict.Position]strict.Position // maps on others, by where they are
	found []Problem
	told  map[string]int // lines of found, by their place among them
	more  int            // problems that are not told
	// stageNames are those that the jobs have, in order.
	stageNames []string
	tried      int // jobs, times stages
	// partial says that some job was not looked at, so that not all variables
	// are known.
	partial bool
}

func newSession(o Options) *session {
	return &session{o: o, sources: map[string]*source{}, files: map[string]file{}, known: map[string]bool{}, told: map[string]int{},
		laid: map[strict.Position]strict.Position{}}
}

// add tells a problem unless it was told, or too many were. It says of the
// others how many they are.
func (s *session) add(problems ...Problem) {
	for _, p := range problems {
		key := p.String()
		i, told := s.told[key]
		switch {
		case told:
			s.found[i].jobs = append(s.found[i].jobs, p.jobs...)
		case len(s.found) >= strict.Most:
			s.more++
		default:
			s.told[key] = len(s.found)
			s.found = append(s.found, p)
		}
	}
}

// fail tells a problem at a place of a file.
func (s *session) fail(at strict.Position, path, format string, args ...any) {
	s.add(s.problem(strict.Problem{Path: path, Message: fmt.Sprintf(format, args...), At: at}))
}

// problem is p with its place and line, in the file that p names.
func (s *session) problem(p strict.Problem) Problem {
	return s.files[p.At.File].problem(p)
}

func (s *session) end() ([]Job, error) {
	if !s.partial {
		s.unknownValues()
	}
	s.twice()
	if len(s.found) == 0 {
		return s.jobs, nil
	}
	for i := range s.found {
		s.found[i].about(s.tried)
	}
	if s.more > 0 {
		s.found = append(s.found, Problem{Message: fmt.Sprintf("and %d more problems", s.more)})
	}
	return nil, &Error{s.found}
}

// top adds the jobs of a file that was named.
func (s *session) top(src *source, err *Error) {
	if err != nil {
		s.partial = true
		s.add(err.Problems...)
		return
	}
	first := len(s.jobs)
	s.document(src, nil, trail{})
	if s.more > 0 || len(s.found) > 0 {
		return
	}
	if len(s.jobs) == first {
		s.add(Problem{Where: src.name, File: src.name, Message: fmt.Sprintf("has no job in stage %q", s.o.Stage)})
	}
	for i := first; i < len(s.jobs); i++ {
		s.jobs[i].top = first
	}
}

// twice tells jobs that are said twice: in one of the files that were named, or
// in two places of different ones. A file that is named and included is not.
func (s *session) twice() {
	seen := map[string]Job{}
	for _, j := range s.jobs {
		other, twice := seen[j.Spec.Job]
		if twice && (j.top == other.top || j.at != other.at) {
			s.fail(j.at, "job", "%s is a job on line %d of %s already", j.Spec.Job, other.Line, other.File)
		}
		seen[j.Spec.Job] = j
	}
}

// open reads a file that was named on a command line.
func (s *session) open(path string) (*source, *Error) {
	if path != "-" {
		return s.read(path)
	}
	in := s.o.Stdin
	if in == nil {
		in = bytes.NewReader(nil)
	}
	data, err := io.ReadAll(io.LimitReader(in, maxFile+1))
	if err != nil {
		return nil, unreadable("standard input", err)
	}
	src := s.parsed(absolute("-"), file{name: "standard input", data: data})
	return src, nil
}

// Stages returns the names of the stages that the jobs of a file have, in
// order, as far as the file can be read.
func Stages(path string) []string {
	s := newSession(Options{})
	s.top(s.open(path))
	return s.stageNames
}
