package webhook

import (
	"net/http"
	"strconv"
	"time"
)

const (
	// firstWait is how long after a first failure it is tried again, and longestWait
	// the most that the wait grows to. A consumer that restarts is away for seconds
	// far more often than for days, and one request an hour harms none that is: so
	// the waits begin shorter, and end shorter, than those that the convention
	// suggests (5 s to 24 h).
	firstWait   = time.Second
	longestWait = time.Hour
)

// backoff is how long to wait after so many failures in a row. jitter, from 0 to
// 1, keeps those that failed together from coming together again.
func backoff(failures uint32, jitter float64) time.Duration {
	wait := longestWait
	if shift := max(failures, 1) - 1; shift < 12 { // 2^12 s are more than an hour
		wait = min(firstWait<<shift, longestWait)
	}
	return time.Duration(float64(wait) * (0.8 + 0.4*jitter))
}

// retryAfter is how long an answer asks to wait, 0 when it does not: that of
// 429 and 503, within what is our own longest wait.
func retryAfter(resp *http.Response, now time.Time) time.Duration {
	if resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode != http.StatusServiceUnavailable {
		return 0
	}
	text := resp.Header.Get("Retry-After")
	wait := time.Duration(0)
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		wait = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(text); err == nil {
		wait = at.Sub(now)
	}
	if wait <= 0 {
		return 0
	}
	return min(max(wait, firstWait), longestWait)
}
