package api_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
)

func TestBindParameters(t *testing.T) {
	t.Parallel()
	s, err := api.DecodeSpec([]byte(batch))
	require.NoError(t, err)

	bound, problems := s.BindParameters(map[string]string{"mode": "fast"})
	require.Empty(t, problems)
	require.Equal(t, map[string]string{"mode": "fast", "count": "3"}, bound)
	bound, problems = s.BindParameters(map[string]string{"mode": "safe", "count": "+007"})
	require.Empty(t, problems)
	require.Equal(t, map[string]string{"mode": "safe", "count": "7"}, bound)

	bound, problems = s.BindParameters(map[string]string{"cuont": "3", "count": "x"})
	require.Nil(t, bound)
	require.Equal(t, `parameters.count: "x" is not an int: it must be a whole number of at most 64 bits
parameters.cuont: is not known: web/devel/sum has count and mode; did you mean "count"?
parameters.mode: is missing, and has no default`, api.Invalid(problems).Error())

	_, problems = api.Spec{Job: "a/b/c"}.BindParameters(map[string]string{"x": ""})
	require.Equal(t, `parameters.x: is not known: a/b/c has no parameters`, api.Invalid(problems).Error())
}

func TestParameterTypes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind      api.ParameterType
		in, want  string
		wrongness string
	}{
		{"", "a b", "a b", ""},
		{"string", "", "", ""},
		{"string", "a\x00", "", "parameter p: has a NUL character"},
		{"int", "-0", "0", ""},
		{"int", "1.0", "", `parameter p: "1.0" is not an int: it must be a whole number of at most 64 bits`},
		{"int", "9223372036854775808", "", `parameter p: "9223372036854775808" is not an int: it must be a whole number of at most 64 bits`},
		{"float", "1000000", "1000000", ""},
		{"float", "1.50", "1.5", ""},
		{"float", "NaN", "", `parameter p: "NaN" is not a float: it must be a number such as 0.5`},
		{"bool", "T", "true", ""},
		{"bool", "yes", "", `parameter p: "yes" is not a bool: it must be true or false`},
	} {
		got, err := api.Parameter{Type: c.kind}.Check("p", c.in)
		if c.wrongness != "" {
			require.EqualError(t, err, c.wrongness)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, c.want, got)
	}
	got, err := api.Parameter{Type: "int", Values: []string{"1", "02"}}.Check("p", "2")
	require.NoError(t, err, "values are compared by what they mean")
	require.Equal(t, "2", got)
}

func TestParseJobKey(t *testing.T) {
	t.Parallel()
	team, stage, name, err := api.ParseJobKey("payments/prod/check-out2")
	require.NoError(t, err)
	require.Equal(t, []string{"payments", "prod", "check-out2"}, []string{team, stage, name})
	for _, s := range []string{"", "a/b", "a/b/c/d", "a//c", "a/b/c-", "a/b/C", "a/b/é", "a/b/../c"} {
		_, _, _, err := api.ParseJobKey(s)
		require.ErrorContains(t, err, "is not a job", s)
	}
}
