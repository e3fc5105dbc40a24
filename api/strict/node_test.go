package strict_test

import (
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api/strict"
)

func TestPaths(t *testing.T) {
	t.Parallel()
	p := strict.Join("", "labels")
	for _, step := range []struct{ path, want string }{
		{strict.Join(p, "a"), `labels.a`},
		{strict.Join(p, "a.b"), `labels["a.b"]`},
		{strict.Join(p, `x["y"]`), `labels["x[\"y\"]"]`},
		{strict.Join(p, ""), `labels[""]`},
		{strict.Index(p, 12), `labels[12]`},
	} {
		require.Equal(t, step.want, step.path)
		require.Equal(t, p, strict.Parent(step.path), step.path)
		require.True(t, strict.Within(step.path, p))
	}
	require.Equal(t, "", strict.Parent(p))
	require.False(t, strict.Within("labelsx", p))
	require.True(t, strict.Within("labels", ""))
}

func TestNearest(t *testing.T) {
	t.Parallel()
	names := []string{"command", "memory", "stop_first", "cpus", "ports"}
	for word, want := range map[string]string{
		"comand": "command", "Command": "command", "mem": "memory", "stopFirst": "stop_first",
		"stop-first": "stop_first", "cpu": "cpus", "prots": "ports", "x": "", "replicas": "", "": "",
	} {
		require.Equal(t, want, strict.Nearest(word, names), word)
	}
}

func TestDecodeTellsPlaces(t *testing.T) {
	t.Parallel()
	tree, err := strict.ParseJSON([]byte("{\n  \"a\": {\"ü\": 1, \"b\": [0, \"x\"]}}"))
	require.NoError(t, err)
	var into struct {
		A struct {
			B []int `json:"b"`
		} `json:"a"`
	}
	places, problems := strict.Decode(tree, &into, "json")
	require.Equal(t, []strict.Problem{
		{Path: `a["ü"]`, Message: `unknown field "ü"; known here: b`, At: strict.Position{Line: 2, Column: 9}},
		{Path: "a.b[1]", Message: `wants a whole number, not the string "x"`, Value: "x", At: strict.Position{Line: 2, Column: 26}},
	}, problems)
	require.True(t, places["a.b[0]"].Zero)
	require.Equal(t, strict.Position{Line: 2, Column: 23}, places.Of("a.b[0]"))
	require.Equal(t, strict.Position{Line: 2, Column: 3}, places.Of("a.missing"), "the key of what it belongs in")
	require.Equal(t, strict.Position{Line: 1, Column: 1}, places.Of("missing.too"))
}

func TestDecodeTakesEmbeddedFieldsAsOwn(t *testing.T) {
	t.Parallel()
	type notes struct {
		Author string            `json:"author"`
		Links  map[string]string `json:"links"`
	}
	type request struct {
		Name string `json:"name"`
		notes
		Replace bool `json:"replace"`
	}
	type Notes notes
	var into struct {
		Name string `json:"name"`
		Notes
		Replace bool `json:"replace"`
	}
	tree, err := strict.ParseJSON([]byte(`{"author": "ada", "links": {"build": "b"}, "replace": true, "autor": 1}`))
	require.NoError(t, err)
	_, found := strict.Decode(tree, &into, "json")
	require.Len(t, found, 1)
	require.Equal(t, `unknown field "autor": did you mean "author"?`, found[0].Message)
	require.Equal(t, "ada", into.Author)
	require.Equal(t, map[string]string{"build": "b"}, into.Links)
	require.True(t, into.Replace)
	require.Equal(t, []string{"name", "author", "links", "replace"}, strict.Names(reflect.TypeFor[request](), "json"))
}

func TestDecodeWholeNumbersFromZero(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]uint32{`7`: 7, `4294967295`: 1<<32 - 1, `-1`: 0, `4294967296`: 0, `1.0`: 0, `"7"`: 0} {
		tree, err := strict.ParseJSON([]byte(`{"to": ` + text + `}`))
		require.NoError(t, err)
		var into struct {
			To uint32 `json:"to"`
		}
		_, found := strict.Decode(tree, &into, "json")
		require.Equal(t, want, into.To, text)
		require.Equal(t, want == 0, len(found) > 0, text)
	}
}
