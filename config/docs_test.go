package config

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/strict"
)

// updating is server_test.go's flag, which lives in the other test package.
func updating() bool { return flag.Lookup("update").Value.String() == "true" }

func TestExamplesAreValid(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../examples/*.yaml")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 3)
	for _, f := range files {
		_, err := Load(f, Options{AllStages: true})
		require.NoError(t, err)
	}
	jobs, err := Load("../examples/worker-template/workers.yaml", Options{AllStages: true, Set: []string{"githash=9f86d08"}})
	require.NoError(t, err)
	require.Len(t, jobs, 6)
}

var yamlBlock = regexp.MustCompile("(?s)```yaml\n(.*?)```")

// TestDocumentedJobFilesAreValid: a block that does not name a job stands for
// what it says about one that is valid otherwise. Those that name their file are
// played by package cli's test of the documentation.
func TestDocumentedJobFilesAreValid(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../docs/job-files.md")
	require.NoError(t, err)
	blocks := yamlBlock.FindAllStringSubmatch(string(doc), -1)
	require.NotEmpty(t, blocks)
	for _, b := range blocks {
		text := b[1]
		if strings.HasPrefix(text, "# ") {
			continue
		}
		for _, line := range []string{"job: a/b/c", "kind: service", "command: x", "resources: {cpus: 1, memory: 1GiB}"} {
			name, _, _ := strings.Cut(line, ":")
			if !regexp.MustCompile("(?m)^" + name + ":").MatchString(text) {
				text += line + "\n"
			}
		}
		_, err := Parse("job-files.md", []byte(text), Options{})
		require.NoError(t, err, text)
	}
}

func TestDocumentedMistakesAreToldLikeThat(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../docs/job-files.md")
	require.NoError(t, err)
	wrong := strings.NewReplacer("command:", "comand:", "port: http,", "port: htp,").
		Replace(yamlBlock.FindStringSubmatch(string(doc))[1])
	_, err = Parse("hello.yaml", []byte(wrong), Options{})
	require.Error(t, err)
	require.Contains(t, string(doc), "$ perigee validate hello.yaml\nerror: "+err.Error()+"\n```")
}

var (
	row     = regexp.MustCompile("(?m)^\\| `([a-z0-9_.*\\[\\]]+)` \\| ([^|]+) \\| ")
	literal = regexp.MustCompile(`^[a-zA-Z0-9/]+$`)
)

// TestDocumentedFieldsAreThoseOfSpec also compares the defaults.
func TestDocumentedFieldsAreThoseOfSpec(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../docs/job-files.md")
	require.NoError(t, err)
	documented := map[string]string{}
	for _, r := range row.FindAllStringSubmatch(string(doc), -1) {
		documented[r[1]] = r[2]
	}
	// The least that makes every default show.
	filled := func(kind string) map[string]any {
		s, err := api.DecodeSpec([]byte(`{"job":"a/b/c","kind":"service","command":"x","ports":["p"],
			"resources":{"cpus":1,"memory":"1GiB"},"health":{"http":{"port":"p"}}}`))
		require.NoError(t, err)
		if s.Kind = api.Kind(kind); kind == "cron" {
			s.Schedule = &api.Schedule{Cron: "@daily"}
			s.Parameters = map[string]api.Parameter{"*": {}}
		}
		b, err := json.Marshal(s.WithDefaults())
		require.NoError(t, err)
		var m map[string]any
		require.NoError(t, json.Unmarshal(b, &m))
		return m
	}
	service, cron := filled("service"), filled("cron")
	canary, err := api.DecodeSpec([]byte(`{"job":"a/b/c","kind":"service","command":"x","resources":{"cpus":1,"memory":"1GiB"},
		"update":{"strategy":"canary","steps":[{"instances":1,"checks":{"gate":{"url":"http://gate"}}}]}}`))
	require.NoError(t, err)
	steps, err := json.Marshal(canary.WithDefaults().Update.Steps)
	require.NoError(t, err)
	var listed []any
	require.NoError(t, json.Unmarshal(steps, &listed))
	service["update"].(map[string]any)["steps"] = listed
	for _, name := range append(slices.Clone(ownNames), "artifacts[]."+checksumField) {
		require.Contains(t, documented, name)
		delete(documented, name)
	}
	for _, path := range specPaths(reflect.TypeFor[api.Spec](), "") {
		def, is := documented[path]
		require.True(t, is, "%s is not documented", path)
		delete(documented, path)
		if def == "required" || !literal.MatchString(def) {
			continue
		}
		got := at(service, path)
		if got == nil {
			got = at(cron, path)
		}
		switch {
		case got != nil:
			require.Equal(t, fmt.Sprint(got), def, "default of %s", path)
		default: // left out of the JSON: the zero of its type
			require.Contains(t, []string{"0", "0s", "0B", "false"}, def, "default of %s", path)
		}
	}
	require.Empty(t, documented, "documented, but no fields")
}

func at(m map[string]any, path string) any {
	var v any = m
	for _, name := range strings.Split(path, ".") {
		inner, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		name, isList := strings.CutSuffix(name, "[]")
		v = inner[name]
		if list, ok := v.([]any); isList && ok && len(list) > 0 {
			v = list[0]
		}
	}
	return v
}

// specPaths lists the fields of a spec: all leaves, and lists and maps of structs
// themselves too.
func specPaths(t reflect.Type, path string) []string {
	var all []string
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		p, ft := strict.Join(path, name), f.Type
		if ft.Kind() == reflect.Pointer {
			ft = ft.Elem()
		}
		switch {
		case ft.Kind() == reflect.Slice && ft.Elem().Kind() == reflect.Struct:
			all = append(append(all, p), specPaths(ft.Elem(), p+"[]")...)
		case ft.Kind() == reflect.Map && ft.Elem().Kind() == reflect.Struct:
			all = append(append(all, p), specPaths(ft.Elem(), p+".*")...)
		case ft.Kind() == reflect.Struct:
			all = append(all, specPaths(ft, p)...)
		default:
			all = append(all, p)
		}
	}
	return all
}

// TestConfigurationIsDocumented writes docs/configuration.md with -update.
func TestConfigurationIsDocumented(t *testing.T) {
	t.Parallel()
	const path = "../docs/configuration.md"
	got := configurationDocument(t)
	if updating() {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got, "docs/configuration.md follows from config.Server: run this test with -update")
}

const configurationHead = "# Configuration of the scheduler\n\n" +
	"<!-- Written from the tags of config.Server: go test ./config -update -->\n\n" +
	"`perigee scheduler` takes its settings from one YAML file, from the environment and from flags. A flag\n" +
	"goes before the environment, that before the file, and that before the default. An empty variable\n" +
	"counts as not set. The file is the one that `--config` or `PERIGEE_CONFIG` names, or else\n" +
	"`" + DefaultServerFile + "` if it is there:\n\n```yaml\n%s```\n\n" +
	"An unknown or misspelt setting, or a value that is not allowed, is an error that says where it was\n" +
	"given; all are told at once. A variable that begins with `PERIGEE_` and is no setting is warned about.\n" +
	"`perigee scheduler --print-config` prints the configuration, and where each value came from:\n\n```yaml\n%s```\n\n" +
	"The setting `mesos.role` is `PERIGEE_MESOS_ROLE` in the environment and `--mesos-role` as a flag; the\n" +
	"others follow the same rule.\n"

func configurationDocument(t *testing.T) string {
	const file = "mesos:\n  master: zk://z1:2181,z2:2181,z3:2181/mesos\n  user: root\napi:\n  public_url: http://perigee.example.com:7300\n"
	path := filepath.Join(t.TempDir(), "perigee.yaml")
	require.NoError(t, os.WriteFile(path, []byte(file), 0o600))
	s, origins, err := LoadServer(path, []string{"PERIGEE_MESOS_ROLE=web"}, nil)
	require.NoError(t, err)
	var printed strings.Builder
	require.NoError(t, s.Print(&printed, origins))
	_, shown, _ := strings.Cut(printed.String(), "mesos:\n")
	shown, _, _ = strings.Cut(shown, "executor:\n")

	var b strings.Builder
	fmt.Fprintf(&b, configurationHead, file, strings.ReplaceAll("mesos:\n"+shown, path, DefaultServerFile))
	section := "none"
	for _, s := range settings {
		outer, _, nested := strings.Cut(s.path, ".")
		if !nested {
			outer = ""
		}
		if outer != section {
			section = outer
			if outer != "" {
				fmt.Fprintf(&b, "\n## %s\n", outer)
			}
			b.WriteString("\n| setting | type | default | |\n| --- | --- | --- | --- |\n")
		}
		def := "`" + s.def() + "`"
		if s.def() == "" {
			def = s.unset()
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", s.path, s.kind(), def, s.help())
	}
	return b.String()
}

func TestEverySettingIsExplained(t *testing.T) {
	t.Parallel()
	flags := map[string]bool{}
	for _, s := range settings {
		require.True(t, strings.HasSuffix(s.help(), "."), s.path)
		require.True(t, s.def() != "" || s.unset() != "", "%s has neither a default nor says what none means", s.path)
		require.False(t, flags[s.flag()], "two settings have the flag --%s", s.flag())
		flags[s.flag()] = true
	}
}
