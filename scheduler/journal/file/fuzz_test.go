package file

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/scheduler/journal"
	"github.com/perigee-sched/perigee/scheduler/record"
)

const fuzzSalt = 0x5eed

// FuzzSegment reads whatever follows a segment's header.
func FuzzSegment(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		s := &segment{path: "x.log", number: 1, base: 5, salt: fuzzSalt}
		entries := uint64(0)
		next, err := s.scan(b, func(fr frame) error {
			return fr.decode(func(e *record.Entry) error {
				require.Equal(t, 5+entries, e.GetIndex())
				entries++
				return nil
			})
		})
		require.LessOrEqual(t, s.end, int64(len(b)))
		var torn *tornError
		var corrupt *journal.CorruptError
		switch {
		case err == nil:
			require.Equal(t, int64(len(b)), s.end)
			require.Equal(t, 5+entries, next)
		case errors.As(err, &torn):
			require.Less(t, s.end, int64(len(b)))
		case errors.As(err, &corrupt):
			require.Equal(t, s.end, corrupt.Offset)
		}
	})
}

// FuzzEntries reads a frame's payload whose checksum is right.
func FuzzEntries(f *testing.F) {
	f.Fuzz(func(t *testing.T, count uint32, b []byte) {
		seen := uint32(0)
		err := frame{index: 5, count: count, payload: b}.decode(func(*record.Entry) error { seen++; return nil })
		require.LessOrEqual(t, seen, count)
		if err == nil {
			require.Equal(t, count, seen)
		}
	})
}

// FuzzBlock reads a snapshot block whose checksum is right.
func FuzzBlock(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		bytes := 0
		err := splitBlock(b, func(key string, value []byte) error { bytes += len(key) + len(value); return nil })
		require.LessOrEqual(t, bytes, len(b))
		if err != nil {
			require.ErrorIs(t, err, errBlock)
		}
	})
}

var update = flag.Bool("update", false, "write the fuzz targets' first corpus")

// The corpus is made from what the code writes, so that a change of the format shows.
func TestCorpusIsWhatTheCodeWrites(t *testing.T) {
	at := journal.Position{Epoch: 3, Index: 5}
	one, err := appendFrame(nil, fuzzSalt, []*record.Entry{entryAt(at, 20)})
	require.NoError(t, err)
	at.Index++
	first, second := entryAt(at, 10), entryAt(journal.Position{Epoch: 3, Index: 7}, 10)
	first.Continued = true
	two, err := appendFrame(one[:len(one):len(one)], fuzzSalt, []*record.Entry{first, second})
	require.NoError(t, err)
	bad := append([]byte(nil), two...)
	bad[len(one)-1] ^= 1
	headless := append([]byte(nil), two...)
	clear(headless[:frameHeaderBytes])
	huge := append([]byte(nil), one...)
	copy(huge, "\xff\xff\xff\xff")
	block := "\x07cluster\x02xy\x06task/1\x00"
	for name, lines := range map[string][]string{
		"FuzzSegment/one-group":      {quote(one)},
		"FuzzSegment/two-groups":     {quote(two)},
		"FuzzSegment/cut":            {quote(two[:len(two)-3])},
		"FuzzSegment/bad-then-good":  {quote(bad)},
		"FuzzSegment/no-header":      {quote(headless)},
		"FuzzSegment/huge-length":    {quote(huge)},
		"FuzzSegment/zeros":          {quote(make([]byte, 100))},
		"FuzzEntries/one":            {"uint32(1)", quote(one[frameHeaderBytes:])},
		"FuzzEntries/two":            {"uint32(2)", quote(two[len(one)+frameHeaderBytes:])},
		"FuzzEntries/fewer":          {"uint32(1)", quote(two[len(one)+frameHeaderBytes:])},
		"FuzzEntries/endless-varint": {"uint32(1)", quote([]byte("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"))},
		"FuzzBlock/two-records":      {quote([]byte(block))},
		"FuzzBlock/value-cut":        {quote([]byte(block[:9]))},
		"FuzzBlock/length-overflows": {quote([]byte("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))},
	} {
		path := filepath.Join("testdata", "fuzz", filepath.FromSlash(name))
		want := "go test fuzz v1\n" + strings.Join(lines, "\n") + "\n"
		if *update {
			require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
			require.NoError(t, os.WriteFile(path, []byte(want), 0o644))
		}
		got, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, want, string(got), "the format changed: raise the layout, then run this test with -update")
	}
}

func quote(b []byte) string { return fmt.Sprintf("[]byte(%q)", b) }
