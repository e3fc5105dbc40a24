package health

import (
	"fmt"
	"time"

	"github.com/perigee-sched/perigee/api"
)

// Verdict is what one check's result changes. The zero Verdict is: nothing.
type Verdict struct {
	// Tell says that the health is worth telling, and Healthy what it is.
	Tell    bool
	Healthy bool
	// Failed is why the task is to be ended; "" is: it is not.
	Failed string
	// Successes in a row, counted up to what is asked for, and Failures in a row.
	Successes, Failures int
}

// Result of one check.
type Result struct {
	Err   error // nil is success
	Fatal bool  // the job lists this failure as one that ends the task at once
}

// Judge judges the results of one task's checks.
type Judge struct {
	startup  time.Duration
	failures int // in a row that end the task
	ready    int // successes in a row that make it healthy

	began    bool // there was a success: startup is over
	healthy  bool // and was told so
	good     int  // successes in a row
	bad      int  // failures in a row
	interval time.Duration
	quick    time.Duration // the next pause during startup
}

// quickest is the pause after the first check. During startup pauses begin
// short and double up to the interval, so that a task that is up in a second is
// known to be up then, and not an interval later.
const quickest = 250 * time.Millisecond

// NewJudge returns the judge of a job's tasks; successes is how many in a row
// make a task healthy. Defaults are filled in.
func NewJudge(h api.Health, successes int) *Judge {
	return &Judge{
		startup:  orDefault(h.Startup.Std(), 60*time.Second),
		failures: orDefault(h.Failures, 3),
		ready:    orDefault(successes, 1),
		interval: orDefault(h.Interval.Std(), 5*time.Second),
		quick:    quickest,
	}
}

func orDefault[T int | time.Duration](v, byDefault T) T {
	if v <= 0 {
		return byDefault
	}
	return v
}

// Observe takes the result of a check that ended at the given time after the
// start of the task.
func (j *Judge) Observe(at time.Duration, r Result) Verdict {
	if r.Err == nil {
		return j.success()
	}
	return j.failure(at, r)
}

func (j *Judge) success() Verdict {
	j.began, j.bad = true, 0
	j.good = min(j.good+1, j.ready)
	v := Verdict{Successes: j.good, Healthy: true, Tell: j.good == j.ready && !j.healthy}
	j.healthy = j.healthy || v.Tell
	return v
}

func (j *Judge) failure(at time.Duration, r Result) Verdict {
	j.good = 0
	j.bad++
	v := Verdict{Failures: j.bad}
	switch {
	case r.Fatal:
		v.Failed = fmt.Sprintf("unhealthy, and the job asks to fail at once: %v", r.Err)
	case !j.began && at >= j.startup:
		v.Failed = fmt.Sprintf("not healthy within %s of its start, last: %v", api.Duration(j.startup), r.Err)
	case j.began && j.bad >= j.failures:
		v.Failed = fmt.Sprintf("unhealthy: %d checks in a row failed, last: %v", j.bad, r.Err)
	}
	v.Tell = v.Failed != ""
	return v
}

// Pause is how long to wait after a check that ended at the given time after
// the start. The end of startup is not slept through.
func (j *Judge) Pause(at time.Duration) time.Duration {
	if j.began {
		return j.interval
	}
	pause := min(j.quick, j.interval)
	j.quick *= 2
	return min(pause, max(j.startup-at, 0))
}
