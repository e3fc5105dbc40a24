package cron_test

import (
	"testing"
)

func BenchmarkNext(b *testing.B) {
	for _, c := range []struct{ name, expr, zone, after string }{
		{"minutely", "* * * * *", "Europe/Berlin", "2024-05-05T12:00:30Z"},
		{"quarters", "*/15 * * * *", "UTC", "2024-05-05T12:00:30Z"},
		{"daily", "30 3 * * *", "Europe/Berlin", "2024-05-05T12:00:30Z"},
		{"weekdays", "0 9 * * 1-5", "America/New_York", "2024-05-03T18:00:00Z"},
		{"monthly", "@monthly", "Asia/Kathmandu", "2024-05-05T12:00:30Z"},
		{"overAGap", "30 2 * * *", "Europe/Berlin", "2024-03-30T12:00:00Z"},
		{"everyDuration", "@every 90s", "", "2024-05-05T12:00:30Z"},
		{"leapDayOnASunday", "0 0 29 2 */7", "Europe/Berlin", "2033-01-01T00:00:00Z"},
		{"leapDayHourly", "0 * 29 2 */7", "Europe/Berlin", "2088-03-01T00:00:00Z"},
	} {
		b.Run(c.name, func(b *testing.B) {
			s, at := parse(b, c.expr, c.zone), instant(b, c.after)
			b.ReportAllocs()
			for b.Loop() {
				s.Next(at)
			}
		})
	}
}

func BenchmarkBetweenOverAYearOfMinutes(b *testing.B) {
	s := parse(b, "* * * * *", "Europe/Berlin")
	after := instant(b, "2023-05-05T12:00:30Z")
	for b.Loop() {
		s.Between(after, after.AddDate(1, 0, 0), 100)
	}
}

func BenchmarkLatestOfAYearOfMinutes(b *testing.B) {
	s := parse(b, "* * * * *", "Europe/Berlin")
	after := instant(b, "2023-05-05T12:00:30Z")
	for b.Loop() {
		s.Latest(after, after.AddDate(1, 0, 0), 1000)
	}
}

func BenchmarkParse(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		parse(b, "*/15 8-18 * jan-jun mon-fri", "Europe/Berlin")
	}
}
