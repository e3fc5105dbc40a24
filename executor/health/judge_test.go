package health

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
)

// judged feeds results, one a second, and prints the verdicts that say
// something: + success, - failure, ! failure at once.
func judged(h api.Health, successes int, results string) string {
	j := NewJudge(h, successes)
	var told []string
	for i, r := range results {
		at := time.Duration(i+1) * time.Second
		result := Result{}
		if r != '+' {
			result = Result{Err: errors.New("refused"), Fatal: r == '!'}
		}
		v := j.Observe(at, result)
		if v.Tell {
			told = append(told, fmt.Sprintf("%ds healthy=%v %d/%d %s", i+1, v.Healthy, v.Successes, v.Failures, v.Failed))
		}
		if v.Failed != "" {
			break
		}
	}
	return strings.Join(told, "; ")
}

func TestJudge(t *testing.T) {
	t.Parallel()
	h := api.Health{Startup: api.Duration(5 * time.Second), Failures: 3}
	for _, test := range []struct {
		name, results string
		successes     int
		want          string
	}{
		{"healthy at once, told once", "+++++", 1, "1s healthy=true 1/0 "},
		{"successes must be in a row", "++-++-+++", 3, "9s healthy=true 3/0 "},
		{"startup failures have no consequence", "----+", 1, "5s healthy=true 1/0 "},
		{"no success when startup is over", "-----", 1, "5s healthy=false 0/5 not healthy within 5s of its start, last: refused"},
		{"a success ends startup", "+---", 1, "1s healthy=true 1/0 ; 4s healthy=false 0/3 unhealthy: 3 checks in a row failed, last: refused"},
		{"a success ends startup, also one that is not enough", "+---", 2, "4s healthy=false 0/3 unhealthy: 3 checks in a row failed, last: refused"},
		{"failures must be in a row", "+--+--+--+", 1, "1s healthy=true 1/0 "},
		{"at once during startup", "-!", 1, "2s healthy=false 0/2 unhealthy, and the job asks to fail at once: refused"},
		{"at once later", "++!", 1, "1s healthy=true 1/0 ; 3s healthy=false 0/1 unhealthy, and the job asks to fail at once: refused"},
		{"for the whole life", strings.Repeat("+", 1000) + "---", 1, "1s healthy=true 1/0 ; 1003s healthy=false 0/3 unhealthy: 3 checks in a row failed, last: refused"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, test.want, judged(h, test.successes, test.results))
		})
	}
}

func TestJudge_PausesAreShortDuringStartup(t *testing.T) {
	t.Parallel()
	j := NewJudge(api.Health{Interval: api.Duration(time.Second), Startup: api.Duration(3 * time.Second)}, 1)
	var pauses []time.Duration
	for range 4 {
		pauses = append(pauses, j.Pause(0))
	}
	require.Equal(t, []time.Duration{250 * time.Millisecond, 500 * time.Millisecond, time.Second, time.Second}, pauses)
	require.Equal(t, 100*time.Millisecond, j.Pause(2900*time.Millisecond), "not past the end of startup")
	j.Observe(time.Second, Result{})
	require.Equal(t, time.Second, j.Pause(time.Second))
}
