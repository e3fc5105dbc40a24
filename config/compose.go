package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/strict"
)

// document adds the jobs of a file, in order; open are the files that included
// it, and t is how.
func (s *session) document(src *source, open []*source, t trail) {
	if src.bad != nil {
		s.partial = true
		s.add(src.bad.Problems...)
		return
	}
	if len(src.docs) == 0 {
		p := src.problem(strict.Problem{Message: "is empty: it must say what a job should be"})
		p.Context = t.of(src.name)
		s.add(p)
	}
	open = append(open[:len(open):len(open)], src)
	for _, doc := range src.docs {
		if include := doc.Field("include"); include != nil {
			for _, n := range several(include) {
				next := s.follow(src, n, "include", open, t)
				if next == nil {
					s.partial = true
					continue
				}
				s.document(next, open, t)
			}
			continue
		}
		s.units(src, doc, t)
	}
}

// unit is one job before its stage is chosen.
type unit struct {
	*session
	src   *source
	layer *strict.Node
	at    strict.Position // where it begins
	trail trail
}

// units adds the jobs of one document.
func (s *session) units(src *source, doc *strict.Node, t trail) {
	if doc.Kind != strict.Map {
		_, problems := api.SpecFromTree(doc)
		s.partial = true
		for _, p := range problems {
			s.add(s.problem(p))
		}
		return
	}
	u := unit{session: s, src: src, at: doc.At, trail: maps.Clone(t)}
	if u.trail == nil {
		u.trail = trail{}
	}
	shared := u.inherit(src, doc, []*source{src})
	if shared == nil {
		s.partial = true
		return
	}
	jobs := doc.Field("jobs")
	if jobs == nil {
		u.layer = shared
		u.stages()
		return
	}
	for _, item := range jobs.Items {
		u.layer, u.at = s.overlay(shared, item, layer), item.At
		u.stages()
		if s.full(u.at) {
			return
		}
	}
}

// full says whether there is too much to go on, and tells that.
func (s *session) full(at strict.Position) bool {
	switch {
	case s.more > 10*strict.Most: // enough was told
	case s.visits > maxVisits:
		s.fail(at, "", "is too much: all jobs together have more than %d values", maxVisits)
	case s.tried > maxJobs:
		s.fail(at, "", "is one job too many: at most %d are read together", maxJobs)
	default:
		return false
	}
	return true
}

// inherit returns doc laid on the templates that it extends, nil if one of them
// is wrong.
func (u *unit) inherit(src *source, doc *strict.Node, open []*source) *strict.Node {
	base, good := &strict.Node{Kind: strict.Map, At: doc.At}, true
	if extends := doc.Field("extends"); extends != nil {
		for _, n := range several(extends) {
			if u.full(n.At) {
				return nil
			}
			if next := u.template(src, n, open); next == nil {
				good = false
			} else {
				base = u.overlay(base, next, layer)
			}
		}
	}
	if !good {
		return nil
	}
	return u.overlay(base, without(doc, topOnly...), layer)
}

// template returns what the file that n names has to inherit.
func (u *unit) template(src *source, n *strict.Node, open []*source) *strict.Node {
	next := u.follow(src, n, "extends", open, u.trail)
	if next == nil {
		return nil
	}
	refuse := func(format string, args ...any) *strict.Node {
		p := u.problem(strict.Problem{Path: "extends", Message: next.name + " " + fmt.Sprintf(format, args...), At: n.At})
		p.Context = u.trail.of(src.name)
		u.add(p)
		return nil
	}
	if len(next.docs) != 1 {
		return refuse("has %d documents: a template is one", len(next.docs))
	}
	doc := next.docs[0]
	if doc.Kind != strict.Map {
		return refuse("is no template: it wants a map, not %s", doc.Describe())
	}
	for _, name := range []string{"include", "jobs"} {
		if doc.Field(name) != nil {
			return refuse("is no template: it has %s", name)
		}
	}
	return u.inherit(next, doc, append(open[:len(open):len(open)], next))
}

// stages adds the unit's job for each stage that was chosen.
func (u *unit) stages() {
	all := field(u.layer, "stages")
	if all == nil {
		u.job("")
		return
	}
	var names []string
	for _, f := range all.Fields {
		if !f.Removed {
			names = append(names, f.Name)
		}
	}
	for _, name := range names {
		if !slices.Contains(u.stageNames, name) {
			u.stageNames = append(u.stageNames, name)
		}
	}
	switch chosen := u.o.Stage; {
	case slices.Contains(names, chosen):
		u.job(chosen)
	case u.o.AllStages && chosen == "":
		for _, name := range names {
			u.job(name)
		}
	case chosen == "":
		u.refuse("has stages: choose one with --stage " + strings.Join(names, " or --stage "))
	case slices.ContainsFunc(all.Fields, func(f strict.Field) bool { return f.Name == chosen }):
		// The job is not in this stage, and says so.
	default:
		u.refuse(fmt.Sprintf("there is no stage %q%s", strict.Shorten(chosen), choices(chosen, names)))
	}
}

// refuse tells, of the file as a whole, why no job was made.
func (u *unit) refuse(message string) {
	u.partial = true
	u.add(Problem{Where: u.src.name, File: u.src.name, Message: message, Context: u.trail.of(u.src.name)})
}

// choices names what there is, the nearest to what was given first, as the end
// of a sentence.
func choices(given string, names []string) string {
	near := strict.Nearest(given, names)
	if near == "" {
		return "; known: " + strings.Join(names, ", ")
	}
	text := fmt.Sprintf(": did you mean %q?", near)
	if len(names) > 1 {
		others := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == near })
		text += " Known: " + strings.Join(append([]string{near}, others...), ", ")
	}
	return text
}

// job adds the unit's job in a stage, "" when it has no stages.
func (u *unit) job(stage string) {
	u.tried++
	tree := u.layer
	if stage != "" {
		tree = u.overlay(without(tree, "stages"), field(field(u.layer, "stages"), stage), layer)
	}
	b := &builder{unit: u, stage: stage, notes: map[strict.Position][]string{}, spoiled: map[strict.Position]bool{}}
	job := b.build(tree)
	u.visits += b.visited
	if job != nil {
		u.jobs = append(u.jobs, *job)
	}
}
