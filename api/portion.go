package api

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Portion of a number of instances: a count, "3", or a percentage, "10%". In
// JSON and YAML a count may be a number. "" is the default.
type Portion string

// Of returns how many of n instances a portion is, at least 1 unless it is 0
// and at most n; parts of an instance count as a whole one.
func (v Portion) Of(n int) int {
	amount, percent, ok := v.parse()
	if !ok {
		return 0
	}
	if percent {
		amount = math.Ceil(amount*float64(n)/100 - 1e-9)
	}
	return min(int(amount), n)
}

// AtMost is Of for a bound that must not be exceeded: parts of an instance do
// not count.
func (v Portion) AtMost(n int) int {
	amount, percent, ok := v.parse()
	if !ok {
		return 0
	}
	if percent {
		amount = math.Floor(amount*float64(n)/100 + 1e-9)
	}
	return min(int(amount), n)
}

func (v Portion) parse() (amount float64, percent, ok bool) {
	text, percent := strings.CutSuffix(strings.TrimSpace(string(v)), "%")
	amount, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(amount) || math.IsInf(amount, 0) || !percent && amount != math.Trunc(amount) || math.Abs(amount) > 1e9 {
		return 0, percent, false
	}
	return amount, percent, true
}

// UnmarshalText implements encoding.TextUnmarshaler. Whether the portion is one
// is for Validate to say, which knows what is allowed where.
func (v *Portion) UnmarshalText(text []byte) error {
	p := Portion(strings.TrimSpace(string(text)))
	if _, _, ok := p.parse(); !ok {
		return fmt.Errorf("%q is not a portion: write a count, 3, or a percentage, 10%%", text)
	}
	*v = p
	return nil
}

// UnmarshalJSON takes a string or a number.
func (v *Portion) UnmarshalJSON(b []byte) error { return unmarshalQuantity(b, v.UnmarshalText) }

// Portions is a list of which the last repeats. One may stand for a list.
type Portions []Portion

// OneForList says, to package strict, that a scalar may stand for the list.
func (Portions) OneForList() {}

// UnmarshalJSON takes a list or one portion.
func (p *Portions) UnmarshalJSON(b []byte) error {
	if strings.HasPrefix(strings.TrimSpace(string(b)), "[") {
		var list []Portion
		if err := json.Unmarshal(b, &list); err != nil {
			return err
		}
		*p = list
		return nil
	}
	var one Portion
	if err := json.Unmarshal(b, &one); err != nil {
		return err
	}
	*p = Portions{one}
	return nil
}

// At returns the i-th portion, the last for all that follow.
func (p Portions) At(i int) Portion {
	if len(p) == 0 {
		return ""
	}
	return p[min(i, len(p)-1)]
}
