package model

import (
	"fmt"
	"strconv"
	"strings"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
)

// ParseResources reads resources as in mesos-agent's --resources, such as
// "cpus:4;mem:8192;ports:[31000-31999]".
func ParseResources(text string) ([]mesos.Resource, error) {
	var out []mesos.Resource
	err := eachPair(text, func(name, value string) error {
		if strings.Contains(name, "(") {
			return fmt.Errorf("resource %q: reservations are not part of this cluster", name)
		}
		r := mesos.Resource{Name: name}
		switch {
		case strings.HasPrefix(value, "["):
			ranges, err := parseRanges(value)
			if err != nil {
				return fmt.Errorf("resource %q: %w", name, err)
			}
			r.Type, r.Ranges = mesos.RANGES.Enum(), ranges
		case strings.HasPrefix(value, "{"):
			items := strings.Split(strings.Trim(value, "{}"), ",")
			for i := range items {
				items[i] = strings.TrimSpace(items[i])
			}
			r.Type, r.Set = mesos.SET.Enum(), &mesos.Value_Set{Item: items}
		default:
			n, err := strconv.ParseFloat(value, 64)
			if err != nil || n < 0 {
				return fmt.Errorf("resource %q: %q is no quantity; write a number, [a-b] or {x,y}", name, value)
			}
			r.Type, r.Scalar = mesos.SCALAR.Enum(), &mesos.Value_Scalar{Value: n}
		}
		out = append(out, r)
		return nil
	})
	return out, err
}

func parseRanges(value string) (*mesos.Value_Ranges, error) {
	out := &mesos.Value_Ranges{}
	for _, part := range strings.Split(strings.Trim(value, "[]"), ",") {
		from, to, ok := strings.Cut(strings.TrimSpace(part), "-")
		begin, err := strconv.ParseUint(from, 10, 64)
		end, err2 := strconv.ParseUint(to, 10, 64)
		if !ok || err != nil || err2 != nil || begin > end {
			return nil, fmt.Errorf("%q is no range; write [31000-31999]", part)
		}
		out.Range = append(out.Range, mesos.Value_Range{Begin: begin, End: end})
	}
	return out, nil
}

// ParseAttributes reads attributes as in mesos-agent's --attributes, such as
// "rack:r1;zone:z1".
func ParseAttributes(text string) ([]mesos.Attribute, error) {
	var out []mesos.Attribute
	err := eachPair(text, func(name, value string) error {
		a := mesos.Attribute{Name: name, Type: mesos.TEXT}
		if n, err := strconv.ParseFloat(value, 64); err == nil {
			a.Type, a.Scalar = mesos.SCALAR, &mesos.Value_Scalar{Value: n}
		} else if strings.HasPrefix(value, "[") {
			ranges, err := parseRanges(value)
			if err != nil {
				return fmt.Errorf("attribute %q: %w", name, err)
			}
			a.Type, a.Ranges = mesos.RANGES, ranges
		} else {
			a.Text = &mesos.Value_Text{Value: value}
		}
		out = append(out, a)
		return nil
	})
	return out, err
}

func eachPair(text string, add func(name, value string) error) error {
	for _, part := range strings.Split(text, ";") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		name, value, ok := strings.Cut(part, ":")
		if name, value = strings.TrimSpace(name), strings.TrimSpace(value); !ok || name == "" || value == "" {
			return fmt.Errorf("%q: write name:value, separated by semicolons", part)
		}
		if err := add(name, value); err != nil {
			return err
		}
	}
	return nil
}
