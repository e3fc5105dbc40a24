package cron

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/perigee-sched/perigee/api/nearest"
)

// field is what one of the five fields may hold.
type field struct {
	name     string
	min, max int // of `*` and of open steps
	top      int // the largest value written: 7 for day-of-week
	names    []string
	allowed  string
}

var fields = [5]field{
	{name: "minute", min: 0, max: 59, top: 59, allowed: "0-59"},
	{name: "hour", min: 0, max: 23, top: 23, allowed: "0-23"},
	{name: "day-of-month", min: 1, max: 31, top: 31, allowed: "1-31 or L (the last day)"},
	{name: "month", min: 1, max: 12, top: 12, allowed: "1-12 or jan, feb, … dec",
		names: strings.Fields("jan feb mar apr may jun jul aug sep oct nov dec")},
	{name: "day-of-week", min: 0, max: 6, top: 7, allowed: "0-7 or sun, mon, … sat",
		names: strings.Fields("sun mon tue wed thu fri sat")},
}

const (
	minuteField = iota
	hourField
	domField
	monthField
	dowField
)

// lastDay is the bit that L sets in the day-of-month field.
const lastDay = 0

// parse returns the values the text names, bit v for value v.
func (f *field) parse(text string) (uint64, error) {
	var set uint64
	for part := range strings.SplitSeq(text, ",") {
		bits, err := f.part(part)
		if err != nil {
			where := ""
			if part != text {
				where = fmt.Sprintf(" in %q", text)
			}
			return 0, fmt.Errorf("%s %q%s: %w", f.name, part, where, err)
		}
		set |= bits
	}
	if f.top > f.max && set>>f.top&1 == 1 { // 7 is Sunday too
		set = set&^(1<<f.top) | 1<<f.min
	}
	return set, nil
}

// part reads one part of a list.
func (f *field) part(text string) (uint64, error) {
	span, stepText, stepped := strings.Cut(text, "/")
	low, high := f.min, f.max
	if span != "*" {
		if f == &fields[domField] && strings.EqualFold(text, "L") {
			return 1 << lastDay, nil
		}
		from, to, ranged := strings.Cut(span, "-")
		var err error
		if low, err = f.value(from); err != nil {
			return 0, err
		}
		switch {
		case ranged:
			high, err = f.value(to)
			if high == 0 && strings.EqualFold(to, "sun") && low > 0 {
				high = f.top
			}
		case !stepped:
			high = low
		}
		if err != nil {
			return 0, err
		}
		if ranged && low > high {
			return 0, fmt.Errorf("the range runs backwards; write %s-%d,%d-%s", from, f.max, f.min, to)
		}
		high = max(low, high)
	}
	step := 1
	if stepped {
		var err error
		if step, err = f.step(stepText); err != nil {
			return 0, err
		}
	}
	var set uint64
	for v := low; v <= high; v += step {
		set |= 1 << v
	}
	return set, nil
}

// value reads one number or name.
func (f *field) value(text string) (int, error) {
	if i := slices.Index(f.names, strings.ToLower(text)); i >= 0 {
		return f.min + i, nil
	}
	if n, ok := number(text); ok && n >= f.min && n <= f.top {
		return n, nil
	}
	suggestion := nearest.Name(text, f.names)
	if len(text) > 3 {
		if i := slices.Index(f.names, strings.ToLower(text[:3])); i >= 0 {
			suggestion = f.names[i]
		}
	}
	if text == "?" {
		suggestion = "*"
	}
	return 0, fmt.Errorf("expected %s%s", f.allowed, didYouMean(suggestion))
}

// step reads what follows a slash.
func (f *field) step(text string) (int, error) {
	count := f.max - f.min + 1
	n, ok := number(text)
	if ok && n >= 1 && n <= count {
		return n, nil
	}
	hint := ""
	if ok && n > count && f.max == 59 {
		hint = fmt.Sprintf("; for every %d minutes write @every %dm", n, n)
	}
	if ok && n > count && f.max == 23 {
		hint = fmt.Sprintf("; for every %d hours write @every %dh", n, n)
	}
	return 0, fmt.Errorf("expected a step of 1-%d after the slash%s", count, hint)
}

// number reads a plain decimal number of at most four digits.
func number(text string) (int, bool) {
	if len(text) == 0 || len(text) > 4 || strings.Trim(text, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.Atoi(text)
	return n, err == nil
}
