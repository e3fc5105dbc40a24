package cron_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestNext_AcrossChangesOfTheClock is behaviour 30: times that a daylight-saving
// change skips or repeats run exactly once. Every list is complete from the
// instant it starts after to the last one it names.
func TestNext_AcrossChangesOfTheClock(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		what, zone, expr, from string
		want                   []string
	}{
		// Berlin: 2024-03-31 02:00 becomes 03:00; 2024-10-27 03:00 becomes 02:00.
		{"a skipped time runs at the jump", "Europe/Berlin", "30 2 * * *", "2024-03-30T02:30:00+01:00",
			[]string{"2024-03-31T03:00:00+02:00", "2024-04-01T02:30:00+02:00"}},
		{"the start of the gap is skipped too", "Europe/Berlin", "0 2 * * *", "2024-03-30T02:00:00+01:00",
			[]string{"2024-03-31T03:00:00+02:00", "2024-04-01T02:00:00+02:00"}},
		{"the end of the gap is not", "Europe/Berlin", "0 3 * * *", "2024-03-30T03:00:00+01:00",
			[]string{"2024-03-31T03:00:00+02:00", "2024-04-01T03:00:00+02:00"}},
		{"several skipped times are one instant", "Europe/Berlin", "*/10 2 * * *", "2024-03-30T02:50:00+01:00",
			[]string{"2024-03-31T03:00:00+02:00", "2024-04-01T02:00:00+02:00"}},
		{"a skipped time and one at the jump are one instant", "Europe/Berlin", "0 2,3 * * *", "2024-03-30T03:00:00+01:00",
			[]string{"2024-03-31T03:00:00+02:00", "2024-04-01T02:00:00+02:00"}},
		{"a skipped time and a later one are two", "Europe/Berlin", "30 2,3 * * *", "2024-03-30T03:30:00+01:00",
			[]string{"2024-03-31T03:00:00+02:00", "2024-03-31T03:30:00+02:00", "2024-04-01T02:30:00+02:00"}},
		{"a repeated time runs the first time", "Europe/Berlin", "30 2 * * *", "2024-10-26T02:30:00+02:00",
			[]string{"2024-10-27T02:30:00+02:00", "2024-10-28T02:30:00+01:00"}},
		{"and not when asked during the repetition", "Europe/Berlin", "30 2 * * *", "2024-10-27T02:10:00+01:00",
			[]string{"2024-10-28T02:30:00+01:00"}},
		{"the start of the repetition runs the first time", "Europe/Berlin", "0 2 * * *", "2024-10-26T02:00:00+02:00",
			[]string{"2024-10-27T02:00:00+02:00", "2024-10-28T02:00:00+01:00"}},
		{"the end of the repetition comes once", "Europe/Berlin", "0 3 * * *", "2024-10-26T03:00:00+02:00",
			[]string{"2024-10-27T03:00:00+01:00", "2024-10-28T03:00:00+01:00"}},
		{"a part of the day pauses while it repeats", "Europe/Berlin", "*/30 1-3 * * *", "2024-10-27T01:00:00+02:00",
			[]string{"2024-10-27T01:30:00+02:00", "2024-10-27T02:00:00+02:00", "2024-10-27T02:30:00+02:00", "2024-10-27T03:00:00+01:00", "2024-10-27T03:30:00+01:00", "2024-10-28T01:00:00+01:00"}},
		{"a yearly skipped time", "Europe/Berlin", "30 2 31 3 *", "2023-04-01T00:00:00Z",
			[]string{"2024-03-31T03:00:00+02:00", "2025-03-31T02:30:00+02:00"}},
		{"a skipped Sunday time", "Europe/Berlin", "30 2 * * sun", "2024-03-24T02:30:00+01:00",
			[]string{"2024-03-31T03:00:00+02:00", "2024-04-07T02:30:00+02:00"}},

		{"yearly, just before the clock changes", "Europe/Berlin", "0 12 30 3 *", "2022-04-01T00:00:00Z",
			[]string{"2023-03-30T12:00:00+02:00", "2024-03-30T12:00:00+01:00", "2025-03-30T12:00:00+02:00"}},

		// Every hour: elapsed time.
		{"every 15 minutes through a gap", "Europe/Berlin", "*/15 * * * *", "2024-03-31T01:30:00+01:00",
			[]string{"2024-03-31T01:45:00+01:00", "2024-03-31T03:00:00+02:00", "2024-03-31T03:15:00+02:00"}},
		{"every 30 minutes through a repetition", "Europe/Berlin", "*/30 * * * *", "2024-10-27T01:30:00+02:00",
			[]string{"2024-10-27T02:00:00+02:00", "2024-10-27T02:30:00+02:00", "2024-10-27T02:00:00+01:00", "2024-10-27T02:30:00+01:00", "2024-10-27T03:00:00+01:00"}},
		{"hourly at :10 has no extra run at the jump", "Europe/Berlin", "10 * * * *", "2024-03-31T00:10:00+01:00",
			[]string{"2024-03-31T01:10:00+01:00", "2024-03-31T03:10:00+02:00", "2024-03-31T04:10:00+02:00"}},
		{"all hours spelt as a range are every hour", "Europe/Berlin", "0 0-23 * * *", "2024-10-27T01:00:00+02:00",
			[]string{"2024-10-27T02:00:00+02:00", "2024-10-27T02:00:00+01:00", "2024-10-27T03:00:00+01:00"}},
		{"every hour of one day, repeated hour included", "Europe/Berlin", "0 * 27 10 *", "2024-10-27T01:00:00+02:00",
			[]string{"2024-10-27T02:00:00+02:00", "2024-10-27T02:00:00+01:00", "2024-10-27T03:00:00+01:00"}},
		{"every second hour is twelve times a day, in spring", "Europe/Berlin", "0 */2 * * *", "2024-03-30T22:00:00+01:00",
			[]string{"2024-03-31T00:00:00+01:00", "2024-03-31T03:00:00+02:00", "2024-03-31T04:00:00+02:00", "2024-03-31T06:00:00+02:00"}},
		{"and in autumn", "Europe/Berlin", "0 */2 * * *", "2024-10-26T22:00:00+02:00",
			[]string{"2024-10-27T00:00:00+02:00", "2024-10-27T02:00:00+02:00", "2024-10-27T04:00:00+01:00", "2024-10-27T06:00:00+01:00"}},

		// New York: 2024-03-10 02:00 becomes 03:00; 2024-11-03 02:00 becomes 01:00.
		{"New York in spring", "America/New_York", "30 2 * * *", "2024-03-09T02:30:00-05:00",
			[]string{"2024-03-10T03:00:00-04:00", "2024-03-11T02:30:00-04:00"}},
		{"New York in autumn", "America/New_York", "30 1 * * *", "2024-11-02T01:30:00-04:00",
			[]string{"2024-11-03T01:30:00-04:00", "2024-11-04T01:30:00-05:00"}},
		{"New York every 20 minutes in autumn", "America/New_York", "*/20 * * * *", "2024-11-03T01:20:00-04:00",
			[]string{"2024-11-03T01:40:00-04:00", "2024-11-03T01:00:00-05:00", "2024-11-03T01:20:00-05:00", "2024-11-03T01:40:00-05:00", "2024-11-03T02:00:00-05:00"}},
		{"far ahead, where only the zone's rule says", "America/New_York", "30 2 * * *", "2150-03-07T02:30:00-05:00",
			[]string{"2150-03-08T03:00:00-04:00", "2150-03-09T02:30:00-04:00"}},

		// São Paulo: 2017-10-15 00:00 became 01:00; 2018-02-18 00:00 became 2018-02-17 23:00.
		{"a skipped midnight", "America/Sao_Paulo", "@daily", "2017-10-14T00:00:00-03:00",
			[]string{"2017-10-15T01:00:00-02:00", "2017-10-16T00:00:00-02:00"}},
		{"a skipped midnight of one date", "America/Sao_Paulo", "0 0 15 10 *", "2016-11-01T00:00:00Z",
			[]string{"2017-10-15T01:00:00-02:00", "2018-10-15T00:00:00-03:00"}},
		{"a midnight at the turn back comes once", "America/Sao_Paulo", "@daily", "2018-02-17T00:00:00-02:00",
			[]string{"2018-02-18T00:00:00-03:00", "2018-02-19T00:00:00-03:00"}},
		{"an evening repeated", "America/Sao_Paulo", "15 23 * * *", "2018-02-16T23:15:00-02:00",
			[]string{"2018-02-17T23:15:00-02:00", "2018-02-18T23:15:00-03:00"}},
		{"a Saturday evening repeated, hourly", "America/Sao_Paulo", "15 * * * sat", "2018-02-17T22:15:00-02:00",
			[]string{"2018-02-17T23:15:00-02:00", "2018-02-17T23:15:00-03:00", "2018-02-24T00:15:00-03:00"}},

		{"a date's last hour repeated, next due in a year", "America/Sao_Paulo", "15 * 17 2 *", "2018-02-17T22:15:00-02:00",
			[]string{"2018-02-17T23:15:00-02:00", "2018-02-17T23:15:00-03:00", "2019-02-17T00:15:00-03:00"}},

		// Lord Howe: 2024-10-06 02:00 becomes 02:30; 2024-04-07 02:00 becomes 01:30.
		{"half an hour skipped", "Australia/Lord_Howe", "15 2 * * *", "2024-10-05T02:15:00+10:30",
			[]string{"2024-10-06T02:30:00+11:00", "2024-10-07T02:15:00+11:00"}},
		{"half an hour repeated", "Australia/Lord_Howe", "45 1 * * *", "2024-04-06T01:45:00+11:00",
			[]string{"2024-04-07T01:45:00+11:00", "2024-04-08T01:45:00+10:30"}},
		{"every 15 minutes through half an hour skipped", "Australia/Lord_Howe", "*/15 * * * *", "2024-10-06T01:30:00+10:30",
			[]string{"2024-10-06T01:45:00+10:30", "2024-10-06T02:30:00+11:00", "2024-10-06T02:45:00+11:00"}},
		{"hourly, where nothing makes up for the skipped one", "Australia/Lord_Howe", "0 * * * *", "2024-10-06T00:00:00+10:30",
			[]string{"2024-10-06T01:00:00+10:30", "2024-10-06T02:30:00+11:00", "2024-10-06T03:00:00+11:00"}},
		{"every 15 minutes through half an hour repeated", "Australia/Lord_Howe", "*/15 * * * *", "2024-04-07T01:30:00+11:00",
			[]string{"2024-04-07T01:45:00+11:00", "2024-04-07T01:30:00+10:30", "2024-04-07T01:45:00+10:30", "2024-04-07T02:00:00+10:30"}},

		{"where the zone's table gives way to its rule", "Australia/Lord_Howe", "0 * * * *", "2038-01-19T02:14:06Z",
			[]string{"2038-01-19T14:00:00+11:00", "2038-01-19T15:00:00+11:00"}},

		// Kathmandu has no changes; 1986-01-01 00:00 became 00:15.
		{"an offset of 5:45", "Asia/Kathmandu", "30 2 * * *", "2024-03-30T00:00:00Z",
			[]string{"2024-03-31T02:30:00+05:45", "2024-04-01T02:30:00+05:45"}},
		{"a quarter of an hour skipped", "Asia/Kathmandu", "0 0 1 * *", "1985-12-15T00:00:00Z",
			[]string{"1986-01-01T00:15:00+05:45", "1986-02-01T00:00:00+05:45"}},

		// Apia went from 2011-12-29 24:00 to 2011-12-31 00:00.
		{"a whole day skipped", "Pacific/Apia", "0 12 * * *", "2011-12-28T12:00:00-10:00",
			[]string{"2011-12-29T12:00:00-10:00", "2011-12-31T00:00:00+14:00", "2011-12-31T12:00:00+14:00"}},
		{"a skipped day's midnight is the jump", "Pacific/Apia", "@daily", "2011-12-29T00:00:00-10:00",
			[]string{"2011-12-31T00:00:00+14:00", "2012-01-01T00:00:00+14:00"}},
		{"weekly on the Friday skipped", "Pacific/Apia", "0 9 * * fri", "2011-12-23T09:00:00-10:00",
			[]string{"2011-12-31T00:00:00+14:00", "2012-01-06T09:00:00+14:00"}},
		{"hourly through the day skipped", "Pacific/Apia", "30 * * * *", "2011-12-29T22:30:00-10:00",
			[]string{"2011-12-29T23:30:00-10:00", "2011-12-31T00:30:00+14:00"}},
		{"hourly on the day skipped only", "Pacific/Apia", "30 * 30 12 *", "2011-01-01T00:00:00Z",
			[]string{"2011-12-31T00:00:00+14:00", "2012-12-30T00:30:00+14:00"}},

		// Kwajalein went back from 1969-09-30 24:00 at +11 to 1969-09-30 01:00 at -12.
		{"most of a day repeated", "Pacific/Kwajalein", "0 12 * * *", "1969-09-29T12:00:00+11:00",
			[]string{"1969-09-30T12:00:00+11:00", "1969-10-01T12:00:00-12:00"}},

		// Casablanca leaves +01 for Ramadan: 2024-03-10 03:00 became 02:00; 2024-04-14 02:00 became 03:00.
		{"Ramadan begins", "Africa/Casablanca", "30 2 * * *", "2024-03-09T02:30:00+01:00",
			[]string{"2024-03-10T02:30:00+01:00", "2024-03-11T02:30:00Z"}},
		{"Ramadan ends", "Africa/Casablanca", "30 2 * * *", "2024-04-13T02:30:00Z",
			[]string{"2024-04-14T03:00:00+01:00", "2024-04-15T02:30:00+01:00"}},

		// Changes at midnight: Beirut 2024-03-31 00:00 became 01:00; Havana
		// 2024-11-03 01:00 became 00:00; Asunción 2024-03-24 00:00 became 23:00.
		{"Beirut's midnight skipped", "Asia/Beirut", "0 0 * * *", "2024-03-30T00:00:00+02:00",
			[]string{"2024-03-31T01:00:00+03:00", "2024-04-01T00:00:00+03:00"}},
		{"Havana's midnight repeated", "America/Havana", "0 0 * * *", "2024-11-02T00:00:00-04:00",
			[]string{"2024-11-03T00:00:00-04:00", "2024-11-04T00:00:00-05:00"}},
		{"Asunción's last hour repeated", "America/Asuncion", "59 23 * * *", "2024-03-22T23:59:00-03:00",
			[]string{"2024-03-23T23:59:00-03:00", "2024-03-24T23:59:00-04:00"}},
	} {
		t.Run(c.zone+" "+c.what, func(t *testing.T) {
			t.Parallel()
			s := parse(t, c.expr, c.zone)
			require.Equal(t, c.want, due(s, instant(t, c.from), len(c.want)))
		})
	}
}

// The years are leap years, one that zones have tables for and one that is
// left to their rules: those end differently.
var leapYears = []int{2024, 2040}

func TestNext_EveryFifteenMinutesIsFifteenMinutesAllYear(t *testing.T) {
	t.Parallel()
	for _, zone := range []string{"Europe/Berlin", "Australia/Lord_Howe", "Asia/Kathmandu", "Africa/Casablanca"} {
		s := parse(t, "*/15 * * * *", zone)
		for _, year := range leapYears {
			at := time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC)
			for range 366 * 96 {
				next := s.Next(at)
				if next.Sub(at) != 15*time.Minute {
					require.Equal(t, at.Add(15*time.Minute), next, "%s after %s", zone, at)
				}
				at = next
			}
		}
	}
}

func TestNext_DailyIsOnceADayAllYear(t *testing.T) {
	t.Parallel()
	for _, zone := range []string{"Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Beirut", "America/Havana", "Africa/Casablanca"} {
		for _, expr := range []string{"0 0 * * *", "30 0 * * *", "30 1 * * *", "15 2 * * *", "30 2 * * *", "0 3 * * *"} {
			s := parse(t, expr, zone)
			for _, year := range leapYears {
				at := time.Date(year-1, 12, 31, 12, 0, 0, 0, time.UTC)
				for day := 1; day <= 366; day++ {
					at = s.Next(at)
					if wall := at.In(s.Location()); wall.YearDay() != day {
						require.Equal(t, day, wall.YearDay(), "%s: %s", s, wall)
					}
				}
			}
		}
	}
}
