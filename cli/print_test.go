package cli

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
)

func TestTable(t *testing.T) {
	t.Parallel()
	a := &app{color: true}
	table := a.table("JOB", "STATE", "NOTE")
	table.add("a/b/c", a.state("running"), "first\nsecond")
	table.add("longer/b/c", a.state("in_progress"), "")
	var out bytes.Buffer
	require.NoError(t, table.print(&out))
	require.Equal(t, "JOB         STATE        NOTE\n"+
		"a/b/c       running      first second\n"+
		"longer/b/c  in progress  -\n", escape.ReplaceAllString(out.String(), ""))
	require.Contains(t, out.String(), "\x1b[32mrunning\x1b[0m")

	out.Reset()
	table.width = 50
	table.rows[1][2] = "what is longer than the terminal has room for"
	require.NoError(t, table.print(&out))
	require.Contains(t, out.String(), "what is longer than the …\n")
}

func TestAmounts(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{-time.Second: "0s", 59 * time.Second: "59s", 61 * time.Second: "1m",
		47 * time.Hour: "47h", 49 * time.Hour: "2d"} {
		require.Equal(t, want, short(d))
	}
	for b, want := range map[api.Bytes]string{0: "0B", 64 * api.MiB: "64MiB", 1536 * api.MiB: "1.5GiB", 20 * api.GiB: "20GiB"} {
		require.Equal(t, want, size(b))
	}
	require.Equal(t, "0.1", number(0.1))
	require.Equal(t, "4", number(4))
}

func TestTail(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text string
		n    int
		want string
	}{
		{"a\nb\nc\n", 2, "b\nc\n"},
		{"a\nb\nc", 2, "b\nc"},
		{"a\nb\n", 5, "a\nb\n"},
		{"a\nb\n", 0, ""},
		{"", 3, ""},
		{"\n\n\n", 2, "\n\n"},
	} {
		require.Equal(t, c.want, c.text[tail([]byte(c.text), c.n):], fmt.Sprintf("%q, %d", c.text, c.n))
	}
}

func TestTarget(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]struct {
		target
		instance, run bool
	}{
		"ab12-000001":                  {target: target{task: "ab12-000001"}},
		"a/b/c":                        {target: target{job: "a/b/c"}},
		"a/b/c/0":                      {target: target{job: "a/b/c", rest: "0"}, instance: true},
		"a/b/c/20261121T023735Z":       {target: target{job: "a/b/c", rest: "20261121T023735Z"}, run: true},
		"a/b/c/20261121T023735Z-00000": {target: target{job: "a/b/c", rest: "20261121T023735Z-00000"}, run: true},
	} {
		got, err := parseTarget(s)
		require.NoError(t, err)
		require.Equal(t, want.target, got)
		_, instance := got.instance()
		require.Equal(t, want.instance, instance, s)
		require.Equal(t, want.run, got.run(), s)
		require.Equal(t, s, got.String())
	}
	for _, s := range []string{"", "a/b", "a/b/c/", "a/b/c/d/e", "A/b/c"} {
		_, err := parseTarget(s)
		require.Equal(t, codeUsage, codeOf(err), s)
	}
}
