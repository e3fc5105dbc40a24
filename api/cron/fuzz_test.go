package cron_test

import (
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api/cron"
)

// FuzzParse checks that whatever is accepted is due some day, moves on, and
// reads its own text back the same.
func FuzzParse(f *testing.F) {
	f.Add("30 3 * * *", "Europe/Berlin", int64(1_711_846_800))
	f.Fuzz(func(t *testing.T, expr, zone string, after int64) {
		s, err := cron.Parse(expr, zone)
		if err != nil {
			require.Nil(t, s)
			require.NotEmpty(t, err.Error())
			if utf8.ValidString(expr) && utf8.ValidString(zone) {
				require.True(t, utf8.ValidString(err.Error()))
			}
			return
		}
		again, err := cron.Parse(s.Expression(), zone)
		require.NoError(t, err)
		require.Equal(t, s, again)
		require.NotEmpty(t, s.Describe())

		first := s.Next(time.Unix(after, 0))
		if first.IsZero() {
			require.Greater(t, after, time.Date(9500, 1, 1, 0, 0, 0, 0, time.UTC).Unix(), "%s is due some day", s)
			return
		}
		require.True(t, first.Unix() > after)
		require.Equal(t, first, s.Next(first.Add(-1)))
		if second := s.Next(first); !second.IsZero() {
			require.True(t, second.After(first))
		}
	})
}
