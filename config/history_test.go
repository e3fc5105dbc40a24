package config_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/config"
)

func TestHistory_BesideTheJournal(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ journal, history, want string }{
		{"file:///var/lib/perigee/journal", "", "sqlite:///var/lib/perigee/journal-history.db"},
		{"file:///srv/a/", "", "sqlite:///srv/a-history.db"},
		{"zk://z1:2181,z2:2181/perigee", "", "sqlite:///var/lib/perigee/history.db"},
		{"file:///var/lib/perigee/journal", "none", config.NoHistory},
		{"file:///var/lib/perigee/journal", "postgres://p@db/perigee", "postgres://p@db/perigee"},
	} {
		s, _, err := config.LoadServer("", nil, serverFlags(t, "--journal-url", c.journal, "--history-url", c.history))
		require.NoError(t, err)
		require.Equal(t, c.want, s.HistoryURL())
	}
}

func TestHistory_PasswordIsNotPrinted(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ url, shown string }{
		{"postgres://perigee:hush@db.example.com/perigee?sslmode=require", `"postgres://perigee:***@db.example.com/perigee?sslmode=require"`},
		{"postgres://db.example.com/perigee?user=perigee&password=hush", `"postgres://db.example.com/perigee?password=***&user=perigee"`},
		{"postgres://perigee:hush%zz@db.example.com/perigee", ""},
	} {
		s, origins, err := config.LoadServer("", nil, serverFlags(t, "--history-url", c.url))
		if c.shown == "" {
			require.ErrorContains(t, err, "is not a place for a history")
			require.NotContains(t, err.Error(), "hush")
			continue
		}
		require.NoError(t, err)
		text := printed(t, s, origins)
		require.Contains(t, text, "url: "+c.shown)
		require.NotContains(t, text, "hush")
	}
}

func TestHistory_Refused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ flag, value, says string }{
		{"--history-url", "mysql://db/x", "write it as sqlite:///var/lib/perigee/history.db"},
		{"--history-url", "sqlite://relative.db", "is not a place for a history"},
		{"--history-url", "sqlite:///var/lib/", "is not a place for a history"},
		{"--history-keep", "1m", "must be from 1h"},
		{"--history-events-keep", "99999h", "must be from 1h to 87600h"},
		{"--history-size", "1MiB", "at least 64MiB"},
	} {
		_, _, err := config.LoadServer("", nil, serverFlags(t, c.flag, c.value))
		require.ErrorContains(t, err, c.says)
	}
}
