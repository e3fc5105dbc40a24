package api_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/eventtest"
)

var update = flag.Bool("update", false, "write the catalogue in docs/events.md anew")

const eventDocs = "../docs/events.md"

func TestEventTypes_ExamplesConform(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	name := regexp.MustCompile(`^[a-z_]+\.[a-z_]+$`)
	for _, kind := range api.EventKinds() {
		require.NotEmpty(t, kind.About)
		for _, et := range kind.Types {
			require.Regexp(t, name, et.Type)
			require.True(t, strings.HasPrefix(et.Type, kind.Name+"."), et.Type)
			require.False(t, seen[et.Type], "%s is there twice", et.Type)
			seen[et.Type] = true
			require.True(t, strings.HasSuffix(et.Means, "."), "%s: a sentence, as any", et.Type)
			b, err := json.Marshal(et.Example)
			require.NoError(t, err)
			require.NoError(t, eventtest.Check(b))
			require.NotEmpty(t, et.Example.Subject, "%s is about something", et.Type)
		}
	}
	require.Len(t, api.EventTypes(), len(seen))
}

func TestEventTest_FindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	b, err := json.Marshal(api.EventTypes()["agent.joined"].Example)
	require.NoError(t, err)
	for _, c := range []struct{ old, new, want string }{
		{`"id":"yqly-1041-3"`, `"id":""`, "attribute id is missing"},
		{`"source":"/perigee/main",`, ``, "attribute source is missing"},
		{`"/perigee/main"`, `"::"`, "no URI reference"},
		{`2026-11-21T`, `21.11.2026 `, "RFC 3339"},
		{`"specversion":"1.0"`, `"specversion":"0.3"`, "specversion"},
		{`"subject":"`, `"Sub_ject":"`, "lower-case"},
		{`agent.joined"`, `agent.vanished"`, "not in the catalogue"},
		{`"host":`, `"hostname":`, "is to have host always"},
		{`"host":`, `"task":"x","host":`, "does not tell of"},
	} {
		require.Contains(t, string(b), c.old)
		require.ErrorContains(t, eventtest.Check([]byte(strings.Replace(string(b), c.old, c.new, 1))), c.want)
	}
}

// The catalogue on the page is that of the code.
func TestDocs_HaveEveryEventType(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(eventDocs)
	require.NoError(t, err)
	const begin = "<!-- The rest is made from api/eventtypes.go: go test ./api -run TestDocs_HaveEveryEventType -update -->\n"
	head, _, ok := strings.Cut(string(text), begin)
	require.True(t, ok, "%s has no line %q", eventDocs, begin)
	want := head + begin + catalogue()
	if *update {
		require.NoError(t, os.WriteFile(eventDocs, []byte(want), 0o644))
		return
	}
	require.Equal(t, want, string(text), "write it anew: go test ./api -run TestDocs_HaveEveryEventType -update")
}

func catalogue() string {
	var out strings.Builder
	for _, kind := range api.EventKinds() {
		all := alwaysOf(kind)
		fmt.Fprintf(&out, "\n### %s\n\n%s\n\n%s\n", kind.Name, wrapped(kind.About), wrapped("Always: "+quoted(all)+"."))
		for _, et := range kind.Types {
			means := et.Means
			if more := without(et.Always, all); len(more) > 0 {
				means += " Always: " + quoted(more) + "."
			}
			fmt.Fprintf(&out, "\n#### %s\n\n%s\n\n```json\n%s\n```\n", et.Type, wrapped(means), pretty(et.Example))
		}
	}
	return out.String()
}

// alwaysOf are the fields that all types of a kind have.
func alwaysOf(kind api.EventKind) []string {
	all := slices.Clone(kind.Types[0].Always)
	for _, et := range kind.Types[1:] {
		all = slices.DeleteFunc(all, func(field string) bool { return !slices.Contains(et.Always, field) })
	}
	return all
}

func without(fields, others []string) []string {
	return slices.DeleteFunc(slices.Clone(fields), func(field string) bool { return slices.Contains(others, field) })
}

func quoted(fields []string) string { return "`" + strings.Join(fields, "`, `") + "`" }

const pageWidth = 110

// wrapped breaks a paragraph into lines.
func wrapped(text string) string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > pageWidth {
			lines, line = append(lines, line), ""
		}
		line = strings.TrimPrefix(line+" "+word, " ")
	}
	return strings.Join(append(lines, line), "\n")
}

// pretty is an event as JSON with its data on lines of its own, none too long.
func pretty(e api.Event) string {
	b, err := json.Marshal(e)
	if err != nil {
		panic(err)
	}
	var lines []string
	line, text := "", false
	for i, c := range b {
		line += string(rune(c))
		switch {
		case c == '"' && b[i-1] != '\\':
			text = !text
		case text:
		case c == ',' || c == ':':
			line += " "
			if c == ',' && (bytes.HasPrefix(b[i+1:], []byte(`"data"`)) || len(line)+next(b[i+1:]) > pageWidth) {
				lines = append(lines, strings.TrimSuffix(line, " "))
				line = " "
				if bytes.Contains(b[:i], []byte(`"data"`)) {
					line = "          "
				}
			}
		}
	}
	return strings.Join(append(lines, line), "\n")
}

// next is how long the next field is.
func next(b []byte) int {
	text := false
	for i, c := range b {
		switch {
		case c == '"' && (i == 0 || b[i-1] != '\\'):
			text = !text
		case !text && (c == ',' || c == '}'):
			return i + 2
		}
	}
	return len(b)
}
