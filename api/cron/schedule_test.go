package cron_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api/cron"
)

// local is how tests write instants: the wall clock and its distance from UTC.
const local = "2006-01-02T15:04:05Z07:00"

func parse(t testing.TB, expr, zone string) *cron.Schedule {
	t.Helper()
	s, err := cron.Parse(expr, zone)
	require.NoError(t, err)
	return s
}

func instant(t testing.TB, text string) time.Time {
	t.Helper()
	at, err := time.Parse(local, text)
	require.NoError(t, err)
	return at
}

// due returns the next n instants after from, on the zone's clock.
func due(s *cron.Schedule, from time.Time, n int) []string {
	var list []string
	for range n {
		from = s.Next(from)
		if from.IsZero() {
			return append(list, "none")
		}
		list = append(list, from.In(s.Location()).Format(local))
	}
	return list
}

func TestNext_ReadsEveryFieldForm(t *testing.T) {
	t.Parallel()
	// 2024-01-01 was a Monday.
	for _, c := range []struct {
		expr string
		want []string
	}{
		{"* * * * *", []string{"2024-01-01T00:01", "2024-01-01T00:02"}},
		{"30 3 * * *", []string{"2024-01-01T03:30", "2024-01-02T03:30"}},
		{"0,30 9-10 * * *", []string{"2024-01-01T09:00", "2024-01-01T09:30", "2024-01-01T10:00", "2024-01-01T10:30", "2024-01-02T09:00"}},
		{"*/20 * * * *", []string{"2024-01-01T00:20", "2024-01-01T00:40", "2024-01-01T01:00"}},
		{"*/60 * * * *", []string{"2024-01-01T01:00", "2024-01-01T02:00"}},
		{"10-30/10 0 * * *", []string{"2024-01-01T00:10", "2024-01-01T00:20", "2024-01-01T00:30", "2024-01-02T00:10"}},
		{"50/5 0 * * *", []string{"2024-01-01T00:50", "2024-01-01T00:55", "2024-01-02T00:50"}},
		{"0 0 31 * *", []string{"2024-01-31T00:00", "2024-03-31T00:00", "2024-05-31T00:00"}},
		{"0 0 L * *", []string{"2024-01-31T00:00", "2024-02-29T00:00", "2024-03-31T00:00", "2024-04-30T00:00"}},
		{"0 0 15,l 2 *", []string{"2024-02-15T00:00", "2024-02-29T00:00", "2025-02-15T00:00", "2025-02-28T00:00"}},
		{"0 0 * * 0", []string{"2024-01-07T00:00", "2024-01-14T00:00"}},
		{"0 0 * * 7", []string{"2024-01-07T00:00", "2024-01-14T00:00"}},
		{"0 0 * * SUN", []string{"2024-01-07T00:00", "2024-01-14T00:00"}},
		{"0 0 * * fri-sun", []string{"2024-01-05T00:00", "2024-01-06T00:00", "2024-01-07T00:00", "2024-01-12T00:00"}},
		{"0 0 * * 5-7", []string{"2024-01-05T00:00", "2024-01-06T00:00", "2024-01-07T00:00", "2024-01-12T00:00"}},
		{"0 0 1 jan,Jul *", []string{"2024-07-01T00:00", "2025-01-01T00:00"}},
		{"0 0 1 feb-apr *", []string{"2024-02-01T00:00", "2024-03-01T00:00", "2024-04-01T00:00", "2025-02-01T00:00"}},
		{"  0\t0  1 1 * ", []string{"2025-01-01T00:00"}},
		{"@hourly", []string{"2024-01-01T01:00", "2024-01-01T02:00"}},
		{"@daily", []string{"2024-01-02T00:00", "2024-01-03T00:00"}},
		{"@Midnight", []string{"2024-01-02T00:00", "2024-01-03T00:00"}},
		{"@weekly", []string{"2024-01-07T00:00", "2024-01-14T00:00"}},
		{"@monthly", []string{"2024-02-01T00:00", "2024-03-01T00:00"}},
		{"@yearly", []string{"2025-01-01T00:00", "2026-01-01T00:00"}},
		{"@annually", []string{"2025-01-01T00:00", "2026-01-01T00:00"}},
	} {
		t.Run(c.expr, func(t *testing.T) {
			t.Parallel()
			for i := range c.want {
				c.want[i] += ":00Z"
			}
			require.Equal(t, c.want, due(parse(t, c.expr, ""), instant(t, "2024-01-01T00:00:00Z"), len(c.want)))
		})
	}
}

func TestNext_DayOfMonthAndDayOfWeek(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		what, expr string
		want       []string
	}{
		{"both restricted: either", "0 0 13 * fri", []string{"2024-09-06", "2024-09-13", "2024-09-20", "2024-09-27", "2024-10-04", "2024-10-11", "2024-10-13"}},
		{"a last day and a weekday: either", "0 0 L * mon", []string{"2024-09-02", "2024-09-09", "2024-09-16", "2024-09-23", "2024-09-30", "2024-10-07"}},
		{"one begins with *: both", "0 0 */10 * 0", []string{"2024-09-01", "2024-12-01", "2025-05-11"}},
		{"the other begins with *: both", "0 0 29 2 */7", []string{"2032-02-29", "2060-02-29", "2088-02-29", "2128-02-29"}},
		{"leap days over a century that has none", "0 0 29 2 *", []string{"2028-02-29"}},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			for i := range c.want {
				c.want[i] += "T00:00:00Z"
			}
			require.Equal(t, c.want, due(parse(t, c.expr, "UTC"), instant(t, "2024-08-31T12:00:00Z"), len(c.want)))
		})
	}
	require.Equal(t, []string{"2096-02-29T00:00:00Z", "2104-02-29T00:00:00Z"},
		due(parse(t, "0 0 29 2 *", ""), instant(t, "2093-01-01T00:00:00Z"), 2), "2100 is no leap year")
}

func TestNext_EveryDurationIsAlignedToTheUnixEpoch(t *testing.T) {
	t.Parallel()
	s := parse(t, "@every 90s", "Europe/Berlin")
	require.Equal(t, time.Unix(90, 0).UTC(), s.Next(time.Unix(0, 0)))
	require.Equal(t, time.Unix(0, 0).UTC(), s.Next(time.Unix(-1, 0)))
	require.Equal(t, time.Unix(-90, 0).UTC(), s.Next(time.Unix(-91, 0)))
	require.Equal(t, time.Unix(1_700_000_010, 0).UTC(), s.Next(time.Unix(1_700_000_000, 0)))
	require.Equal(t, s.Next(time.Unix(1_700_000_000, 0)), s.Next(time.Unix(1_700_000_000, 5)))
	require.Equal(t, time.Unix(1, 1).Truncate(time.Second).UTC(), parse(t, "@every 1s", "").Next(time.Unix(0, 999_999_999)))
}

func TestNext_IsStrictlyAfterAndOnTheSecond(t *testing.T) {
	t.Parallel()
	s := parse(t, "*/5 * * * *", "Asia/Kathmandu")
	at := instant(t, "2024-05-05T10:00:00+05:45")
	require.True(t, s.Next(at).Equal(at.Add(5*time.Minute)))
	require.True(t, s.Next(at.Add(-1)).Equal(at), "a nanosecond before")
	require.True(t, s.Next(at.Add(1)).Equal(at.Add(5*time.Minute)), "a nanosecond after")
	require.Equal(t, time.UTC, s.Next(at).Location())
}

func TestNext_AtTheEndsOfTime(t *testing.T) {
	t.Parallel()
	for _, expr := range []string{"0 0 * * *", "* * * * *", "0 0 29 2 */7", "@every 1h"} {
		for _, zone := range []string{"", "Europe/Berlin", "Pacific/Kiritimati"} {
			s := parse(t, expr, zone)
			require.True(t, s.Next(instant(t, "9999-12-31T23:59:59Z")).IsZero(), "%s has nothing after the year 9999", s)
			require.True(t, s.Next(time.Unix(1<<62, 0)).IsZero(), s)
			require.False(t, s.Next(time.Time{}).IsZero(), s)
			require.Equal(t, s.Next(time.Time{}), s.Next(time.Unix(-1<<62, 0)), s)
		}
	}
}

func TestBetween_ListsAndCountsWhatIsDue(t *testing.T) {
	t.Parallel()
	s := parse(t, "0 * * * *", "")
	after, through := instant(t, "2024-01-01T00:00:00Z"), instant(t, "2024-01-01T06:00:00Z")
	list, more := s.Between(after, through, 4)
	require.Equal(t, []time.Time{after.Add(1 * time.Hour), after.Add(2 * time.Hour), after.Add(3 * time.Hour), after.Add(4 * time.Hour)}, list)
	require.Equal(t, 2, more, "05:00 and 06:00: the end is part of it, the beginning is not")

	list, more = s.Between(after, through, 6)
	require.Len(t, list, 6)
	require.Zero(t, more)
	list, more = s.Between(after, through, 0)
	require.Empty(t, list)
	require.Equal(t, 6, more)
	list, more = s.Between(through, after, 10)
	require.Empty(t, list)
	require.Zero(t, more)
}

func TestBetween_CountsAtMostTheCapOverYearsOfOutage(t *testing.T) {
	t.Parallel()
	s := parse(t, "* * * * *", "Europe/Berlin")
	list, more := s.Between(instant(t, "1990-01-01T00:00:00Z"), instant(t, "2024-01-01T00:00:00Z"), 3)
	require.Len(t, list, 3)
	require.Equal(t, cron.MoreCap, more)
}

func TestLatest_ListsTheEndOfAnInterval(t *testing.T) {
	t.Parallel()
	s := parse(t, "30 2 * * *", "Europe/Berlin")
	for _, c := range []struct {
		after, through string
		want           []string
	}{
		{"2010-01-01T00:00:00Z", "2024-03-31T00:59:59Z", []string{"2024-03-29T02:30:00+01:00", "2024-03-30T02:30:00+01:00"}},
		{"2010-01-01T00:00:00Z", "2024-03-31T01:00:00Z", []string{"2024-03-30T02:30:00+01:00", "2024-03-31T03:00:00+02:00"}},
		{"2024-03-30T02:30:00+01:00", "2024-03-31T03:00:00+02:00", []string{"2024-03-31T03:00:00+02:00"}},
		{"0001-01-01T00:00:00Z", "2024-10-28T00:00:00Z", []string{"2024-10-26T02:30:00+02:00", "2024-10-27T02:30:00+02:00"}},
		{"2024-05-01T03:00:00+02:00", "2024-05-02T02:29:59+02:00", nil},
		{"2024-05-01T03:00:00+02:00", "2020-05-02T02:29:59+02:00", nil},
	} {
		var got []string
		for _, at := range s.Latest(instant(t, c.after), instant(t, c.through), 2) {
			got = append(got, at.In(s.Location()).Format(local))
		}
		require.Equal(t, c.want, got, "in (%s, %s]", c.after, c.through)
	}
	every := parse(t, "@every 1s", "")
	require.Equal(t, []time.Time{time.Unix(6, 0).UTC(), time.Unix(7, 0).UTC()}, every.Latest(time.Unix(0, 0), time.Unix(7, 0), 2))
	require.Empty(t, s.Latest(instant(t, "2010-01-01T00:00:00Z"), instant(t, "2024-03-31T00:59:59Z"), 0))
}

func TestString_IsTheExpressionAndItsZone(t *testing.T) {
	t.Parallel()
	require.Equal(t, "30 3 * * mon Europe/Berlin", parse(t, " 30  3 * * mon", "Europe/Berlin").String())
	require.Equal(t, "@daily UTC", parse(t, "@daily", "").String())
	require.Equal(t, "@every 90s", parse(t, "@every 90s", "Europe/Berlin").String())
	require.Equal(t, "30 3 * * mon", parse(t, " 30  3 * * mon", "Europe/Berlin").Expression())
}

func TestDescribe_ReadsAsEnglish(t *testing.T) {
	t.Parallel()
	for expr, want := range map[string]string{
		"30 3 * * *":           "every day at 03:30 Europe/Berlin",
		"0 9,17 * * 1-5":       "Monday to Friday at 09:00 and 17:00 Europe/Berlin",
		"0 9 * * sat,sun":      "every Saturday and Sunday at 09:00 Europe/Berlin",
		"0 9 * * fri-sun":      "Friday to Sunday at 09:00 Europe/Berlin",
		"0 9 * * mon":          "every Monday at 09:00 Europe/Berlin",
		"* * * * *":            "every minute",
		"*/15 * * * *":         "every 15 minutes",
		"7 * * * *":            "every hour at :07",
		"10,40 * * * *":        "every hour at minutes 10 and 40",
		"*/15 8-18 * * 1-5":    "every 15 minutes from 08:00 to 18:45, Monday to Friday, Europe/Berlin",
		"* 8-18 * * *":         "every minute from 08:00 to 18:59, Europe/Berlin",
		"30 8-18 * * *":        "every hour at :30 from 08:30 to 18:30, Europe/Berlin",
		"0 */2 * * *":          "every 2 hours at :00, Europe/Berlin",
		"0 1,3,5,7,11 * * *":   "every day at 01:00, 03:00, 05:00, 07:00 and 11:00 Europe/Berlin",
		"1,2,3,7 1-3,9 * * *":  "at minutes 1 to 3 and 7 of hours 1 to 3 and 9, Europe/Berlin",
		"0 0 1 * *":            "on day 1 of every month at 00:00 Europe/Berlin",
		"0 0 1,15 jan,jul *":   "on days 1 and 15 of January and July at 00:00 Europe/Berlin",
		"0 0 L * *":            "on the last day of every month at 00:00 Europe/Berlin",
		"0 0 15,L * *":         "on day 15 and the last day of every month at 00:00 Europe/Berlin",
		"0 0 13 * fri":         "on day 13 and every Friday at 00:00 Europe/Berlin",
		"0 0 */10 * fri":       "every Friday falling on days 1, 11, 21 and 31 at 00:00 Europe/Berlin",
		"0 0 * jun-aug *":      "every day in June to August at 00:00 Europe/Berlin",
		"0 0 1-31 * fri":       "every day at 00:00 Europe/Berlin",
		"@weekly":              "every Sunday at 00:00 Europe/Berlin",
		"*/30 * * 12 *":        "every 30 minutes, every day in December, Europe/Berlin",
		"@every 90s":           "every 1m30s, counted from 1970-01-01 00:00 UTC",
		"@every 60m":           "every 1h, counted from 1970-01-01 00:00 UTC",
		"@every 100m":          "every 1h40m, counted from 1970-01-01 00:00 UTC",
		"*/20 3 * * *":         "every day at 03:00, 03:20 and 03:40 Europe/Berlin",
		"*/5 3 * * *":          "every 5 minutes from 03:00 to 03:55, Europe/Berlin",
		"* 3,5 * * *":          "at minutes 0 to 59 of hours 3 and 5, Europe/Berlin",
		"0 0 L * fri":          "on the last day and every Friday at 00:00 Europe/Berlin",
		"0 12 * 1-3,9 tue,thu": "every Tuesday and Thursday in January to March and September at 12:00 Europe/Berlin",
	} {
		require.Equal(t, want, parse(t, expr, "Europe/Berlin").Describe(), "for %s", expr)
	}
}
