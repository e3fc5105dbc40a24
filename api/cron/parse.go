package cron

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/perigee-sched/perigee/api/nearest"
)

// longestExpression bounds an expression, in bytes: every minute, hour and day
// written out comes to about 500.
const longestExpression = 1024

var macros = map[string]string{
	"@hourly":   "0 * * * *",
	"@daily":    "0 0 * * *",
	"@midnight": "0 0 * * *",
	"@weekly":   "0 0 * * 0",
	"@monthly":  "0 0 1 * *",
	"@yearly":   "0 0 1 1 *",
	"@annually": "0 0 1 1 *",
}

// Parse reads an expression of the package's language, for an IANA time zone
// ("" is UTC). The error names every field that is wrong, its text and what is
// allowed, and joins them (errors.Join) when there are several. An expression
// that can never fire, such as 30 February, is an error.
func Parse(expr string, zone string) (*Schedule, error) {
	s, err := parse(expr)
	loc, zoneErr := location(zone)
	if err := errors.Join(err, zoneErr); err != nil {
		return nil, err
	}
	s.loc = loc
	return s, nil
}

func parse(expr string) (*Schedule, error) {
	if len(expr) > longestExpression {
		return nil, fmt.Errorf("cron expression: %d bytes long; at most %d are allowed", len(expr), longestExpression)
	}
	texts := strings.Fields(expr)
	if len(texts) == 0 {
		return nil, fmt.Errorf("cron expression: empty; expected %s", expected)
	}
	written := strings.Join(texts, " ")
	switch {
	case strings.EqualFold(texts[0], "@every"):
		return parseEvery(written, texts[1:])
	case texts[0][0] == '@':
		meaning, ok := macros[strings.ToLower(written)]
		if !ok {
			return nil, unknownMacro(written)
		}
		texts = strings.Fields(meaning)
	}
	if len(texts) != len(fields) {
		return nil, wrongCount(written, texts)
	}
	return parseFields(written, texts)
}

const expected = "five fields (minute hour day-of-month month day-of-week), such as \"30 3 * * *\", or a macro such as @daily"

func parseFields(written string, texts []string) (*Schedule, error) {
	var sets [len(fields)]uint64
	var problems []error
	for i := range fields {
		set, err := fields[i].parse(texts[i])
		if err != nil {
			problems = append(problems, err)
		}
		sets[i] = set
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	s := &Schedule{
		expr:   written,
		minute: sets[minuteField],
		hour:   uint32(sets[hourField]),
		days: days{
			dom:    uint32(sets[domField] &^ (1 << lastDay)),
			last:   sets[domField]>>lastDay&1 == 1,
			month:  uint16(sets[monthField]),
			dow:    uint8(sets[dowField]),
			either: texts[domField][0] != '*' && texts[dowField][0] != '*',
		},
	}
	if s.days.next(0) == never {
		return nil, fmt.Errorf("day-of-month %q with month %q and day-of-week %q: never fires, there is no such date",
			texts[domField], texts[monthField], texts[dowField])
	}
	return s, nil
}

func parseEvery(written string, args []string) (*Schedule, error) {
	text := strings.Join(args, " ")
	d, err := time.ParseDuration(text)
	if err != nil || d < time.Second || d%time.Second != 0 {
		return nil, fmt.Errorf("@every %q: expected a duration of whole seconds, at least 1s, such as 90s or 1h30m", text)
	}
	return &Schedule{expr: written, every: int64(d / time.Second)}, nil
}

func unknownMacro(written string) error {
	names := append(slices.Sorted(maps.Keys(macros)), "@every")
	if strings.EqualFold(written, "@reboot") {
		return fmt.Errorf("macro %q: a cluster has no reboot; for something that always runs make the job a service", written)
	}
	return fmt.Errorf("macro %q: expected one of %s%s", written, strings.Join(names, ", "),
		didYouMean(nearest.Name(written, names)))
}

func wrongCount(written string, texts []string) error {
	problem := fmt.Sprintf("cron expression %q: %d fields; expected %s", written, len(texts), expected)
	if before, _, ok := strings.Cut(texts[0], "="); ok && strings.HasSuffix(strings.ToUpper(before), "TZ") {
		return fmt.Errorf("%s; the time zone is a setting of its own beside the expression", problem)
	}
	if len(texts) == 6 || len(texts) == 7 {
		return fmt.Errorf("%s; there is no field for seconds or years: for runs closer than a minute write @every 10s", problem)
	}
	return errors.New(problem)
}
