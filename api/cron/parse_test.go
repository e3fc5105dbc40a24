package cron_test

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api/cron"
)

func TestParse_SaysWhatIsWrongWhereAndWhatIsAllowed(t *testing.T) {
	t.Parallel()
	const five = `expected five fields (minute hour day-of-month month day-of-week), such as "30 3 * * *", or a macro such as @daily`
	const macros = `expected one of @annually, @daily, @hourly, @midnight, @monthly, @weekly, @yearly, @every`
	for expr, want := range map[string]string{
		"0 0 * * mno":       `day-of-week "mno": expected 0-7 or sun, mon, … sat; did you mean "mon"?`,
		"0 0 * * Monday":    `day-of-week "Monday": expected 0-7 or sun, mon, … sat; did you mean "mon"?`,
		"0 0 * * 8":         `day-of-week "8": expected 0-7 or sun, mon, … sat`,
		"0 0 * * 5L":        `day-of-week "5L": expected 0-7 or sun, mon, … sat`,
		"0 0 * * 5#2":       `day-of-week "5#2": expected 0-7 or sun, mon, … sat`,
		"0 0 ? * 5":         `day-of-month "?": expected 1-31 or L (the last day); did you mean "*"?`,
		"0 0 0 * *":         `day-of-month "0": expected 1-31 or L (the last day)`,
		"0 0 * 13 *":        `month "13": expected 1-12 or jan, feb, … dec`,
		"0 0 * sept *":      `month "sept": expected 1-12 or jan, feb, … dec; did you mean "sep"?`,
		"0 24 * * *":        `hour "24": expected 0-23`,
		"60 * * * *":        `minute "60": expected 0-59`,
		"5,99 * * * *":      `minute "99" in "5,99": expected 0-59`,
		"5, * * * *":        `minute "" in "5,": expected 0-59`,
		"5- * * * *":        `minute "5-": expected 0-59`,
		"-5 * * * *":        `minute "-5": expected 0-59`,
		"+5 * * * *":        `minute "+5": expected 0-59`,
		"5-9-11 * * * *":    `minute "5-9-11": expected 0-59`,
		"*5 * * * *":        `minute "*5": expected 0-59`,
		"0x5 * * * *":       `minute "0x5": expected 0-59`,
		"٣ * * * *":         `minute "٣": expected 0-59`,
		"*/0 * * * *":       `minute "*/0": expected a step of 1-60 after the slash`,
		"*/ * * * *":        `minute "*/": expected a step of 1-60 after the slash`,
		"*/5/5 * * * *":     `minute "*/5/5": expected a step of 1-60 after the slash`,
		"*/90 * * * *":      `minute "*/90": expected a step of 1-60 after the slash; for every 90 minutes write @every 90m`,
		"0 */36 * * *":      `hour "*/36": expected a step of 1-24 after the slash; for every 36 hours write @every 36h`,
		"0 22-2 * * *":      `hour "22-2": the range runs backwards; write 22-23,0-2`,
		"0 0 * * sat-mon":   `day-of-week "sat-mon": the range runs backwards; write sat-6,0-mon`,
		"0 0 30 2 *":        `day-of-month "30" with month "2" and day-of-week "*": never fires, there is no such date`,
		"0 0 31 4,6,9,11 *": `day-of-month "31" with month "4,6,9,11" and day-of-week "*": never fires, there is no such date`,
		"0 0 30 feb */2":    `day-of-month "30" with month "feb" and day-of-week "*/2": never fires, there is no such date`,
		"":                  `cron expression: empty; ` + five,
		" \t ":              `cron expression: empty; ` + five,
		"0 0 * *":           `cron expression "0 0 * *": 4 fields; ` + five,
		"0 0 0 * * *":       `cron expression "0 0 0 * * *": 6 fields; ` + five + `; there is no field for seconds or years: for runs closer than a minute write @every 10s`,
		"TZ=UTC 0 0 * * *":  `cron expression "TZ=UTC 0 0 * * *": 6 fields; ` + five + `; the time zone is a setting of its own beside the expression`,
		"@dayly":            `macro "@dayly": ` + macros + `; did you mean "@daily"?`,
		"@daily 5":          `macro "@daily 5": ` + macros + `; did you mean "@daily"?`,
		"@":                 `macro "@": ` + macros,
		"@reboot":           `macro "@reboot": a cluster has no reboot; for something that always runs make the job a service`,
		"@every":            `@every "": expected a duration of whole seconds, at least 1s, such as 90s or 1h30m`,
		"@every 5":          `@every "5": expected a duration of whole seconds, at least 1s, such as 90s or 1h30m`,
		"@every 500ms":      `@every "500ms": expected a duration of whole seconds, at least 1s, such as 90s or 1h30m`,
		"@every 1.5s":       `@every "1.5s": expected a duration of whole seconds, at least 1s, such as 90s or 1h30m`,
		"@every -5s":        `@every "-5s": expected a duration of whole seconds, at least 1s, such as 90s or 1h30m`,
	} {
		s, err := cron.Parse(expr, "Europe/Berlin")
		require.EqualError(t, err, want, "for %q", expr)
		require.Nil(t, s)
	}
	_, err := cron.Parse(strings.Repeat("0", 1020)+" * * * *", "")
	require.EqualError(t, err, "cron expression: 1028 bytes long; at most 1024 are allowed")
}

func TestParse_ReportsEveryProblemAtOnce(t *testing.T) {
	t.Parallel()
	_, err := cron.Parse("61 * * okt *", "Europe/Berln")
	require.EqualError(t, err, `minute "61": expected 0-59
month "okt": expected 1-12 or jan, feb, … dec; did you mean "oct"?
time zone "Europe/Berln": not in the IANA database; expected a region such as Europe/Berlin, or UTC; did you mean "Europe/Berlin"?`)
}

func TestParse_RefusesZonesThatAreUnknownOrDifferBetweenMachines(t *testing.T) {
	t.Parallel()
	const unknown = `: not in the IANA database; expected a region such as Europe/Berlin, or UTC`
	const machine = `: would depend on the machine; name a region such as Europe/Berlin, or UTC`
	for zone, want := range map[string]string{
		"Berlin":              unknown + `; did you mean "Europe/Berlin"?`,
		"new york":            unknown + `; did you mean "America/New_York"?`,
		"America/New York":    unknown + `; did you mean "America/New_York"?`,
		"PST8":                unknown,
		"Mars/Olympus":        unknown,
		"../etc/passwd":       unknown,
		"/etc/localtime":      unknown,
		"Europe":              unknown,
		"Local":               machine,
		"localtime":           machine,
		"right/Europe/Berlin": machine,
	} {
		_, err := cron.Parse("@daily", zone)
		require.ErrorContains(t, err, "time zone ", zone)
		require.Contains(t, err.Error(), want, zone)
	}
}

func TestParse_KnowsEveryZoneItSuggests(t *testing.T) {
	t.Parallel()
	names, err := os.ReadFile("zones.txt")
	require.NoError(t, err)
	for name := range strings.FieldsSeq(string(names)) {
		s, err := cron.Parse("@daily", name)
		require.NoError(t, err)
		require.Equal(t, name, s.Location().String())
	}
}
