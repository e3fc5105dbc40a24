package cron

import "math/bits"

// days says which days match.
type days struct {
	dom    uint32 // bit d, 1-31
	last   bool   // the month's last day matches too
	month  uint16 // bit m, 1-12
	dow    uint8  // bit d, 0-6, Sunday 0
	either bool   // dom or dow suffices
}

var everyDay = days{dom: 1<<32 - 2, month: 1<<13 - 2, dow: 1<<7 - 1}

// never is a wall time, and a day, that does not come.
const never = always

// nextWall returns the first tick at or after a wall time, in seconds since
// 1970-01-01 00:00 on the same clock, or never.
func (s *Schedule) nextWall(from int64) int64 {
	minutes := floorDiv(from+59, 60)
	day := floorDiv(minutes, 1440)
	match := s.days.next(day)
	if match == day {
		if m := s.nextMinute(int(minutes - day*1440)); m >= 0 {
			return day*86400 + int64(m)*60
		}
		match = s.days.next(day + 1)
	}
	if match == never {
		return never
	}
	return match*86400 + int64(s.nextMinute(0))*60
}

// nextMinute returns the first matching minute of a day from m on, or -1.
func (s *Schedule) nextMinute(m int) int {
	h := m / 60
	if s.hour>>h&1 == 1 {
		if later := s.minute >> (m % 60); later != 0 {
			return m + bits.TrailingZeros64(later)
		}
	}
	hours := s.hour >> (h + 1)
	if hours == 0 {
		return -1
	}
	return (h+1+bits.TrailingZeros32(hours))*60 + bits.TrailingZeros64(s.minute)
}

// next returns the first matching day at or after day (days since 1970-01-01),
// or never. The calendar repeats every 400 years, so it looks no further.
func (d *days) next(day int64) int64 {
	if *d == everyDay {
		return day
	}
	year, month, dom := civil(day)
	first := day - int64(dom) + 1
	for range 400 * 12 {
		length := daysIn(year, month)
		if d.month>>month&1 == 1 {
			if match := d.within(first, length) >> dom << dom; match != 0 {
				return first + int64(bits.TrailingZeros32(match)) - 1
			}
		}
		dom, first = 1, first+int64(length)
		if month++; month > 12 {
			year, month = year+1, 1
		}
	}
	return never
}

// within returns the matching days (bit d, 1-31) of a month that begins on day
// first and has the given length.
func (d *days) within(first int64, length int) uint32 {
	all := uint32(1)<<(length+1) - 2
	dom := d.dom
	if d.last {
		dom |= 1 << length
	}
	week := uint64(d.dow)
	// 1970-01-01 was a Thursday. Turn the week so that bit 0 is the weekday of
	// the first, then lay five weeks side by side.
	turn := uint(floorMod(first+4, 7))
	week = (week>>turn | week<<(7-turn)) & 0x7f
	dow := uint32((week | week<<7 | week<<14 | week<<21 | week<<28) << 1)
	if d.either {
		return (dom | dow) & all
	}
	return dom & dow & all
}

// civil returns the date of a day counted from 1970-01-01, in the proleptic
// Gregorian calendar. Years are counted from March, so that the leap day is the
// last of its year, in eras of 400 years (146,097 days).
func civil(day int64) (year int64, month, dom int) {
	day += 719468 // from 0000-03-01
	era := floorDiv(day, 146097)
	n := day - era*146097
	y := (n - n/1460 + n/36524 - n/146096) / 365
	n -= 365*y + y/4 - y/100
	m := (5*n + 2) / 153 // 0 is March
	dom = int(n - (153*m+2)/5 + 1)
	year, month = era*400+y, int(m)+3
	if month > 12 {
		year, month = year+1, month-12
	}
	return year, month, dom
}

// daysIn returns the number of days of a month.
func daysIn(year int64, month int) int {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}

// floorDiv is a/b rounded down; b is positive.
func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// floorMod is the remainder that belongs to floorDiv.
func floorMod(a, b int64) int64 { return a - floorDiv(a, b)*b }
