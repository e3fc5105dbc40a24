package constraint_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api/constraint"
)

type agent map[string]string

func (a agent) Attribute(name string) (string, bool) {
	v, ok := a[name]
	return v, ok
}

func TestMatch(t *testing.T) {
	a := agent{"rack": "r1", "cores": "16", "note": "two words", "host": "h-1.example.org"}
	for text, want := range map[string]bool{
		"rack = r1": true, "rack == r2": false, "rack != r1": false, "rack != r2": true,
		"rack in (r1, r2)": true, "rack in (r2)": false, "rack not in (r2,r3)": true, "rack not in (r1)": false,
		"has rack": true, "has gpu": false, "lacks gpu": true, "lacks rack": false,
		"cores >= 16": true, "cores > 16": false, "cores < 16.5": true, "cores <= 15": false,
		"rack < 3": false, // not a number
		"gpu = x":  false, "gpu != x": true, "gpu in (x)": false, "gpu not in (x)": true, "gpu > 0": false,
		`note = "two words"`: true, "host = h-1.example.org": true,
		"has = x": false, // an attribute may be called has
	} {
		c, err := constraint.Parse(text)
		require.NoError(t, err)
		require.Equal(t, want, c.Match(a), text)
		again, err := constraint.Parse(c.String())
		require.NoError(t, err, c.String())
		require.Equal(t, c, again)
	}
}

func TestParse_SaysWhatIsWrongAndWhere(t *testing.T) {
	for text, want := range map[string]string{
		"":                `constraint "", column 1: expected the name of an attribute, has or lacks, found the end`,
		"rack":            `constraint "rack", column 5: expected =, !=, in (…), not in (…), <, <=, > or >=, found the end`,
		"rack im (r1)":    `constraint "rack im (r1)", column 6: expected =, !=, in (…), not in (…), <, <=, > or >= (did you mean "in"?), found "im"`,
		"rack in r1":      `constraint "rack in r1", column 9: expected ( and a list of values, found "r1"`,
		"rack in (r1 r2)": `constraint "rack in (r1 r2)", column 13: expected , or ), found "r2"`,
		"rack in ()":      `constraint "rack in ()", column 10: expected a value, found ")"`,
		"rack not r1":     `constraint "rack not r1", column 10: expected in, found "r1"`,
		"cores > many":    `constraint "cores > many", column 9: expected a number, found "many"`,
		"rack = r1 x":     `constraint "rack = r1 x", column 11: expected nothing more, found "x"`,
		`rack = "r1`:      `constraint "rack = \"r1", column 8: a text in quotes does not end`,
	} {
		_, err := constraint.Parse(text)
		require.EqualError(t, err, want)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"rack in (r1, r2)", "a not in (\"x y\",z)", "has gpu", "n >= 1e9", "host != a-1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := constraint.Parse(text)
		if err != nil {
			return
		}
		again, err := constraint.Parse(c.String())
		require.NoError(t, err, "%q became %q", text, c.String())
		require.Equal(t, c.String(), again.String())
		c.Match(agent{c.Name(): "x"})
	})
}

func BenchmarkMatch(b *testing.B) {
	c, err := constraint.Parse("rack in (r1, r2, r3)")
	require.NoError(b, err)
	a := agent{"rack": "r3"}
	for b.Loop() {
		c.Match(a)
	}
}
