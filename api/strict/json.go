package strict

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// maxDepth of a tree; a spec's own is 5.
const maxDepth = 64

// SyntaxError says where a source is not what it should be.
type SyntaxError struct {
	At      Position
	Message string
}

func (e *SyntaxError) Error() string {
	if e.At.Line == 0 {
		return e.Message
	}
	return fmt.Sprintf("line %d, column %d: %s", e.At.Line, e.At.Column, e.Message)
}

// ParseJSON reads the one JSON value that data is. The caller bounds data's
// size. Repeated fields are kept, for Decode to refuse. An error is a
// *SyntaxError.
func ParseJSON(data []byte) (*Node, error) {
	r := &jsonReader{data: data, dec: json.NewDecoder(bytes.NewReader(data)), at: Position{Line: 1, Column: 1}}
	r.dec.UseNumber()
	if !utf8.Valid(data) {
		return nil, &SyntaxError{Message: "is not valid UTF-8"}
	}
	n, err := r.value(0)
	if err != nil {
		return nil, err
	}
	if _, err := r.dec.Token(); !errors.Is(err, io.EOF) {
		return nil, r.fail("something follows after the end of the value")
	}
	return n, nil
}

type jsonReader struct {
	data []byte
	dec  *json.Decoder
	// at is the place of the byte at offset; both only move forward.
	at     Position
	offset int
}

// place returns the position of the next token.
func (r *jsonReader) place() Position {
	end := int(r.dec.InputOffset())
	for end < len(r.data) && bytes.IndexByte([]byte(" \t\r\n,:"), r.data[end]) >= 0 {
		end++
	}
	return r.move(end)
}

func (r *jsonReader) move(end int) Position {
	for ; r.offset < end; r.offset++ {
		switch c := r.data[r.offset]; {
		case c == '\n':
			r.at = Position{Line: r.at.Line + 1, Column: 1}
		case utf8.RuneStart(c):
			r.at.Column++
		}
	}
	return r.at
}

func (r *jsonReader) fail(format string, args ...any) error {
	return &SyntaxError{At: r.place(), Message: fmt.Sprintf(format, args...)}
}

func (r *jsonReader) token() (json.Token, error) {
	t, err := r.dec.Token()
	var syntax *json.SyntaxError
	switch {
	case err == nil:
		return t, nil
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		r.move(len(r.data))
		return nil, &SyntaxError{At: r.at, Message: "ends in the middle of a JSON value"}
	case errors.As(err, &syntax):
		at := r.move(min(len(r.data), int(syntax.Offset)))
		return nil, &SyntaxError{At: at, Message: "is not JSON: " + syntax.Error()}
	}
	return nil, r.fail("is not JSON: %v", err)
}

func (r *jsonReader) value(depth int) (*Node, error) {
	if depth > maxDepth {
		return nil, r.fail("is nested more than %d levels deep", maxDepth)
	}
	n := &Node{At: r.place()}
	t, err := r.token()
	if err != nil {
		return nil, err
	}
	switch t := t.(type) {
	case json.Delim:
		if t == '{' {
			n.Kind = Map
			err = r.fields(n, depth)
		} else {
			n.Kind = List
			err = r.items(n, depth)
		}
	case bool:
		n.Kind, n.Text = Bool, fmt.Sprint(t)
	case json.Number:
		n.Kind, n.Text = Number, t.String()
	case string:
		n.Kind, n.Text = String, t
	}
	return n, err
}

func (r *jsonReader) items(n *Node, depth int) error {
	for r.dec.More() {
		item, err := r.value(depth + 1)
		if err != nil {
			return err
		}
		n.Items = append(n.Items, item)
	}
	_, err := r.token()
	return err
}

func (r *jsonReader) fields(n *Node, depth int) error {
	for r.dec.More() {
		at := r.place()
		name, err := r.token()
		if err != nil {
			return err
		}
		v, err := r.value(depth + 1)
		if err != nil {
			return err
		}
		n.Fields = append(n.Fields, Field{Name: name.(string), At: at, Value: v})
	}
	_, err := r.token()
	return err
}
