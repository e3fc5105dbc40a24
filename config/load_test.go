package config_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/config"
)

// TestLoad plays the scripts in testdata/load. Each has flags in its first
// line, files after lines such as "-- jobs.yaml --", of which jobs.yaml is the
// one to load, and at its end what a user sees; -update writes that.
func TestLoad(t *testing.T) {
	t.Parallel()
	scripts, err := filepath.Glob("testdata/load/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, scripts)
	for _, path := range scripts {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			t.Parallel()
			s := readScript(t, path)
			got := s.play(t)
			if flag.Lookup("update").Value.String() == "true" {
				require.NoError(t, os.WriteFile(path, []byte(s.input+"-- want --\n"+got), 0o644))
				return
			}
			require.Equal(t, s.want, got)
		})
	}
}

type script struct {
	input, want string // want is the last file
	flags       []string
	files       map[string]string
}

func readScript(t *testing.T, path string) script {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	s := script{files: map[string]string{}}
	s.input, s.want, _ = strings.Cut(string(data), "-- want --\n")
	head, rest, _ := strings.Cut(s.input, "-- ")
	s.flags = strings.Fields(strings.TrimPrefix(strings.SplitN(head, "\n", 2)[0], "#"))
	for rest != "" {
		name, body, ok := strings.Cut(rest, " --\n")
		require.True(t, ok, "%s: a file's name is written -- name --", path)
		body, rest, _ = strings.Cut(body, "\n-- ")
		s.files[name] = strings.TrimSuffix(body, "\n") + "\n"
	}
	return s
}

// options reads the flags as the command line does.
func (s script) options(t *testing.T, dir string) (config.Options, string) {
	t.Helper()
	o, file := config.Options{}, "jobs.yaml"
	for i := 0; i < len(s.flags); i++ {
		switch f := s.flags[i]; f {
		case "--all-stages":
			o.AllStages = true
		case "--stage":
			i++
			o.Stage = s.flags[i]
		case "--set":
			i++
			o.Set = append(o.Set, s.flags[i])
		case "--set-file":
			i++
			o.SetFiles = append(o.SetFiles, filepath.Join(dir, s.flags[i]))
		default:
			file = f
		}
	}
	return o, filepath.Join(dir, file)
}

// play loads the job file and returns its jobs, rendered, or what is wrong.
func (s script) play(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range s.files {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	o, path := s.options(t, dir)
	jobs, err := config.Load(path, o)
	if err != nil {
		var wrong *config.Error
		require.ErrorAs(t, err, &wrong)
		return strings.ReplaceAll(err.Error(), dir+"/", "") + "\n"
	}
	var out strings.Builder
	for i, j := range jobs {
		text, err := config.Render(j)
		require.NoError(t, err)
		if i > 0 {
			out.WriteString("---\n")
		}
		out.WriteString(text)
		requireSame(t, j, text)
	}
	return strings.ReplaceAll(out.String(), dir+"/", "/DIR/")
}

// requireSame: what Render writes reads as the same job.
func requireSame(t *testing.T, j config.Job, rendered string) {
	t.Helper()
	again, err := config.Parse("rendered.yaml", []byte(rendered), config.Options{})
	require.NoError(t, err, rendered)
	require.Len(t, again, 1)
	require.Equal(t, canonical(t, j.Spec), canonical(t, again[0].Spec), rendered)
	require.Equal(t, j.Confirm, again[0].Confirm)
	require.Len(t, again[0].Checksums, len(j.Checksums))
}
