package sim

import (
	"errors"
	"slices"
	"time"
)

// Shrink looks for the shortest script that still breaks the invariant which f
// broke: with fewer agents, and steps left out, all of a kind or half of them at
// first, in the end each by itself. It returns what it has when the time is over.
func Shrink(f *Failure, most time.Duration) (Script, *Failure) {
	s := &shrinker{rule: rule(f.What), best: f, until: time.Now().Add(most)}
	s.script = Script{Seed: f.Options.Seed, Agents: f.Options.Agents, Mutant: f.Options.Mutant, Steps: f.Chosen}
	if !s.try(s.script) {
		return s.script, f // it does not fail as a script
	}
	for _, agents := range []int{1, 2, 3, 5, 10} {
		smaller := s.script
		smaller.Agents = agents
		if agents < s.script.Agents && s.try(smaller) {
			break
		}
	}
	for _, a := range actions {
		without := s.script
		without.Steps = slices.DeleteFunc(slices.Clone(without.Steps), func(c Choice) bool { return c.Action == a.name })
		s.try(without)
	}
	for before := -1; before != len(s.script.Steps); {
		before = len(s.script.Steps)
		for chunk := max(1, before/2); chunk > 0; chunk /= 2 {
			s.drop(chunk)
		}
	}
	return s.script, s.best
}

type shrinker struct {
	rule   string
	script Script // the shortest that fails
	best   *Failure
	until  time.Time
}

// drop leaves out chunk steps at a time, from the end to the beginning: what
// came after the failure, and much before it, goes at once.
func (s *shrinker) drop(chunk int) {
	for end := len(s.script.Steps); end > 0; end -= chunk {
		shorter := s.script
		shorter.Steps = slices.Delete(slices.Clone(s.script.Steps), max(0, end-chunk), end)
		s.try(shorter)
		end = min(end, len(s.script.Steps)+chunk) // the rest may have gone with it
	}
}

// try keeps a script that breaks the same invariant.
func (s *shrinker) try(script Script) bool {
	if time.Now().After(s.until) {
		return false
	}
	var f *Failure
	if err := Run(script.Options()); !errors.As(err, &f) || rule(f.What) != s.rule {
		return false
	}
	script.Steps = f.Chosen // those after the failure were not done
	s.script, s.best = script, f
	return true
}
