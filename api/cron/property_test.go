package cron_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api/cron"
)

// reference is a schedule that knows nothing clever: sets of numbers, looked up
// minute by minute. Its texts are what Parse gets.
type reference struct {
	texts  [5]string
	fields [5]map[int]bool
}

var bounds = [5][2]int{{0, 59}, {0, 23}, {1, 31}, {1, 12}, {0, 6}}

// randomReference draws an expression of every form. Hours favour the night,
// when clocks change.
func randomReference(r *rand.Rand) reference {
	var ref reference
	for i, b := range bounds {
		ref.fields[i] = map[int]bool{}
		var parts []string
		for n := 1 + r.IntN(3)/2; n > 0; n-- {
			parts = append(parts, randomPart(r, i, b[0], b[1], ref.fields[i]))
		}
		ref.texts[i] = strings.Join(parts, ",")
	}
	return ref
}

func randomPart(r *rand.Rand, field, low, high int, set map[int]bool) string {
	value := func() int {
		if field == 1 && r.IntN(2) == 0 {
			return r.IntN(4)
		}
		return low + r.IntN(high-low+1)
	}
	a, n := value(), 1+r.IntN(high-low+1)
	b := a + r.IntN(high-a+1)
	first, last, step := low, high, 1
	var text string
	switch form := r.IntN(8); {
	case form < 3 || field > 1 && form < 6: // most days, so that something is due
		text = "*"
	case form == 3:
		text, step = fmt.Sprintf("*/%d", n), n
	case form == 4:
		text, first, last = fmt.Sprintf("%d-%d", a, b), a, b
	case form == 5:
		text, first, last, step = fmt.Sprintf("%d-%d/%d", a, b, n), a, b, n
	case form == 6:
		text, first, step = fmt.Sprintf("%d/%d", a, n), a, n
	default:
		text, first, last = strconv.Itoa(a), a, a
	}
	for v := first; v <= last; v += step {
		set[v] = true
	}
	return text
}

func (ref reference) String() string { return strings.Join(ref.texts[:], " ") }

// matches tells whether the expression names a wall time, given as if in UTC.
func (ref reference) matches(wall int64) bool {
	w := time.Unix(wall, 0).UTC()
	dom, dow := ref.fields[2][w.Day()], ref.fields[4][int(w.Weekday())]
	day := dom && dow
	if ref.texts[2][0] != '*' && ref.texts[4][0] != '*' {
		day = dom || dow
	}
	return day && ref.fields[0][w.Minute()] && ref.fields[1][w.Hour()] && ref.fields[3][int(w.Month())]
}

// due walks (after, through] minute by minute, starting early enough to know
// which wall times were shown before, and applies the package comment's rules.
func (ref reference) due(loc *time.Location, after, through int64) []time.Time {
	wallAt := func(t int64) int64 {
		_, offset := time.Unix(t, 0).In(loc).Zone()
		return t + int64(offset)
	}
	var list []time.Time
	t := after - 3*86400
	before := wallAt(t)
	mark := before
	for t += 60; t <= through; t += 60 {
		wall := wallAt(t)
		fire := false
		if len(ref.fields[1]) == 24 {
			fire = ref.matches(wall)
			gap := wall - before - 60
			for w := before + 60; w < wall; w += 60 {
				fire = fire || ref.matches(w) && !ref.matches(w+gap)
			}
		} else {
			for w := mark + 60; w <= wall; w += 60 {
				fire = fire || ref.matches(w)
			}
		}
		if fire && t > after {
			list = append(list, time.Unix(t, 0).UTC())
		}
		before, mark = wall, max(mark, wall)
	}
	return list
}

// randomWindow returns the beginning of an interval in which, as often as not,
// the zone's clock changes.
func randomWindow(r *rand.Rand, loc *time.Location) int64 {
	from := time.Unix(r.Int64N(97*365*86400)+3*365*86400, 0) // 1973 to 2070
	if _, change := from.In(loc).ZoneBounds(); r.IntN(4) > 0 && change.After(from) {
		from = change.Add(-time.Duration(r.IntN(48)) * time.Hour)
	}
	return from.Unix() / 60 * 60
}

var propertyZones = []string{
	"UTC", "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Kathmandu",
	"Pacific/Apia", "Pacific/Kwajalein", "Africa/Casablanca", "Asia/Beirut", "America/Havana", "America/Asuncion",
	"Europe/Dublin", "Antarctica/Troll", "Asia/Pyongyang", "America/Caracas", "Asia/Gaza", "Pacific/Kiritimati",
}

func TestProperty_NextIsWhatAWalkMinuteByMinuteFinds(t *testing.T) {
	t.Parallel()
	const cases, window = 500, 4 * 86400
	r := rand.New(rand.NewPCG(30, 1))
	found := 0
	for range cases {
		ref, zone := randomReference(r), propertyZones[r.IntN(len(propertyZones))]
		s, err := cron.Parse(ref.String(), zone)
		if err != nil {
			require.ErrorContains(t, err, "never fires", "%s", ref)
			continue
		}
		from := randomWindow(r, s.Location())
		want := ref.due(s.Location(), from, from+window)
		got, more := s.Between(time.Unix(from, 0), time.Unix(from+window, 0), 1<<20)
		require.Equal(t, want, got, "%s after %s", s, time.Unix(from, 0).UTC())
		require.Zero(t, more)

		n := r.IntN(20)
		latest := s.Latest(time.Unix(from, 0), time.Unix(from+window, 0), n)
		require.True(t, slices.Equal(want[max(0, len(want)-n):], latest), "the latest %d of %s: %v", n, s, latest)
		found += len(want)
	}
	require.Greater(t, found, 5_000, "the random expressions are hardly ever due")
}

func TestProperty_DaysAreWhatAWalkDayByDayFinds(t *testing.T) {
	t.Parallel()
	const cases, years = 60, 30
	r := rand.New(rand.NewPCG(30, 2))
	for range cases {
		ref := randomReference(r)
		for i := 2; i < 5; i++ { // rarer days than the other property draws
			ref.fields[i] = map[int]bool{}
			ref.texts[i] = randomPart(r, 0, bounds[i][0], bounds[i][1], ref.fields[i])
		}
		ref.texts[0], ref.texts[1] = "0", "0"
		ref.fields[0], ref.fields[1] = map[int]bool{0: true}, map[int]bool{0: true}
		s, err := cron.Parse(ref.String(), "")
		var want []time.Time
		start := time.Date(1880+r.IntN(200), 1, 1, 0, 0, 0, 0, time.UTC)
		end := start.AddDate(years, 0, 0)
		for day := start; day.Before(end); day = day.AddDate(0, 0, 1) {
			if ref.matches(day.Unix()) {
				want = append(want, day)
			}
		}
		if err != nil {
			require.ErrorContains(t, err, "never fires")
			require.Empty(t, want, "%s", ref)
			continue
		}
		got, _ := s.Between(start.Add(-1), end.Add(-1), 1<<20)
		require.Equal(t, want, got, "%s", s)
	}
}

func TestProperty_SplittingAnIntervalNeitherRepeatsNorLosesAnInstant(t *testing.T) {
	t.Parallel()
	const cases = 150
	r := rand.New(rand.NewPCG(30, 3))
	for range cases {
		expr := randomReference(r).String()
		if r.IntN(8) == 0 {
			expr = fmt.Sprintf("@every %ds", 60+r.IntN(7200))
		}
		s, err := cron.Parse(expr, propertyZones[r.IntN(len(propertyZones))])
		if err != nil {
			continue
		}
		from := time.Unix(randomWindow(r, s.Location()), int64(r.IntN(1e9)))
		through := from.Add(96 * time.Hour)
		whole, _ := s.Between(from, through, 1<<20)

		// Split at random instants, at due ones, and where a limit fell.
		var pieces []time.Time
		for at := from; at.Before(through); {
			to := at.Add(time.Duration(r.Int64N(int64(12 * time.Hour))))
			if len(whole) > 0 && r.IntN(3) == 0 {
				if due := whole[r.IntN(len(whole))]; due.After(at) {
					to = due
				}
			}
			if to.After(through) {
				to = through
			}
			piece, more := s.Between(at, to, 1+r.IntN(50))
			pieces = append(pieces, piece...)
			at = to
			if more > 0 {
				at = piece[len(piece)-1]
			}
		}
		require.True(t, slices.EqualFunc(whole, pieces, time.Time.Equal), "%s from %s: %v, in pieces %v", s, from, whole, pieces)
	}
}
