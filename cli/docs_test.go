package cli_test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/cli"
)

var (
	yamlFile = regexp.MustCompile("(?s)```yaml\n# ([a-z/.-]+\\.yaml)\n(.*?)```")
	console  = regexp.MustCompile("(?s)```\n(\\$ perigee (?:validate|render) .*?)```")
)

// TestDocumentedTerminal plays what docs/job-files.md shows: each command on the
// files that were shown before it, with the output that a user sees.
func TestDocumentedTerminal(t *testing.T) {
	doc, err := os.ReadFile("../docs/job-files.md")
	require.NoError(t, err)
	text := string(doc)
	t.Chdir(t.TempDir())
	played := 0
	for {
		file, terminal := yamlFile.FindStringSubmatchIndex(text), console.FindStringSubmatchIndex(text)
		if file == nil && terminal == nil {
			break
		}
		if file != nil && (terminal == nil || file[0] < terminal[0]) {
			path := text[file[2]:file[3]]
			require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
			require.NoError(t, os.WriteFile(path, []byte("# "+path+"\n"+text[file[4]:file[5]]), 0o600))
			text = text[file[1]:]
			continue
		}
		shown := text[terminal[2]:terminal[3]]
		text = text[terminal[1]:]
		if strings.Contains(shown, "hello.yaml:7:1") {
			continue // a file with mistakes, which package config plays
		}
		var got strings.Builder
		for line := range strings.Lines(shown) {
			if command, is := strings.CutPrefix(line, "$ perigee "); is {
				var out bytes.Buffer
				cli.Run(t.Context(), strings.Fields(command), cli.Streams{In: strings.NewReader(""), Out: &out, Err: &out})
				got.WriteString(line + out.String())
				played++
			}
		}
		require.Equal(t, shown, got.String())
	}
	require.GreaterOrEqual(t, played, 8)
}
