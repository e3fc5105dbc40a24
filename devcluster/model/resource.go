package model

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
)

// resource is one named quantity. Scalars are counted in thousandths, as Mesos
// does, so that adding and subtracting never drifts.
type resource struct {
	name  string
	role  string // allocated to; "" when not allocated
	kind  mesos.Value_Type
	milli int64
	spans []span
	items []string
}

type span struct{ begin, end uint64 } // both inclusive

// bag is a set of resources: no two entries have the same name and role, none
// is empty. The order is kept, because error messages and offers show it.
type bag []resource

func toMilli(v float64) int64 { return int64(math.Round(v * 1000)) }

// bagOf reads Mesos's resources, which must be valid. What has no role gets
// the given one.
func bagOf(resources []mesos.Resource, role string) bag {
	out := make(bag, 0, len(resources))
	for i := range resources {
		r := &resources[i]
		entry := resource{name: r.Name, role: role, kind: r.GetType()}
		if r.AllocationInfo != nil {
			entry.role = r.AllocationInfo.GetRole()
		}
		switch entry.kind {
		case mesos.SCALAR:
			entry.milli = toMilli(r.GetScalar().GetValue())
		case mesos.RANGES:
			for _, x := range r.GetRanges().GetRange() {
				entry.spans = append(entry.spans, span{x.Begin, x.End})
			}
			entry.spans = normalize(entry.spans)
		case mesos.SET:
			entry.items = slices.Clone(r.GetSet().GetItem())
		}
		out = out.add(bag{entry})
	}
	return out
}

// proto writes the bag as Mesos's resources.
func (b bag) proto() []mesos.Resource {
	out := make([]mesos.Resource, 0, len(b))
	for i := range b {
		r := mesos.Resource{Name: b[i].name, Type: b[i].kind.Enum()}
		switch b[i].kind {
		case mesos.SCALAR:
			r.Scalar = &mesos.Value_Scalar{Value: float64(b[i].milli) / 1000}
		case mesos.RANGES:
			ranges := &mesos.Value_Ranges{Range: make([]mesos.Value_Range, len(b[i].spans))}
			for j, s := range b[i].spans {
				ranges.Range[j] = mesos.Value_Range{Begin: s.begin, End: s.end}
			}
			r.Ranges = ranges
		case mesos.SET:
			r.Set = &mesos.Value_Set{Item: slices.Clone(b[i].items)}
		}
		if b[i].role != "" {
			role := b[i].role
			r.AllocationInfo = &mesos.Resource_AllocationInfo{Role: &role}
		}
		out = append(out, r)
	}
	return out
}

func (b bag) find(r *resource) int {
	for i := range b {
		if b[i].name == r.name && b[i].role == r.role && b[i].kind == r.kind {
			return i
		}
	}
	return -1
}

func (r *resource) empty() bool { return r.milli == 0 && len(r.spans) == 0 && len(r.items) == 0 }

// add returns b with other added. b may be changed.
func (b bag) add(other bag) bag {
	for i := range other {
		r := &other[i]
		if r.empty() {
			continue
		}
		j := b.find(r)
		if j < 0 {
			entry := *r
			entry.spans, entry.items = slices.Clone(r.spans), slices.Clone(r.items)
			b = append(b, entry)
			continue
		}
		b[j].milli += r.milli
		if len(r.spans) > 0 {
			b[j].spans = normalize(append(b[j].spans, r.spans...))
		}
		for _, item := range r.items {
			if !slices.Contains(b[j].items, item) {
				b[j].items = append(b[j].items, item)
			}
		}
	}
	return b
}

// sub returns b without other, which it must contain. b may be changed.
func (b bag) sub(other bag) bag {
	for i := range other {
		r := &other[i]
		j := b.find(r)
		if j < 0 {
			continue
		}
		b[j].milli -= r.milli
		if len(r.spans) > 0 {
			b[j].spans = without(b[j].spans, r.spans)
		}
		b[j].items = slices.DeleteFunc(b[j].items, func(x string) bool { return slices.Contains(r.items, x) })
		if b[j].empty() {
			b = slices.Delete(b, j, j+1)
		}
	}
	return b
}

func (b bag) contains(other bag) bool {
	for i := range other {
		r := &other[i]
		if r.empty() {
			continue
		}
		j := b.find(r)
		if j < 0 || b[j].milli < r.milli || !covers(b[j].spans, r.spans) {
			return false
		}
		for _, item := range r.items {
			if !slices.Contains(b[j].items, item) {
				return false
			}
		}
	}
	return true
}

func (b bag) clone() bag {
	out := slices.Clone(b)
	for i := range out {
		out[i].spans, out[i].items = slices.Clone(out[i].spans), slices.Clone(out[i].items)
	}
	return out
}

// allocated is a copy of b for a role; "" takes the role away.
func (b bag) allocated(role string) bag {
	out := b.clone()
	for i := range out {
		out[i].role = role
	}
	return out
}

// arranged is a copy in the order in which Mesos's allocator puts offers
// together: what is not a scalar first, each as the agent lists it.
func (b bag) arranged(like bag) bag {
	out := make(bag, 0, len(b))
	pick := func(scalar bool) {
		for i := range like {
			if (like[i].kind == mesos.SCALAR) != scalar {
				continue
			}
			if j := b.find(&like[i]); j >= 0 {
				out = append(out, b[j])
			}
		}
	}
	pick(false)
	pick(true)
	return out.clone()
}

func (b bag) scalar(name string) int64 {
	for i := range b {
		if b[i].name == name {
			return b[i].milli
		}
	}
	return 0
}

// allocatable says whether there is enough to make an offer of: Mesos's
// default for --min_allocatable_resources.
func (b bag) allocatable() bool { return b.scalar("cpus") >= 10 || b.scalar("mem") >= 32000 }

// String is how Mesos prints resources in its error messages.
func (b bag) String() string {
	parts := make([]string, len(b))
	for i := range b {
		parts[i] = b[i].String()
	}
	return strings.Join(parts, "; ")
}

func (r *resource) String() string {
	name := r.name
	if r.role != "" {
		name += "(allocated: " + r.role + ")"
	}
	switch r.kind {
	case mesos.RANGES:
		parts := make([]string, len(r.spans))
		for i, s := range r.spans {
			parts[i] = fmt.Sprintf("%d-%d", s.begin, s.end)
		}
		return name + ":[" + strings.Join(parts, ", ") + "]"
	case mesos.SET:
		return name + ":{" + strings.Join(r.items, ", ") + "}"
	}
	return name + ":" + strconv.FormatFloat(float64(r.milli)/1000, 'f', -1, 64)
}

// normalize sorts spans and joins those that touch. It may change its argument.
func normalize(spans []span) []span {
	if len(spans) < 2 {
		return spans
	}
	slices.SortFunc(spans, func(a, b span) int {
		switch {
		case a.begin < b.begin:
			return -1
		case a.begin > b.begin:
			return 1
		}
		return 0
	})
	out := spans[:1]
	for _, s := range spans[1:] {
		last := &out[len(out)-1]
		if s.begin <= last.end || s.begin == last.end+1 {
			last.end = max(last.end, s.end)
		} else {
			out = append(out, s)
		}
	}
	return out
}

func without(spans, gone []span) []span {
	out := slices.Clone(spans)
	for _, g := range gone {
		var next []span
		for _, s := range out {
			if g.end < s.begin || g.begin > s.end {
				next = append(next, s)
				continue
			}
			if s.begin < g.begin {
				next = append(next, span{s.begin, g.begin - 1})
			}
			if s.end > g.end {
				next = append(next, span{g.end + 1, s.end})
			}
		}
		out = next
	}
	return out
}

func covers(spans, wanted []span) bool {
	for _, w := range wanted {
		if !slices.ContainsFunc(spans, func(s span) bool { return s.begin <= w.begin && w.end <= s.end }) {
			return false
		}
	}
	return true
}

// invalidResource is what Mesos says of a resource that is malformed, "" when
// it is not.
func invalidResource(r *mesos.Resource) string {
	bad := func(format string, args ...any) string {
		b := bagOf([]mesos.Resource{*r}, "")
		text := r.Name + ":" + strconv.FormatFloat(r.GetScalar().GetValue(), 'f', -1, 64)
		if r.GetType() != mesos.SCALAR {
			text = b.String()
		}
		return fmt.Sprintf("Resource '%s' is invalid: ", text) + fmt.Sprintf(format, args...)
	}
	if r.Name == "" {
		return bad("Empty resource name")
	}
	switch r.GetType() {
	case mesos.SCALAR:
		if r.Scalar == nil || r.Ranges != nil || r.Set != nil {
			return bad("Invalid scalar resource")
		}
		if r.Scalar.Value < 0 || math.IsNaN(r.Scalar.Value) || math.IsInf(r.Scalar.Value, 0) {
			return bad("Invalid scalar resource: value <= 0")
		}
	case mesos.RANGES:
		if r.Scalar != nil || r.Ranges == nil || r.Set != nil {
			return bad("Invalid ranges resource")
		}
		for _, x := range r.Ranges.Range {
			if x.Begin > x.End {
				return bad("Invalid ranges resource: begin > end")
			}
		}
	case mesos.SET:
		if r.Scalar != nil || r.Ranges != nil || r.Set == nil {
			return bad("Invalid set resource")
		}
	default:
		return bad("Unsupported resource type")
	}
	return ""
}
