package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// The checked-in code must be what the .proto files give: nobody edits one without the other.
func TestCheckedInCodeIsCurrent(t *testing.T) {
	t.Parallel()
	root, err := moduleRoot()
	require.NoError(t, err)
	files, err := generate(root)
	require.NoError(t, err)
	require.NotEmpty(t, files)
	want := map[string]bool{}
	for _, f := range files {
		want[filepath.Base(f.name)] = true
		checkedIn, err := os.ReadFile(filepath.Join(root, f.name))
		require.NoError(t, err, "run: go generate ./scheduler/record")
		require.True(t, string(checkedIn) == string(f.content),
			"%s is not what the .proto files give; run: go generate ./scheduler/record", f.name)
	}
	present, err := filepath.Glob(filepath.Join(root, recordDir, "*.pb.go"))
	require.NoError(t, err)
	for _, p := range present {
		require.True(t, want[filepath.Base(p)], "%s has no .proto file; remove it", filepath.Base(p))
	}
}

func TestGenerateNamesTheFileAndLineOfAnError(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(root, recordDir), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(root, recordDir, "bad.proto"),
		[]byte("syntax = \"proto3\";\nmessage Bad { strin name = 1; }\n"), 0o644))
	_, err := generate(root)
	require.ErrorContains(t, err, "scheduler/record/bad.proto:2:15")
	_, err = generate(t.TempDir())
	require.ErrorContains(t, err, "no .proto file")
}
