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

func TestMatch_AsksTheAttribute(t *testing.T) {
	t.Parallel()
	a := agent{
		"rack": "r1", "cores": "16", "load": "0.25", "note": "two words", "shelf": "[1-5, 9-9]", "top": "inf",
		"empty": "", "not": "x", "in": "y", "has": "z", "host": "h-1.example.org",
	}
	for text, want := range map[string]bool{
		"rack = r1": true, "rack = r2": false, "rack == r1": true, "rack=r1": true, "rack = R1": false,
		"rack != r1": false, "rack != r2": true,
		"rack in (r1, r2)": true, "rack in (r2)": false, "rack in (r2,r1)": true,
		"rack not in (r2,r3)": true, "rack not in (r1)": false, "rack\n not  in ( r1 )": false,
		"has rack": true, "has gpu": false, "lacks gpu": true, "lacks rack": false, "has empty": true,

		"cores >= 16": true, "cores > 16": false, "cores <= 16": true, "cores < 16": false,
		"cores < 16.5": true, "cores <= 15": false, "cores > 1.5e1": true, "load > -1": true, "load<0.3": true,
		"cores = 16": true, "cores = 16.0": false, // text
		"rack < 3": false, "rack >= 3": false, "top > 3": false, // not numbers

		// Without the attribute only these three are met.
		"gpu = x": false, "gpu in (x)": false, "gpu > 0": false, "gpu < 0": false, "gpu >= 0": false, "gpu <= 0": false,
		"gpu != x": true, "gpu not in (x)": true,

		`note = "two words"`: true, `note in ("a b", "two words")`: true,
		`shelf = "[1-5, 9-9]"`: true, `empty = ""`: true, `rack != ""`: true, `rack = "r\u0031"`: true,
		"host = h-1.example.org": true, "hostname = h-1.example.org": true, "has hostname": true, "hostname != x": true,

		// Words of the language are attributes too.
		"has = z": true, "lacks = z": false, "in = y": true, "in in (y)": true, "not = x": true, `"not" in (x)`: true,
		"has not": true, "lacks in": false, `"has" in (z)`: true, `"has" not in (z)`: false,
	} {
		c, err := constraint.Parse(text)
		require.NoError(t, err)
		require.Equal(t, want, c.Match(a), text)
	}
}

func TestString_IsCanonicalAndReadsBack(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		" rack==r1 ":            `rack = r1`,
		"rack!=r1":              `rack != r1`,
		"rack in(r1,r2)":        `rack in (r1, r2)`,
		`rack in ("r1","r 2")`:  `rack in (r1, "r 2")`,
		"rack  not\tin (r1,r2)": `rack not in (r1, r2)`,
		"has  gpu":              `has gpu`,
		"lacks gpu":             `lacks gpu`,
		"cores>=8":              `cores >= 8`,
		"hostname = a":          `host = a`,
		"lacks hostname":        `lacks host`,
		`has = "has"`:           `"has" = has`,
		`"not" in (x)`:          `"not" in (x)`,
		`a = "x\"y"`:            `a = "x\"y"`,
		`a = ""`:                `a = ""`,
		"größe = λ":             `größe = λ`,
	} {
		c, err := constraint.Parse(text)
		require.NoError(t, err)
		require.Equal(t, want, c.String(), "for %q", text)
		again, err := constraint.Parse(c.String())
		require.NoError(t, err)
		require.Equal(t, c, again)
	}
}

func TestParse_SaysWhatIsWrongAndWhere(t *testing.T) {
	t.Parallel()
	const start = "expected the name of an attribute, has or lacks"
	const operator = "expected =, !=, in (…), not in (…), <, <=, > or >="
	for text, want := range map[string]string{
		"":                 `column 1: ` + start + `, found the end`,
		"  ":               `column 3: ` + start + `, found the end`,
		"= r1":             `column 1: ` + start + `, found "="`,
		`"" = r1`:          `column 1: ` + start + `, found "\"\""`,
		`"my rack" = r1`:   `column 1: ` + start + `, found "\"my rack\""`,
		"in (r1)":          `column 4: ` + operator + `, found "("`,
		"not in (r1)":      `column 1: ` + start + `, found "not"`,
		"not has gpu":      `column 1: ` + start + ` (did you mean "lacks"?), found "not"`,
		"not gpu":          `column 1: ` + start + ` (did you mean "lacks"?), found "not"`,
		"!gpu":             `column 1: ` + start + ` (did you mean "lacks"?), found "!"`,
		"!has gpu":         `column 1: ` + start + ` (did you mean "lacks"?), found "!"`,
		"has":              `column 4: ` + operator + `, found the end`,
		"has gpu, ssd":     `column 8: expected nothing more, found ","`,
		`lacks "a b"`:      `column 7: expected the name of an attribute, found "\"a b\""`,
		"hass gpu":         `column 6: ` + operator + ` (did you mean "has"?), found "gpu"`,
		"lack gpu":         `column 6: ` + operator + ` (did you mean "lacks"?), found "gpu"`,
		"gpu exists":       `column 5: ` + operator + ` (did you mean "has"?), found "exists"`,
		"rack":             `column 5: ` + operator + `, found the end`,
		"rack r1":          `column 6: ` + operator + `, found "r1"`,
		"rack im (r1)":     `column 6: ` + operator + ` (did you mean "in"?), found "im"`,
		"rack IN (r1)":     `column 6: ` + operator + ` (did you mean "in"?), found "IN"`,
		"rack notin (r1)":  `column 6: ` + operator + ` (did you mean "not in"?), found "notin"`,
		"rack is r1":       `column 6: ` + operator + ` (did you mean "="?), found "is"`,
		"rack <> r1":       `column 6: ` + operator + ` (did you mean "!="?), found "<>"`,
		"rack =~ r.*":      `column 6: ` + operator + ` (did you mean "in (…)"?), found "=~"`,
		"host matches h*":  `column 6: ` + operator + ` (did you mean "in (…)"?), found "matches"`,
		"cores GE 8":       `column 7: ` + operator + ` (did you mean ">="?), found "GE"`,
		"rack in r1":       `column 9: expected ( and a list of values, found "r1"`,
		"rack in (r1 r2)":  `column 13: expected , or ), found "r2"`,
		"rack in (r1":      `column 12: expected , or ), found the end`,
		"rack in ()":       `column 10: expected a value, found ")"`,
		"rack in (r1,)":    `column 13: expected a value, found ")"`,
		"rack in (r1) x":   `column 14: expected nothing more, found "x"`,
		"rack not r1":      `column 10: expected in, found "r1"`,
		"rack =":           `column 7: expected a value, found the end`,
		"rack = (r1)":      `column 8: expected a value, found "("`,
		"rack = r1 x":      `column 11: expected nothing more, found "x"`,
		"rack = r1 and x":  `column 11: expected nothing more, found "and"`,
		"cores > many":     `column 9: expected a number, found "many"`,
		"cores > inf":      `column 9: expected a number, found "inf"`,
		"cores > 1e999":    `column 9: expected a number, found "1e999"`,
		`rack = "r1`:       `column 8: a text in quotes does not end or has an unknown escape`,
		`rack = "\q"`:      `column 8: a text in quotes does not end or has an unknown escape`,
		`größe ≥ 3`:        `column 7: ` + operator + `, found "≥"`,
		"rack = \xff":      `column 8: expected a value, found "\xff"`,
		"rack = r1; x = y": `column 10: expected nothing more, found ";"`,
	} {
		c, err := constraint.Parse(text)
		require.ErrorContains(t, err, `constraint "`, text)
		require.ErrorContains(t, err, `", `+want, text)
		require.Zero(t, c)
	}
	_, err := constraint.Parse("rack im (r1)")
	require.EqualError(t, err, `constraint "rack im (r1)", column 6: `+operator+` (did you mean "in"?), found "im"`)
}

// FuzzParse checks that what is accepted reads back as the same constraint, and
// that an agent meets a constraint or its opposite.
func FuzzParse(f *testing.F) {
	f.Add("rack in (r1, r2)", "r1")
	f.Fuzz(func(t *testing.T, text, value string) {
		c, err := constraint.Parse(text)
		if err != nil {
			require.Zero(t, c)
			return
		}
		again, err := constraint.Parse(c.String())
		require.NoError(t, err, "%q became %q", text, c.String())
		require.Equal(t, c, again)
		require.Equal(t, c.Match(agent{c.Name(): value}), again.Match(agent{c.Name(): value}))
		c.Match(agent{})
	})
}

func BenchmarkMatch(b *testing.B) {
	for _, text := range []string{"rack = r3", "rack in (r1, r2, r3)", "rack not in (r1, r2)", "has rack", "cores >= 8", "lacks gpu"} {
		b.Run(text, func(b *testing.B) {
			c, err := constraint.Parse(text)
			require.NoError(b, err)
			a := agent{"rack": "r3", "cores": "16"}
			b.ReportAllocs()
			for b.Loop() {
				c.Match(a)
			}
		})
	}
}
