package config_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/config"
)

// FuzzValuesAreData: a value that is given arrives as it is, changes nothing
// else, and is written by Render so that it reads the same.
func FuzzValuesAreData(f *testing.F) {
	for _, text := range []string{
		"x", "", " ", "a: b", "# c", "'", `"`, "\"}\nkind: service\n#", "${text}", "$${name}", "$$$${name}${name}", "- a", "[a, b]", "{a: b}", "*a", "&a b",
		"null", "~", "true", "yes", "010", "1e5", "12:30", "0x1F", ".5", "1_000", "2026-01-01", "a\nb", "a\n\n b\n", "\n", "\ta", "a\t\nb ", "a\r\nb",
		"\u2028", "\u00a0", "\ufeff", "é", "\U0001f600", "\x7f", "\x1b[31m", "%d", "---", "...", "--- a", "? a", "| a", "> a", "!!int 5", "@a", "`a`",
		"key:", "a #b", "a: ", ": a", "=", "<<", "a'b\"c\\d", strings.Repeat("x y ", 50),
	} {
		f.Add(text)
	}
	const job = `job: web/devel/hello
kind: batch
variables: {text: {required: true}}
command: echo "${text}" ${PORT_HTTP}
setup: ["${text}"]
resources: {cpus: 1, memory: 1GiB}
env: {A: "${text}", B: "<${text}>"}
labels: {c: "${text}"}
`
	f.Fuzz(func(t *testing.T, text string) {
		jobs, err := config.Parse("hello.yaml", []byte(job), config.Options{Set: []string{"text=" + text}})
		if err != nil {
			refused := !utf8.ValidString(text) || strings.ContainsRune(text, 0) || len(text) > 1024 || strings.TrimSpace(text) == ""
			require.True(t, refused, "%q: %v", text, err)
			return
		}
		require.Len(t, jobs, 1)
		s := jobs[0].Spec
		require.Equal(t, map[string]string{"A": text, "B": "<" + text + ">"}, s.Env)
		require.Equal(t, []string{text}, s.Setup)
		require.Equal(t, map[string]string{"c": text}, s.Labels)
		require.Equal(t, `echo "`+text+`" ${PORT_HTTP}`, s.Command)
		require.Equal(t, "web/devel/hello", s.Job)
		rendered, err := config.Render(jobs[0])
		require.NoError(t, err)
		requireSame(t, jobs[0], rendered)
	})
}
