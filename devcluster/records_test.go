package devcluster

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRecords_CutAnywhereKeepsWhatWasBefore(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "meta", "records")
	r, err := openRecords(path)
	require.NoError(t, err)
	var sizes []int64
	var want []map[string][]byte
	for _, puts := range [][]put{
		{{"a", []byte("1")}}, {{"b", []byte("2")}, {"a", nil}}, {{"c", []byte{}}}, {{"b", bytes.Repeat([]byte("x"), 1000)}},
	} {
		require.NoError(t, r.write(puts))
		state := map[string][]byte{}
		for k, v := range r.values {
			state[k] = v
		}
		sizes, want = append(sizes, r.size), append(want, state)
	}
	require.NoError(t, r.close())
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	for cut := range int64(len(whole)) + 1 {
		require.NoError(t, os.WriteFile(path, whole[:cut], 0o644))
		r, err := openRecords(path)
		require.NoError(t, err)
		for i := range sizes {
			if cut == sizes[i] {
				require.Equal(t, want[i], r.values)
			}
		}
		require.NoError(t, r.write([]put{{"after", []byte("cut")}}))
		require.NoError(t, r.close())
		r, err = openRecords(path)
		require.NoError(t, err)
		require.Equal(t, []byte("cut"), r.values["after"], "cut at %d", cut)
		require.NoError(t, r.close())
	}
}

func TestRecords_FileStaysInProportion(t *testing.T) {
	t.Parallel()
	r, err := openRecords(filepath.Join(t.TempDir(), "records"))
	require.NoError(t, err)
	value := bytes.Repeat([]byte("v"), 10_000)
	for n := range 1000 {
		require.NoError(t, r.write([]put{{fmt.Sprint(n), value}}))
		require.NoError(t, r.write([]put{{fmt.Sprint(n), nil}}))
	}
	require.Less(t, r.size, int64(2<<20), "10 MB were written, nothing is left")
	require.NoError(t, r.close())
}

// FuzzRecords: no file makes opening fail, or hides what is written afterwards.
func FuzzRecords(f *testing.F) {
	f.Add([]byte{})
	f.Add(appendRecord(appendRecord(nil, "a", []byte("1")), "a", nil))
	f.Add(bytes.Repeat([]byte{0xff}, 40))
	f.Fuzz(func(t *testing.T, file []byte) {
		path := filepath.Join(t.TempDir(), "records")
		require.NoError(t, os.WriteFile(path, file, 0o644))
		r, err := openRecords(path)
		require.NoError(t, err)
		require.NoError(t, r.write([]put{{"k", []byte("v")}}))
		require.NoError(t, r.close())
		r, err = openRecords(path)
		require.NoError(t, err)
		require.Equal(t, []byte("v"), r.values["k"])
		require.NoError(t, r.close())
	})
}
