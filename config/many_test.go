package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/config"
)

const fleetTemplate = `job: pipeline/${name}
kind: service
variables:
  githash: {required: true, pattern: "[0-9a-f]{7,40}"}
  builds: https://builds.example.com
  replicas: 2
instances: ${replicas}
artifacts:
  - uri: ${builds}/${name}/${name}-${githash}.pex
    sha256_from: ${uri}.sha256
command: ./${name}-${githash}.pex --port ${PORT_HTTP} --stage ${stage}
env: {LEVEL: debug, GITHASH: "${githash}"}
resources: {cpus: 0.5, memory: 256MiB, disk: 1GiB}
ports: [http]
health: {http: {port: http}}
owners: [pipeline@example.com]
stages:
  devel:
  prod: {env: {LEVEL: info}, spread: rack}
`

// fleet writes 500 jobs of one template, in one file or each in its own.
func fleet(t testing.TB) (together string, apart []string) {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	write("worker.yaml", fleetTemplate)
	all := "extends: worker.yaml\njobs:\n"
	for i := range 500 {
		all += fmt.Sprintf("  - name: job-%d\n    variables: {replicas: %d}\n    stages: {prod: {resources: {cpus: 2}}}\n", i, i%7+1)
		apart = append(apart, write(fmt.Sprintf("job-%d.yaml", i),
			fmt.Sprintf("extends: worker.yaml\nname: job-%d\nvariables: {replicas: %d}\nstages: {prod: {resources: {cpus: 2}}}\n", i, i%7+1)))
	}
	return write("all.yaml", all), apart
}

func TestFiveHundredJobsOfOneTemplate(t *testing.T) {
	t.Parallel()
	together, apart := fleet(t)
	o := config.Options{Stage: "prod", Set: []string{"githash=9f86d08"}}
	jobs, err := config.Load(together, o)
	require.NoError(t, err)
	require.Len(t, jobs, 500)
	same, err := config.LoadFiles(apart, o)
	require.NoError(t, err)
	require.Len(t, same, 500)
	for i := range jobs {
		require.Equal(t, jobs[i].Spec, same[i].Spec)
		require.Equal(t, fmt.Sprintf("pipeline/prod/job-%d", i), jobs[i].Spec.Job)
		require.True(t, jobs[i].Confirm)
	}
	require.Equal(t, 7, *jobs[6].Spec.Instances)
}

func TestJobsThatAreSaidTwice(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	const job = "job: a/b/c\nkind: batch\ncommand: x\nresources: {cpus: 1, memory: 1GiB}\n"
	one, two, group := write("one.yaml", job), write("two.yaml", "# a copy\n"+job), write("group.yaml", "include: one.yaml\n")
	_, err := config.LoadFiles([]string{one, group}, config.Options{})
	require.NoError(t, err, "a file and the group that includes it")
	_, err = config.LoadFiles([]string{one, two}, config.Options{})
	require.ErrorContains(t, err, two+":2:1: job: a/b/c is a job on line 1 of "+one+" already")
	_, err = config.Load(write("both.yaml", "include: [one.yaml, two.yaml]\n"), config.Options{})
	require.ErrorContains(t, err, "is a job on line 1 of "+one+" already")
	_, err = config.Load(write("again.yaml", "include: [one.yaml, one.yaml]\n"), config.Options{})
	require.ErrorContains(t, err, "is a job on line 1 of "+one+" already")
}

func BenchmarkFleet(b *testing.B) {
	together, apart := fleet(b)
	for name, files := range map[string][]string{"one file": {together}, "500 files": apart} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				jobs, err := config.LoadFiles(files, config.Options{Stage: "prod", Set: []string{"githash=9f86d08"}})
				require.NoError(b, err)
				for _, j := range jobs {
					_, err := config.Render(j)
					require.NoError(b, err)
				}
			}
		})
	}
}

// TestHostileTrees would take minutes or all memory without bounds.
func TestHostileTrees(t *testing.T) {
	t.Parallel()
	chain := map[string]string{"jobs.yaml": "extends: t0.yaml\n"}
	fan := map[string]string{"jobs.yaml": "extends: [" + strings.TrimSuffix(strings.Repeat("t0.yaml, ", 50), ", ") + "]\n"}
	includes := map[string]string{"jobs.yaml": "include: [" + strings.TrimSuffix(strings.Repeat("t0.yaml, ", 90), ", ") + "]\n"}
	for i := range 30 {
		if i == 14 {
			fan["t14.yaml"], includes["t14.yaml"] = "kind: batch\n", "job: a/b/c\nkind: batch\ncommand: x\nresources: {cpus: 1, memory: 1GiB}\n"
		}
		next := fmt.Sprintf("t%d.yaml", i+1)
		chain[fmt.Sprintf("t%d.yaml", i)] = "extends: " + next + "\n"
		many := strings.TrimSuffix(strings.Repeat(next+", ", 50), ", ")
		if i >= 14 {
			continue
		}
		fan[fmt.Sprintf("t%d.yaml", i)] = "extends: [" + many + "]\nkind: batch\n"
		includes[fmt.Sprintf("t%d.yaml", i)] = "include: [" + many + "]\n"
	}
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"chain":    {chain, "is one file too many: at most 16 may lead to one another"},
		"fan":      {fan, "is too much: all jobs together have more than 1000000 values"},
		"includes": {includes, "is one job too many: at most 5000 are read together"},
		"pipe":     {map[string]string{"jobs.yaml": "extends: /dev/zero\n"}, "it is not a file"},
		"stages":   {map[string]string{"jobs.yaml": "stages: {" + strings.Repeat("s: , ", 2) + "}"}, "is given twice"},
		"repeat":   {map[string]string{"jobs.yaml": "extends: [" + strings.Repeat("t.yaml, ", 101) + "]"}, "at most 100 are allowed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for file, text := range c.files {
				require.NoError(t, os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600))
			}
			_, err := config.Load(filepath.Join(dir, "jobs.yaml"), config.Options{AllStages: true})
			require.ErrorContains(t, err, c.want)
		})
	}
}
