package cron

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"time"
)

// Describe says in English when the schedule is due, for people to check what
// they wrote: "every day at 03:30 Europe/Berlin". It is not for machines.
func (s *Schedule) Describe() string {
	if s.every > 0 {
		return "every " + duration(time.Duration(s.every)*time.Second) + ", counted from 1970-01-01 00:00 UTC"
	}
	often, at := s.times()
	day := s.days.describe()
	switch {
	case at != "":
		return day + " at " + at + " " + s.loc.String()
	case s.days == everyDay && s.hour == allHours:
		return often // the same in almost every zone
	case s.days == everyDay:
		return often + ", " + s.loc.String()
	}
	return often + ", " + day + ", " + s.loc.String()
}

// times describes the minute and hour fields, either as how often or as at
// which times of day.
func (s *Schedule) times() (often, at string) {
	minutes, hours := members(s.minute), members(uint64(s.hour))
	within := ""
	if s.hour != allHours {
		within = fmt.Sprintf(" from %s to %s",
			clock(hours[0], minutes[0]), clock(hours[len(hours)-1], minutes[len(minutes)-1]))
	}
	oneStretch := len(hours) == hours[len(hours)-1]-hours[0]+1
	step := stepOf(minutes, 60)
	switch {
	case len(minutes)*len(hours) <= 4:
		var list []string
		for _, h := range hours {
			for _, m := range minutes {
				list = append(list, clock(h, m))
			}
		}
		return "", join(list)
	case oneStretch && step == 1:
		return "every minute" + within, ""
	case oneStretch && step > 1:
		return fmt.Sprintf("every %d minutes%s", step, within), ""
	case oneStretch && len(minutes) == 1:
		return fmt.Sprintf("every hour at :%02d%s", minutes[0], within), ""
	case len(minutes) == 1 && stepOf(hours, 24) > 1:
		return fmt.Sprintf("every %d hours at :%02d", stepOf(hours, 24), minutes[0]), ""
	case len(minutes) == 1:
		var list []string
		for _, h := range hours {
			list = append(list, clock(h, minutes[0]))
		}
		return "", join(list)
	case s.hour == allHours:
		return "every hour at minutes " + ranges(minutes, strconv.Itoa), ""
	}
	return fmt.Sprintf("at %s of %s", plural("minute", minutes), plural("hour", hours)), ""
}

func (d *days) describe() string {
	anyDom, anyDow := d.dom == everyDay.dom, d.dow == everyDay.dow
	in := " in "
	var phrase string
	switch {
	case anyDom && anyDow:
		phrase = "every day"
	case anyDom && !d.either:
		phrase = d.weekdays()
	case anyDow && !d.either:
		phrase, in = "on "+d.monthDays(), " of "
	case anyDom || anyDow: // either one, and one of them is every day
		phrase = "every day"
	case d.either:
		phrase = "on " + d.monthDays() + " and " + d.weekdays()
	default:
		phrase = d.weekdays() + " falling on " + d.monthDays()
	}
	switch {
	case d.month != everyDay.month:
		phrase += in + ranges(members(uint64(d.month)), func(m int) string { return time.Month(m).String() })
	case in == " of ":
		phrase += " of every month"
	}
	return phrase
}

// weekdays describes the day-of-week field: "every Friday", "Monday to Friday".
func (d *days) weekdays() string {
	list := members(uint64(d.dow))
	if list[0] == 0 && len(list) > 1 && len(list) < 7 { // weeks end on Sunday
		list = append(list[1:], 7)
	}
	text := ranges(list, func(day int) string { return time.Weekday(day % 7).String() })
	if strings.Contains(text, " to ") {
		return text
	}
	return "every " + text
}

// monthDays describes the day-of-month field: "days 1 and 15".
func (d *days) monthDays() string {
	list := members(uint64(d.dom))
	switch {
	case len(list) == 0:
		return "the last day"
	case d.last:
		return plural("day", list) + " and the last day"
	}
	return plural("day", list)
}

// members returns the bits that are set, ascending.
func members(set uint64) []int {
	var list []int
	for ; set != 0; set &= set - 1 {
		list = append(list, bits.TrailingZeros64(set))
	}
	return list
}

// stepOf returns n when the list is 0, n, 2n … through a whole period, else 0.
func stepOf(list []int, period int) int {
	if period%len(list) != 0 {
		return 0
	}
	n := period / len(list)
	for i, v := range list {
		if v != i*n {
			return 0
		}
	}
	return n
}

// ranges writes an ascending list with three or more neighbours as "a to b".
func ranges(list []int, name func(int) string) string {
	var parts []string
	for i := 0; i < len(list); {
		j := i
		for j+1 < len(list) && list[j+1] == list[j]+1 {
			j++
		}
		if j-i < 2 {
			j = i
			parts = append(parts, name(list[i]))
		} else {
			parts = append(parts, name(list[i])+" to "+name(list[j]))
		}
		i = j + 1
	}
	return join(parts)
}

func plural(noun string, list []int) string {
	if len(list) > 1 {
		noun += "s"
	}
	return noun + " " + ranges(list, strconv.Itoa)
}

// join writes "a", "a and b", "a, b and c".
func join(parts []string) string {
	if len(parts) < 2 {
		return strings.Join(parts, "")
	}
	last := len(parts) - 1
	return strings.Join(parts[:last], ", ") + " and " + parts[last]
}

func clock(hour, minute int) string { return fmt.Sprintf("%02d:%02d", hour, minute) }

// duration writes 1h30m rather than time.Duration's 1h30m0s.
func duration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
