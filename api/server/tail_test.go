package server

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// rotating is a log that is rotated as the executor does it, read as an agent
// reads it.
type rotating struct {
	keep  int
	files []string // files[0] is the current one
	chunk int      // most bytes of one read
	// before is called ahead of every read: the log moves on meanwhile.
	before func()
}

func (r *rotating) rotate() {
	r.files = append([]string{""}, r.files...)
	r.files = r.files[:min(len(r.files), r.keep)]
}

func (r *rotating) read(_ context.Context, file string, offset, length int64) ([]byte, int64, error) {
	if r.before != nil {
		r.before()
	}
	n := 0
	if file != "log" {
		n, _ = strconv.Atoi(strings.TrimPrefix(file, "log."))
	}
	if n >= len(r.files) {
		return nil, 0, newProblem(http.StatusNotFound, "no %s", file)
	}
	content := r.files[n]
	if offset == -1 {
		return nil, int64(len(content)), nil
	}
	from, to := part(offset, length, int64(len(content)))
	to = min(to, from+int64(r.chunk))
	if from >= int64(len(content)) {
		return nil, offset, nil
	}
	return []byte(content[from:to]), offset, nil
}

// Whatever happens between two reads, as long as no more is rotated away than
// is kept, every byte comes once and in order.
func TestTail_LosesAndDoublesNothing(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 1))
		log := &rotating{keep: 50, files: []string{""}, chunk: 300 + random.IntN(2000)}
		if random.IntN(4) == 0 {
			log.files = nil // not there yet
		}
		var written strings.Builder
		lines, rotations := 0, 0
		grow := func() {
			if log.files == nil {
				log.files = []string{""}
			}
			for range random.IntN(30) {
				line := fmt.Sprintf("%d line %d\n", seed, lines)
				lines++
				log.files[0] += line
				written.WriteString(line)
			}
			if random.IntN(3) == 0 && rotations < 40 && len(log.files[0]) > 0 {
				log.rotate()
				rotations++
			}
		}
		moving := random.IntN(2) == 0
		if moving {
			log.before = func() {
				if random.IntN(4) == 0 {
					grow()
				}
			}
		}
		tail := &tail{read: log.read, file: "log"}
		require.NoError(t, tail.start(context.Background(), 0))
		skipped := written.Len() - len(strings.Join(log.files, "")) // what was rotated before it began is not asked for
		require.Zero(t, skipped)
		var got strings.Builder
		read := func() bool {
			data, err := tail.next(context.Background())
			require.NoError(t, err)
			got.Write(data)
			return len(data) > 0
		}
		for range 100 {
			grow()
			read()
		}
		log.before = nil
		for read() {
		}
		want := written.String()
		if moving { // following may have begun after the first rotation
			at := strings.Index(want, firstLine(got.String()))
			require.GreaterOrEqual(t, at, 0)
			want = want[at:]
		}
		if want != got.String() {
			at := 0
			for at < min(len(want), got.Len()) && want[at] == got.String()[at] {
				at++
			}
			require.FailNow(t, "it lost or doubled something", "seed %d: %d bytes of %d, different from %d on", seed, got.Len(), len(want), at)
		}
	}
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line + "\n"
}

func TestTail_GoesOnWhenItsPlaceWasRotatedAway(t *testing.T) {
	t.Parallel()
	log := &rotating{keep: 3, files: []string{"one\n"}, chunk: 64 << 10}
	tail := &tail{read: log.read, file: "log"}
	require.NoError(t, tail.start(context.Background(), 0))
	next := func() string {
		data, err := tail.next(context.Background())
		require.NoError(t, err)
		return string(data)
	}
	require.Equal(t, "one\n", next())
	for i := range 5 {
		log.rotate()
		log.files[0] = fmt.Sprintf("file %d\n", i)
	}
	require.Equal(t, "file 2\n", next(), "the oldest that is left")
	require.Equal(t, "file 3\n", next())
	require.Equal(t, "file 4\n", next())
	require.Empty(t, next())
}

func TestTail_ATruncatedFileBeginsAgain(t *testing.T) {
	t.Parallel()
	log := &rotating{keep: 1, files: []string{"a long first line\n"}, chunk: 64 << 10}
	tail := &tail{read: log.read, file: "log"}
	require.NoError(t, tail.start(context.Background(), -5))
	data, err := tail.next(context.Background())
	require.NoError(t, err)
	require.Equal(t, "line\n", string(data))
	log.files[0] = "new\n"
	data, err = tail.next(context.Background())
	require.NoError(t, err)
	require.Equal(t, "new\n", string(data))
}

func TestReadAnswer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		answer, data string
		offset       int64
	}{
		{`{"data":"","offset":10}`, "", 10},
		{`{"offset":3,"data":"a\"b\\\n\u0001\u007f/\/"}`, "a\"b\\\n\x01\x7f//", 3},
		{"{\"data\":\"\xff\xc3\",\"offset\":0}", "\xff\xc3", 0},
	} {
		data, offset, err := readAnswer([]byte(c.answer))
		require.NoError(t, err, c.answer)
		require.Equal(t, c.data, string(data))
		require.Equal(t, c.offset, offset)
	}
	for _, bad := range []string{``, `{}`, `{"data":"`, `{"data":"\x","offset":1}`, `{"data":"\u12","offset":1}`, `{"data":"\`, `{"data":""}`, `{"data":"","offset":1`} {
		_, _, err := readAnswer([]byte(bad))
		require.Error(t, err, bad)
	}
}

// A reader whose stream broke off finds its place again, whatever was rotated
// meanwhile.
func TestTail_ResumesAfterWhatWasRead(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 2))
		log := &rotating{keep: 50, files: []string{""}, chunk: 300 + random.IntN(2000)}
		var written, got strings.Builder
		lines, offset := 0, int64(0)
		for range 10 {
			for range random.IntN(60) {
				line := fmt.Sprintf("%d line %d\n", seed, lines)
				lines++
				log.files[0] += line
				written.WriteString(line)
				if random.IntN(20) == 0 {
					log.rotate()
				}
			}
			tail := &tail{read: log.read, file: "log"}
			last := got.String()[max(0, got.Len()-256):]
			if last == "" {
				require.NoError(t, tail.startOldest(t.Context()))
			} else {
				require.NoError(t, tail.resume(t.Context(), offset, []byte(last)))
			}
			for range random.IntN(20) {
				data, err := tail.next(t.Context())
				require.NoError(t, err)
				got.Write(data)
				offset += int64(len(data))
			}
		}
		tail := &tail{read: log.read, file: "log"}
		if got.Len() > 0 {
			require.NoError(t, tail.resume(t.Context(), offset, []byte(got.String()[max(0, got.Len()-256):])))
		} else {
			require.NoError(t, tail.startOldest(t.Context()))
		}
		for {
			data, err := tail.next(t.Context())
			require.NoError(t, err)
			if len(data) == 0 {
				break
			}
			got.Write(data)
		}
		require.Equal(t, written.String(), got.String(), "seed %d", seed)
	}
}
