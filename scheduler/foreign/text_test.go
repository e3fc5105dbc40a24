package foreign_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/scheduler/foreign"
)

func TestOneLine(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                               "",
		" two\r\n\twords\u00a0in \x00\n": "two words in",
		"\x1b[31mred\xff\u202e":          "[31mred",
		"twelve bytes":                   "twelve bytes",
		"thirteen byte":                  "thirteen byt…",
		"elf bytes €":                    "elf bytes …",
		strings.Repeat("a", 1<<20):       "aaaaaaaaaaaa…",
	} {
		require.Equal(t, want, foreign.OneLine(text, 12))
	}
}
