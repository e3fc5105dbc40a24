package strict

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Kind of a node.
type Kind int

// The kinds of nodes.
const (
	Null Kind = iota
	Bool
	Number
	String
	List
	Map
)

// Position in a source, both from 1; columns count characters. The zero
// Position is unknown.
type Position struct {
	Line, Column int
	// File names the source where a tree comes from several.
	File string
}

// Node of a tree. A tree may share nodes, but has no cycle: readers bound its
// size with sharing counted as often as it is used.
type Node struct {
	Kind Kind
	// Text of a scalar, as it was written, without quotes and escapes.
	Text string
	// Plain says that the scalar was written without quotes in a language where
	// quotes are optional, so that a string may look like a number.
	Plain  bool
	Items  []*Node // of a list
	Fields []Field // of a map, in the order of the source
	At     Position
}

// Field is one entry of a map.
type Field struct {
	Name  string
	At    Position
	Value *Node
	// Merged says that the field came from elsewhere in the source, and gives
	// way to one that is given here.
	Merged bool
	// Removed says that the field was taken away: Decode checks its name, and
	// reads no value.
	Removed bool
}

// Field returns the value of the last field called name, nil if there is none.
func (n *Node) Field(name string) *Node {
	for i := len(n.Fields) - 1; i >= 0; i-- {
		if n.Fields[i].Name == name {
			return n.Fields[i].Value
		}
	}
	return nil
}

// Scalar says whether n is a value without parts, other than null.
func (n *Node) Scalar() bool { return n.Kind == Bool || n.Kind == Number || n.Kind == String }

// Describe tells a person what n is.
func (n *Node) Describe() string {
	switch n.Kind {
	case Bool, Number:
		return n.Text
	case String:
		return fmt.Sprintf("the string %q", Shorten(n.Text))
	case List:
		return "a list"
	case Map:
		return "a map"
	}
	return "nothing"
}

// Shorten cuts s to what a message may carry.
func Shorten(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

var plainName = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// Join returns the path of the field name of the map at path:
// `health.http`, `labels["a.b"]`.
func Join(path, name string) string {
	switch {
	case !plainName.MatchString(name):
		return path + "[" + strconv.Quote(name) + "]"
	case path == "":
		return name
	}
	return path + "." + name
}

// Index returns the path of item i of the list at path: `artifacts[0]`.
func Index(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// Parent returns the path of what holds the value at path; "" is the root.
func Parent(path string) string {
	if strings.HasSuffix(path, `"]`) {
		return path[:max(0, strings.LastIndex(path, `["`))]
	}
	if strings.HasSuffix(path, "]") {
		return path[:max(0, strings.LastIndexByte(path, '['))]
	}
	return path[:max(0, strings.LastIndexByte(path, '.'))]
}

// Within says whether path is outer or lies inside it.
func Within(path, outer string) bool {
	rest, ok := strings.CutPrefix(path, outer)
	return ok && (rest == "" || outer == "" || rest[0] == '.' || rest[0] == '[')
}
