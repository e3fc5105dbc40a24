package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/perigee-sched/perigee/api/strict"
)

// Bounds of a file. The parser's time grows faster than its input (measured
// with v1.19.2: 100,000 entries of a map take 20 s, 100,000 levels more memory
// than a machine has), so tokens are counted first, which is linear.
const (
	maxFile   = 1 << 20 // bytes
	maxTokens = 30_000
	maxDepth  = 64
	maxNodes  = 20_000 // once aliases are expanded
)

// readFile reads at most one byte more than a file may have.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(io.LimitReader(f, maxFile+1)); err != nil {
		return nil, err // it says what and where
	}
	return b.Bytes(), nil
}

// parse reads the YAML documents of a file into trees. Anchors, aliases and
// merge keys are expanded; tags other than !!str are refused.
func (f file) parse() (trees []*strict.Node, err error) {
	if at, problem := f.refuse(); problem != "" {
		return nil, f.fail(at, "%s", problem)
	}
	defer func() {
		if r := recover(); r != nil { // the parser has been seen to, on nonsense
			trees, err = nil, f.fail(strict.Position{}, "is not YAML that can be read: %v", r)
		}
	}()
	parsed, err := parser.ParseBytes(f.data, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, f.syntax(err)
	}
	for _, doc := range parsed.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.DirectiveType {
			continue
		}
		b := &treeBuilder{file: f.name, anchors: map[string]anchor{}}
		tree, _ := b.node(doc.Body, 0)
		if b.problem != "" {
			return nil, f.fail(b.at, "%s", b.problem)
		}
		trees = append(trees, tree)
	}
	return trees, nil
}

// refuse says what is wrong with a file that must not reach the parser.
func (f *file) refuse() (strict.Position, string) {
	if len(f.data) > maxFile {
		return strict.Position{}, fmt.Sprintf("is more than %d bytes long", maxFile)
	}
	f.data = bytes.TrimPrefix(f.data, []byte("\ufeff"))
	for i, line := range strings.Split(string(f.data), "\n") {
		if !utf8.ValidString(line) {
			return strict.Position{Line: i + 1, Column: 1}, "is not valid UTF-8"
		}
		if n := strings.IndexByte(line, 0); n >= 0 {
			return strict.Position{Line: i + 1, Column: n + 1}, "has a NUL character"
		}
	}
	tokens := lexer.Tokenize(string(f.data))
	if len(tokens) > maxTokens {
		return strict.Position{}, fmt.Sprintf("has more than %d words and signs", maxTokens)
	}
	flow, stacked, line := 0, 0, 0
	for _, t := range tokens {
		at := t.Position
		if at.Line != line {
			stacked, line = 0, at.Line
		}
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			flow++
		case token.SequenceEndType, token.MappingEndType:
			flow--
		case token.SequenceEntryType, token.MappingKeyType, token.TagType, token.AnchorType:
			stacked++
		}
		if flow > maxDepth || stacked > maxDepth {
			return position(t), fmt.Sprintf("is nested more than %d levels deep", maxDepth)
		}
	}
	return strict.Position{}, ""
}

func position(t *token.Token) strict.Position {
	return strict.Position{Line: t.Position.Line, Column: t.Position.Column}
}

func (f file) syntax(err error) *Error {
	var at yaml.Error
	if errors.As(err, &at) && at.GetToken() != nil {
		place := position(at.GetToken())
		hint := ""
		if lines := strings.Split(string(f.data), "\n"); place.Line <= len(lines) && strings.Contains(lines[place.Line-1], "${") {
			hint = `; inside { } and [ ], write variables in quotes: "${name}"`
		}
		return f.fail(place, "%s%s", at.GetMessage(), hint)
	}
	return f.fail(strict.Position{}, "%v", err)
}

func (b *treeBuilder) position(t *token.Token) strict.Position {
	at := position(t)
	at.File = b.file
	return at
}

type anchor struct {
	node *strict.Node
	size int
}

// treeBuilder turns one document into a tree. Aliases share what they stand
// for; sizes count it as often as it is used.
type treeBuilder struct {
	file    string
	anchors map[string]anchor
	problem string // the first
	at      strict.Position
}

func (b *treeBuilder) fail(n ast.Node, format string, args ...any) {
	if b.problem == "" {
		b.problem, b.at = fmt.Sprintf(format, args...), b.position(n.GetToken())
	}
}

// node returns n as a tree, and how many nodes that has.
func (b *treeBuilder) node(n ast.Node, depth int) (*strict.Node, int) {
	out, size := &strict.Node{At: b.position(n.GetToken())}, 1
	if depth > maxDepth {
		b.fail(n, "is nested more than %d levels deep", maxDepth)
	}
	if b.problem != "" {
		return out, size
	}
	switch n := n.(type) {
	case *ast.MappingNode:
		size = b.fields(out, n, depth)
	case *ast.MappingValueNode:
		out.Kind = strict.Map
		size += b.field(out, n, depth)
		out.At = b.position(n.Key.GetToken())
	case *ast.SequenceNode:
		out.Kind = strict.List
		for _, item := range n.Values {
			child, s := b.node(item, depth+1)
			out.Items, size = append(out.Items, child), size+s
		}
	case *ast.AnchorNode:
		if n.Value == nil {
			b.fail(n, "an anchor without a value")
			break
		}
		out, size = b.node(n.Value, depth+1)
		b.anchors[n.Name.GetToken().Value] = anchor{out, size}
	case *ast.AliasNode:
		known, ok := b.anchors[n.Value.GetToken().Value]
		if !ok {
			b.fail(n, "no anchor &%s before this alias", n.Value.GetToken().Value)
			break
		}
		out, size = known.node, known.size
	case *ast.TagNode:
		if n.Start.Value != "!!str" || n.Value == nil {
			b.fail(n, "the tag %s is not supported", n.Start.Value)
			break
		}
		out, size = b.node(n.Value, depth+1)
		out.Plain = out.Plain || out.Kind != strict.String
	default:
		b.scalar(out, n)
	}
	if size > maxNodes {
		b.fail(n, "has more than %d values once aliases are expanded", maxNodes)
	}
	return out, size
}

func (b *treeBuilder) scalar(out *strict.Node, n ast.Node) {
	t := n.GetToken()
	out.Text, out.Plain = t.Value, true
	switch n := n.(type) {
	case *ast.NullNode:
		out.Kind = strict.Null
		if t.Type == token.ImplicitNullType {
			out.Text = ""
		}
	case *ast.BoolNode:
		out.Kind = strict.Bool
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		out.Kind = strict.Number
	case *ast.StringNode:
		out.Kind, out.Text = strict.String, n.Value
		out.Plain = t.Type != token.SingleQuoteType && t.Type != token.DoubleQuoteType
	case *ast.LiteralNode:
		out.Kind, out.Text, out.Plain = strict.String, n.Value.Value, false
	default:
		b.fail(n, "%s is not supported here", n.Type())
	}
}

func (b *treeBuilder) fields(out *strict.Node, n *ast.MappingNode, depth int) int {
	out.Kind = strict.Map
	size := 1
	for _, v := range n.Values {
		size += b.field(out, v, depth)
	}
	if !n.IsFlowStyle && len(n.Values) > 0 {
		out.At = b.position(n.Values[0].Key.GetToken()) // not its colon
	}
	return size
}

func (b *treeBuilder) field(out *strict.Node, v *ast.MappingValueNode, depth int) int {
	value, size := b.node(v.Value, depth+1)
	if v.Key.Type() == ast.MergeKeyType {
		b.merge(out, v, value)
		return size
	}
	name, ok := b.name(v.Key)
	if !ok {
		b.fail(v.Key, "a field's name must be a word")
	}
	// What is given here goes before what was merged.
	for i, f := range out.Fields {
		if f.Name == name && f.Merged {
			out.Fields = append(out.Fields[:i:i], out.Fields[i+1:]...)
			break
		}
	}
	out.Fields = append(out.Fields, strict.Field{Name: name, At: b.position(v.Key.GetToken()), Value: value})
	return size
}

func (b *treeBuilder) name(key ast.MapKeyNode) (string, bool) {
	switch k := key.(type) {
	case *ast.StringNode:
		return k.Value, true
	case *ast.MappingKeyNode:
		if inner, ok := k.Value.(ast.MapKeyNode); ok {
			return b.name(inner)
		}
		return "", false
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NullNode:
		return key.GetToken().Value, true
	}
	return "", false
}

// merge adds the fields of a map, or of each of a list of maps, that out lacks.
func (b *treeBuilder) merge(out *strict.Node, v *ast.MappingValueNode, from *strict.Node) {
	sources := []*strict.Node{from}
	if from.Kind == strict.List {
		sources = from.Items
	}
	for _, source := range sources {
		if source.Kind != strict.Map {
			b.fail(v.Value, "only a map can be merged with <<")
			return
		}
		for _, f := range source.Fields {
			if out.Field(f.Name) == nil {
				f.Merged = true
				out.Fields = append(out.Fields, f)
			}
		}
	}
}
