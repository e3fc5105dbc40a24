package sim

import (
	"fmt"
	"strings"
)

// Script is a failure to be played again, whatever happens to the weights of
// what a seed chooses: only what is done, step by step. Its text has one line
// per setting and step; what follows # is a remark.
type Script struct {
	Seed   uint64
	Agents int
	Mutant Mutant
	Steps  []Choice
}

// Options are those to play it with.
func (s Script) Options() Options {
	steps := s.Steps
	if steps == nil {
		steps = []Choice{}
	}
	return Options{Seed: s.Seed, Agents: s.Agents, Mutant: s.Mutant, Script: steps}
}

// Text is what ParseScript reads; what says what fails, and remarks what each
// step did.
func (s Script) Text(what string, remarks map[int]string) string {
	var b strings.Builder
	for line := range strings.Lines(what) {
		fmt.Fprintf(&b, "# %s\n", strings.TrimSpace(line))
		break
	}
	fmt.Fprintf(&b, "seed %d\nagents %d\n", s.Seed, s.Agents)
	if s.Mutant != MutantNone {
		fmt.Fprintf(&b, "mutant %s\n", s.Mutant)
	}
	for _, c := range s.Steps {
		line := fmt.Sprintf("%d %s", c.Step, c.Action)
		if r := remarks[c.Step]; r != "" {
			line = fmt.Sprintf("%-28s # %s", line, r)
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}

// ParseScript reads a script. Errors name the line.
func ParseScript(text string) (Script, error) {
	var s Script
	n := 0
	for line := range strings.Lines(text) {
		n++
		line, _, _ = strings.Cut(line, "#")
		first, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		rest = strings.TrimSpace(rest)
		var err error
		switch first {
		case "":
		case "seed":
			_, err = fmt.Sscan(rest, &s.Seed)
		case "agents":
			_, err = fmt.Sscan(rest, &s.Agents)
		case "mutant":
			s.Mutant = Mutant(rest)
		default:
			c := Choice{Action: rest}
			if _, err = fmt.Sscan(first, &c.Step); err == nil && actionNamed[rest] == nil {
				err = fmt.Errorf("there is no action %q", rest)
			}
			s.Steps = append(s.Steps, c)
		}
		if err != nil {
			return Script{}, fmt.Errorf("line %d: %w", n, err)
		}
	}
	return s, nil
}
