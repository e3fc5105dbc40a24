package agent

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestReadRecord(t *testing.T) {
	t.Parallel()
	r := bufio.NewReader(strings.NewReader("2\n{}0\n11\nhello\nworld"))
	for _, want := range []string{"{}", "", "hello\nworld"} {
		got, err := readRecord(r)
		require.NoError(t, err)
		require.Equal(t, want, string(got))
	}
	_, err := readRecord(r)
	require.ErrorIs(t, err, io.EOF)
	for in, message := range map[string]string{
		"5\nhell": "unexpected EOF", "5": "unexpected EOF", "x\n": `'x' is not a digit`, "\n": `'\n' is not a digit`,
		"-1\n": "is not a digit", "99999999999999999999\n": "longer than 8388608 bytes",
	} {
		_, err := readRecord(bufio.NewReader(strings.NewReader(in)))
		require.ErrorContains(t, err, message, in)
	}
}

func FuzzReadRecord(f *testing.F) {
	for _, seed := range []string{"2\n{}", "0\n", "12\nshort", "999999999999999999999\n", "", "\n\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var again bytes.Buffer
		r := bufio.NewReader(bytes.NewReader(in))
		for {
			record, err := readRecord(r)
			if err != nil {
				if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
					require.Len(t, bytes.TrimLeft(in, "0"), len(bytes.TrimLeft(again.Bytes(), "0")), "all was read")
				}
				return
			}
			fmt.Fprintf(&again, "%d\n%s", len(record), record)
			if bytes.Contains(in, []byte("0")) {
				return // lengths may be written with leading zeros
			}
		}
	})
}

func TestParseDuration(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]time.Duration{
		"20secs": 20 * time.Second, "15mins": 15 * time.Minute, "1.5hrs": 90 * time.Minute, "200ms": 200 * time.Millisecond,
		"0ns": 0, "10us": 10 * time.Microsecond, "2weeks": 14 * 24 * time.Hour, "1days": 24 * time.Hour,
	} {
		got, err := parseDuration(in)
		require.NoError(t, err)
		require.Equal(t, want, got, in)
	}
	for _, in := range []string{"", "20", "secs", "-1secs", "NaNsecs", "1e99weeks", "5s"} {
		_, err := parseDuration(in)
		require.Error(t, err, in)
	}
}
