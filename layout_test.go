package main_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/perigee-sched/perigee/"

// source is one package's files, tests left out.
type source struct {
	dir     string
	files   []*ast.File
	imports []string
}

func sources(t *testing.T) map[string]*source {
	t.Helper()
	all := map[string]*source{}
	fset := token.NewFileSet()
	require.NoError(t, filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && (strings.HasPrefix(d.Name(), ".") && p != "." || d.Name() == "testdata") {
			if err == nil {
				err = filepath.SkipDir
			}
			return err
		}
		if !strings.HasSuffix(p, ".go") || strings.HasSuffix(p, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(fset, p, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		dir := filepath.ToSlash(filepath.Dir(p))
		if all[dir] == nil {
			all[dir] = &source{dir: dir}
		}
		s := all[dir]
		s.files = append(s.files, f)
		for _, i := range f.Imports {
			name, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			s.imports = append(s.imports, name)
		}
		return nil
	}))
	return all
}

func within(dir string, roots ...string) bool {
	return slices.ContainsFunc(roots, func(r string) bool { return dir == r || strings.HasPrefix(dir, r+"/") })
}

// TestImports: api ← core ← engine ← the server; adapters never import each
// other.
func TestImports(t *testing.T) {
	adapters := []string{"scheduler/journal/file", "scheduler/journal/memory", "scheduler/journal/zk", "scheduler/lease/memory",
		"scheduler/lease/static", "scheduler/lease/zk", "scheduler/mesos", "scheduler/gate", "scheduler/history", "scheduler/webhook", "scheduler/oidc"}
	// The simulation plays the driver's part, with the driver's own messages.
	mayNameAdapters := []string{"server", "cli", "scheduler/sim"}
	for dir, s := range sources(t) {
		for _, name := range s.imports {
			to, ours := strings.CutPrefix(name, module)
			if !ours {
				continue
			}
			if within(dir, "api", "executor") && !within(dir, "api/server") {
				require.False(t, within(to, "scheduler"), "%s imports %s: api and executor know nothing of the scheduler", dir, to)
			}
			if within(dir, "scheduler/core") {
				require.True(t, within(to, "api", "scheduler/record"), "%s imports %s: core decides on api and records alone", dir, to)
			}
			if within(dir, "scheduler/engine") {
				require.True(t, within(to, "api", "scheduler/core", "scheduler/record", "scheduler/journal", "scheduler/lease"), "%s imports %s", dir, to)
			}
			if within(dir, "devcluster") {
				require.False(t, within(to, "scheduler", "api"), "%s imports %s: devcluster stands for Mesos, not for Perigee", dir, to)
			}
			if within(to, adapters...) && !within(dir, to) {
				require.True(t, within(dir, mayNameAdapters...), "%s imports %s: only the server names adapters", dir, to)
			}
			if within(to, "scheduler/engine") {
				require.True(t, within(dir, "server", "cli", "api/server", "scheduler/history", "scheduler/webhook"), "%s imports %s", dir, to)
			}
		}
	}
}

// TestPure: the code that decides has no goroutine, lock, clock or I/O.
func TestPure(t *testing.T) {
	impure := []string{"os", "net", "net/http", "io", "bufio", "sync", "sync/atomic", "context", "log", "log/slog", "math/rand", "math/rand/v2", "crypto/rand", "os/exec", "syscall"}
	all := sources(t)
	for _, dir := range []string{"scheduler/core", "scheduler/plan", "devcluster/model", "scheduler/record"} {
		s := all[dir]
		require.NotNil(t, s, dir)
		for _, f := range s.files {
			if ast.IsGenerated(f) {
				continue
			}
			for _, i := range f.Imports {
				name, err := strconv.Unquote(i.Path.Value)
				require.NoError(t, err)
				require.NotContains(t, impure, name, "%s imports %s", dir, name)
			}
			ast.Inspect(f, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.GoStmt:
					t.Errorf("%s has a go statement", dir)
				case *ast.SelectorExpr:
					if pkg, ok := n.X.(*ast.Ident); ok && pkg.Name == "time" && pkg.Obj == nil {
						require.NotContains(t, []string{"Now", "Since", "Until", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick", "Sleep"}, n.Sel.Name, "%s reads a clock", dir)
					}
				}
				return true
			})
		}
	}
}

// TestPackageComments: every package says what it owns.
func TestPackageComments(t *testing.T) {
	for dir, s := range sources(t) {
		require.True(t, slices.ContainsFunc(s.files, func(f *ast.File) bool { return f.Doc != nil || f.Name.Name == "main" }),
			"package %s has no comment", path.Base(dir))
	}
}
