package backup

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// sample is records of several chunks, some of a kind that nobody knows.
func sample(n int) (Header, map[string][]byte) {
	rng := rand.New(rand.NewPCG(1, 2))
	records := map[string][]byte{"cluster": []byte("c"), "zebra/1": {0xff, 0, 1}}
	for i := range n {
		value := make([]byte, 200+rng.IntN(3000))
		for j := range value {
			value[j] = byte(rng.IntN(256))
		}
		records[fmt.Sprintf("task/%06d", i)] = value
	}
	records["empty/1"] = nil
	h := Header{Cluster: "north", Incarnation: "abcd", Framework: "f-1", Index: 77, Epoch: 3,
		At: time.Date(2027, 3, 1, 2, 3, 4, 0, time.UTC), Program: "1.2.3", Records: map[string]uint64{}}
	for key := range records {
		h.Records[KindOf(key)]++
	}
	return h, records
}

func sorted(records map[string][]byte) iter.Seq2[string, []byte] {
	keys := make([]string, 0, len(records))
	for key := range records {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return func(yield func(string, []byte) bool) {
		for _, key := range keys {
			if !yield(key, records[key]) {
				return
			}
		}
	}
}

func written(t *testing.T, n int) ([]byte, Header, map[string][]byte) {
	t.Helper()
	h, records := sample(n)
	var b bytes.Buffer
	_, err := Write(&b, h, sorted(records))
	require.NoError(t, err)
	return b.Bytes(), h, records
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	t.Parallel()
	b, h, records := written(t, 800)
	r, err := NewReader(bytes.NewReader(b))
	require.NoError(t, err)
	require.Equal(t, h, r.Header())
	require.Equal(t, Current, r.Version())
	got, last := map[string][]byte{}, ""
	trailer, err := r.Each(func(key string, value []byte) error {
		require.Greater(t, key, last)
		last = key
		got[key] = bytes.Clone(value)
		return nil
	})
	require.NoError(t, err)
	require.Len(t, got, len(records))
	for key, value := range records {
		require.True(t, bytes.Equal(value, got[key]), key)
	}
	require.Equal(t, uint64(len(records)), trailer.Records)
	sum := sha256.Sum256(b[:trailer.Bytes])
	require.Equal(t, hex.EncodeToString(sum[:]), trailer.SHA256, "of all before the trailer")
	require.Greater(t, bytes.Count(chunkStarts(t, b), []byte{byte(recordsChunk)}), 2, "this is about several chunks")
}

// chunkStarts are the kinds of the chunks.
func chunkStarts(t *testing.T, b []byte) (kinds []byte) {
	t.Helper()
	for _, at := range boundaries(b) {
		if at < len(b) {
			kinds = append(kinds, b[at])
		}
	}
	return kinds
}

// boundaries are where chunks begin, and where the file ends.
func boundaries(b []byte) []int {
	at := []int{headBytes}
	for at[len(at)-1] < len(b) {
		from := at[len(at)-1]
		at = append(at, from+headBytes+int(binary.LittleEndian.Uint32(b[from+4:])))
	}
	return at
}

func readAll(b []byte) error {
	_, _, _, err := Read(bytes.NewReader(b))
	return err
}

func TestTruncated_IsToldAtEveryPlace(t *testing.T) {
	t.Parallel()
	b, _, _ := written(t, 400)
	cuts := []int{1, 5, 8, 15, 16, 17}
	for _, at := range boundaries(b) {
		cuts = append(cuts, at-1, at, at+1, at+headBytes-1, at+headBytes, at+headBytes+1)
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for range 60 {
		cuts = append(cuts, rng.IntN(len(b)))
	}
	for _, at := range cuts {
		if at <= 0 || at >= len(b) {
			continue
		}
		err := readAll(b[:at])
		var truncated *TruncatedError
		require.ErrorAs(t, err, &truncated, "cut at %d of %d", at, len(b))
		require.Equal(t, int64(at), truncated.At)
		require.ErrorContains(t, err, fmt.Sprintf("it ends at byte %d", at))
		require.LessOrEqual(t, truncated.From, truncated.At)
	}
	require.NoError(t, readAll(b))
}

func TestTruncated_SaysHowMuchIsThere(t *testing.T) {
	t.Parallel()
	b, h, _ := written(t, 400)
	at := boundaries(b)
	err := readAll(b[:at[3]])
	require.ErrorContains(t, err, fmt.Sprintf("it ends at byte %d, before its trailer, with ", at[3]))
	require.ErrorContains(t, err, fmt.Sprintf("of %d records: copy it again", total(h.Records)))
	err = readAll(b[:at[3]+20])
	require.ErrorContains(t, err, fmt.Sprintf("it ends at byte %d, in a chunk of records that begins at byte %d", at[3]+20, at[3]))
}

func TestFlippedBits_AreDamage(t *testing.T) {
	t.Parallel()
	b, _, _ := written(t, 100)
	rng := rand.New(rand.NewPCG(5, 6))
	offsets := []int{8, 9, 10, 12, 15}
	for _, at := range boundaries(b) {
		for n := range headBytes + 2 {
			offsets = append(offsets, at+n)
		}
	}
	for range 100 {
		offsets = append(offsets, len(magic)+rng.IntN(len(b)-len(magic)))
	}
	for _, at := range offsets {
		if at >= len(b) {
			continue
		}
		damagedCopy := bytes.Clone(b)
		damagedCopy[at] ^= 1 << rng.IntN(8)
		var d *DamagedError
		err := readAll(damagedCopy)
		require.ErrorAs(t, err, &d, "byte %d", at)
		require.LessOrEqual(t, d.Offset, int64(at), "the damage is told where it is, or where its chunk begins")
	}
}

func TestOtherDamage(t *testing.T) {
	t.Parallel()
	b, _, _ := written(t, 400)
	at := boundaries(b)
	err := readAll(append(bytes.Clone(b), "more"...))
	require.ErrorContains(t, err, "4 bytes follow the trailer")
	without := append(bytes.Clone(b[:at[2]]), b[at[3]:]...) // each chunk is right by itself
	require.ErrorAs(t, readAll(without), new(*DamagedError))
	swapped := slices.Concat(b[:at[1]], b[at[2]:at[3]], b[at[1]:at[2]], b[at[3]:])
	require.ErrorContains(t, readAll(swapped), "comes after")
	twice := slices.Concat(b[:at[1]], b[headBytes:])
	require.ErrorContains(t, readAll(twice), "there is the header where records or the trailer should be")
	huge := chunkHead(recordsChunk, packedPlain, nil)
	binary.LittleEndian.PutUint32(huge[4:], 1<<31)
	binary.LittleEndian.PutUint32(huge[12:], checksum(huge[:12]))
	require.ErrorContains(t, readAll(slices.Concat(b[:at[1]], huge)), "claims to have 2147483648 bytes")
	bomb := make([]byte, maxChunkBytes+10)
	packing, packed := newPacker().pack(bomb)
	require.ErrorContains(t, readAll(slices.Concat(b[:at[1]], chunkHead(recordsChunk, packing, packed), packed)), "decompressed")
}

func TestNotABackup(t *testing.T) {
	t.Parallel()
	err := readAll(nil)
	require.ErrorIs(t, err, ErrNotBackup)
	require.ErrorContains(t, err, "it is empty")
	for _, text := range []string{"x", "PK\x03\x04", "perigee journal, layout 1\n", "PERIGLOG" + strings.Repeat("\x00", 100)} {
		require.ErrorIs(t, readAll([]byte(text)), ErrNotBackup, text)
	}
}

func TestNewerVersion(t *testing.T) {
	t.Parallel()
	b, _, _ := written(t, 10)
	newer := append(fileHead(Version{Major: 2, Minor: 1}), b[headBytes:]...)
	err := readAll(newer)
	require.Equal(t, &VersionError{Found: Version{2, 1}, Reads: Current}, err)
	require.ErrorContains(t, err, "has format 2.1, and this Perigee reads up to 1.x")
	require.ErrorContains(t, readAll(append(fileHead(Version{Major: 3}), "nothing that this version knows"...)), "has format 3.0")
}

// A minor version that is newer has fields more.
func TestNewerMinorVersionIsRead(t *testing.T) {
	t.Parallel()
	b, _, records := written(t, 10)
	at := boundaries(b)
	raw, err := unpack(b[headBytes+1], b[2*headBytes:at[1]])
	require.NoError(t, err)
	raw = append([]byte(`{"compartments": [1, 2], `), raw[1:]...)
	newer := slices.Concat(fileHead(Version{Major: Current.Major, Minor: 9}), chunkHead(headerChunk, packedPlain, raw), raw,
		b[at[1]:at[len(at)-2]])
	sum := sha256.Sum256(newer)
	end := fmt.Appendf(nil, `{"records": %d, "bytes": %d, "sha256": "%x", "signed": true}`, len(records), len(newer), sum)
	newer = slices.Concat(newer, chunkHead(trailerChunk, packedPlain, end), end)
	s, h, _, err := Read(bytes.NewReader(newer))
	require.NoError(t, err)
	require.Equal(t, "north", h.Cluster)
	require.Equal(t, []byte{0xff, 0, 1}, s.Get("zebra/1"), "what is not known stays")
}

func TestWriteRefusesWhatItWouldNotRead(t *testing.T) {
	t.Parallel()
	h, records := sample(3)
	h.Records["task"]++
	_, err := Write(io.Discard, h, sorted(records))
	require.ErrorContains(t, err, "the header counts")
	h.Records["task"]--
	_, err = Write(io.Discard, h, func(yield func(string, []byte) bool) { _ = yield("b", nil) && yield("a", nil) })
	require.ErrorContains(t, err, `key "a" comes after "b"`)
	_, err = Write(full{}, h, sorted(records))
	require.ErrorContains(t, err, "no space left")
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, fmt.Errorf("no space left on device") }
