package api

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Duration is written as "1m30s"; a bare number is seconds.
type Duration time.Duration

// Std returns d as the standard library's type.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// Millis returns d in milliseconds.
func (d Duration) Millis() int64 { return time.Duration(d).Milliseconds() }

// String writes d without zero parts: "5m", not "5m0s".
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	s := string(text)
	if n, err := strconv.ParseFloat(s, 64); err == nil && !math.IsNaN(n) && !math.IsInf(n, 0) {
		s = strconv.FormatFloat(n, 'f', -1, 64) + "s"
	}
	v, err := time.ParseDuration(s)
	if err != nil {
		return fmt.Errorf("%q is not a duration: write it as 30s, 5m or 1h30m", text)
	}
	*d = Duration(v)
	return nil
}

// UnmarshalJSON takes a string or a number of seconds.
func (d *Duration) UnmarshalJSON(b []byte) error { return unmarshalQuantity(b, d.UnmarshalText) }

// Bytes is an amount of memory or disk, written as "64MiB"; a bare number is
// bytes. KiB, MiB, GiB and TiB are powers of 1024, KB, MB, GB and TB of 1000.
type Bytes int64

// The binary units.
const (
	KiB Bytes = 1 << (10 * (iota + 1))
	MiB
	GiB
	TiB
)

var byteUnits = []struct {
	suffix string
	size   Bytes
}{
	{"KiB", KiB}, {"MiB", MiB}, {"GiB", GiB}, {"TiB", TiB},
	{"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1},
}

// Mebi returns b in MiB, as Mesos counts.
func (b Bytes) Mebi() float64 { return float64(b) / float64(MiB) }

// String writes b in the largest binary unit that leaves no fraction.
func (b Bytes) String() string {
	for i := len(byteUnits) - 6; i >= 0; i-- {
		if u := byteUnits[i]; b != 0 && b%u.size == 0 {
			return strconv.FormatInt(int64(b/u.size), 10) + u.suffix
		}
	}
	return strconv.FormatInt(int64(b), 10) + "B"
}

// MarshalText implements encoding.TextMarshaler.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (b *Bytes) UnmarshalText(text []byte) error {
	s, unit := strings.TrimSpace(string(text)), Bytes(1)
	for _, u := range byteUnits {
		if head, ok := strings.CutSuffix(s, u.suffix); ok {
			s, unit = strings.TrimSpace(head), u.size
			break
		}
	}
	n, err := strconv.ParseFloat(s, 64)
	if v := n * float64(unit); err != nil || math.IsNaN(v) || math.Abs(v) > math.MaxInt64/2 {
		return fmt.Errorf("%q is not an amount of bytes: write it as 64MiB, 2GiB or 500MB", text)
	}
	*b = Bytes(math.Round(n * float64(unit)))
	return nil
}

// UnmarshalJSON takes a string or a number of bytes.
func (b *Bytes) UnmarshalJSON(data []byte) error { return unmarshalQuantity(data, b.UnmarshalText) }

func unmarshalQuantity(data []byte, unmarshal func([]byte) error) error {
	if len(data) > 0 && data[0] == '"' {
		var s string
		if err := json.Unmarshal(data, &s); err != nil {
			return err
		}
		return unmarshal([]byte(s))
	}
	return unmarshal(data)
}
