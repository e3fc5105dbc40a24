package api

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/perigee-sched/perigee/api/strict"
)

// Canonical returns the one JSON encoding that s has: what the user said,
// without defaults, in the order of Spec's fields, names of maps sorted. Two
// specs are equal if their canonical forms are. It fails on numbers that JSON
// does not have, which Validate refuses.
func (s Spec) Canonical() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // commands are full of < > &
	if err := e.Encode(s); err != nil {
		return nil, fmt.Errorf("encode spec: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// ParseSpec reads what Canonical returned, maybe of a newer version: fields
// that this one does not know are left out.
func ParseSpec(canonical []byte) (*Spec, error) {
	s := new(Spec)
	if err := json.Unmarshal(canonical, s); err != nil {
		return nil, fmt.Errorf("parse spec: %w", err)
	}
	return s, nil
}

// Digest is the SHA-256 of a canonical form, in hexadecimal digits.
func Digest(canonical []byte) string {
	sum := sha256.Sum256(canonical)
	return hex.EncodeToString(sum[:])
}

// DecodeSpec reads and checks the body of a request, whose size the caller
// bounds. The error is an Invalid and lists everything that is wrong: JSON that
// is none, unknown and repeated fields, wrong types, and all that Validate
// says.
func DecodeSpec(body []byte) (*Spec, error) {
	tree, err := strict.ParseJSON(body)
	if err != nil {
		return nil, Invalid{{Message: syntax(err)}}
	}
	s, found := SpecFromTree(tree)
	if len(found) == 0 {
		return s, nil
	}
	invalid := make(Invalid, len(found))
	for i, f := range found {
		invalid[i] = ProblemField{Location: f.Path, Message: f.Message, Value: f.Value}
	}
	return nil, invalid
}

func syntax(err error) string {
	var at *strict.SyntaxError
	if errors.As(err, &at) && at.At.Line == 0 {
		return "the body " + at.Message
	}
	return "the body at " + err.Error()
}

// SpecFromTree reads and checks the spec that a tree holds, and returns
// everything that is wrong with it (but see strict.Most), in the order of the
// source. The spec is nil when anything is.
func SpecFromTree(tree *strict.Node) (*Spec, []strict.Problem) {
	s := new(Spec)
	places, found := strict.Decode(tree, s, "json")
	told := found[:len(found):len(found)] // what is wrong with the tree
	if tree.Kind != strict.Map {
		return nil, strict.Limit(found)
	}
	for _, path := range slices.Sorted(maps.Keys(notZero)) {
		if place, given := places[path]; given && place.Zero && !overlaps(path, told) {
			found = append(found, strict.Problem{Path: path, At: place.Value,
				Message: fmt.Sprintf("must be more than 0; leave it out for the default (%v)", notZero[path])})
		}
	}
	for _, f := range s.Validate() {
		follows := overlaps(f.Location, told) || strings.HasSuffix(f.Location, ".port") && overlaps("ports", told)
		if !follows {
			found = append(found, strict.Problem{Path: f.Location, Message: f.Message, Value: f.Value, At: places.Of(f.Location)})
		}
	}
	if len(found) == 0 {
		return s, nil
	}
	slices.SortStableFunc(found, func(a, b strict.Problem) int {
		return cmp.Or(cmp.Compare(a.At.Line, b.At.Line), cmp.Compare(a.At.Column, b.At.Column))
	})
	return nil, strict.Limit(found)
}

// overlaps says whether a problem at path only follows from one already told:
// the value there, or the field that was meant to be it, could not be read.
func overlaps(path string, told []strict.Problem) bool {
	return slices.ContainsFunc(told, func(t strict.Problem) bool {
		return strict.Within(path, t.Path) || strict.Within(t.Path, path) && t.Path != "" && path != "" ||
			t.Meant != "" && strict.Within(path, t.Meant)
	})
}
