package api_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
)

func TestPortion(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		portion      api.Portion
		n, of, bound int
	}{
		{"3", 10, 3, 3}, {"3", 2, 2, 2}, {"0", 10, 0, 0}, {"10%", 10, 1, 1}, {"10%", 15, 2, 1},
		{"25%", 2, 1, 0}, {"100%", 7, 7, 7}, {"33.3%", 3, 1, 0}, {"0%", 5, 0, 0}, {"10%", 0, 0, 0},
	} {
		require.Equal(t, c.of, c.portion.Of(c.n), "%s of %d", c.portion, c.n)
		require.Equal(t, c.bound, c.portion.AtMost(c.n), "at most %s of %d", c.portion, c.n)
	}
}

// A single portion stands for a list of it, wherever a spec is read.
func TestPortions_OneForAList(t *testing.T) {
	t.Parallel()
	for _, text := range []string{`10`, `"10"`, `["10"]`, `[10]`} {
		var p api.Portions
		require.NoError(t, json.Unmarshal([]byte(text), &p))
		require.Equal(t, api.Portions{"10"}, p, text)
		s, err := api.DecodeSpec([]byte(`{"job":"a/b/c","kind":"service","command":"x","resources":{"cpus":1,"memory":"64MiB"},"update":{"batch":` + text + `}}`))
		require.NoError(t, err, text)
		require.Equal(t, api.Portions{"10"}, s.Update.Batch, text)
	}
	list := api.Portions{"1", "50%"}
	require.Equal(t, []api.Portion{"1", "50%", "50%"}, []api.Portion{list.At(0), list.At(1), list.At(7)})
}
