package nearest_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api/nearest"
)

func TestName_FindsTheWordMeant(t *testing.T) {
	t.Parallel()
	fields := []string{"command", "constraints", "instances", "health", "ports", "kind"}
	for got, want := range map[string]string{
		"comand":                       "command",
		"COMMAND":                      "command",
		"instnaces":                    "instances",
		"constraint":                   "constraints",
		"prots":                        "ports",
		"heath":                        "health",
		"kid":                          "kind",
		"":                             "",
		"colour":                       "",
		"xyz":                          "",
		strings.Repeat("command", 100): "",
	} {
		require.Equal(t, want, nearest.Name(got, fields), "for %q", got)
	}
}

func TestName_PrefersTheCloserName(t *testing.T) {
	t.Parallel()
	require.Equal(t, "mon", nearest.Name("mno", []string{"jan", "mon", "nov"}))
	require.Equal(t, "port", nearest.Name("prt", []string{"ports", "port"}))
}
