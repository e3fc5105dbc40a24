package core

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// The catalogue has what core tells, and nothing else, but for what is a test: the
// types that its source names, and those made of a state that is entered.
func TestCatalogue_HasWhatIsTold(t *testing.T) {
	t.Parallel()
	named, computed := typesInSource(t)
	entered := map[string][]string{
		"task.":         enumerated(maps.Keys(record.TaskState_name), func(n int32) string { return StateName(record.TaskState(n)) }),
		"run.":          enumerated(maps.Keys(record.RunState_name), func(n int32) string { return StateName(record.RunState(n)) }),
		"deploy.":       deploysEnter(),
		"deploy_group.": {"succeeded", "failed", "rolled_back"}, // endGroup's callers
	}
	require.ElementsMatch(t, slices.Collect(maps.Keys(entered)), slices.Collect(maps.Keys(computed)))
	for prefix, names := range entered {
		for _, name := range names {
			named[prefix+name] = true
		}
	}
	named["webhook.test"] = true // by scheduler/webhook, to one consumer
	catalogue := api.EventTypes()
	for typ := range named {
		require.NotEmpty(t, catalogue[typ].Type, "%s is told, and not in the catalogue: add it to api/eventtypes.go", typ)
	}
	for typ := range catalogue {
		require.True(t, named[typ], "nothing in core tells %s, which is in the catalogue", typ)
	}
}

// typesInSource are the string literals that look like a type of events, and the
// beginnings of those that end in StateName(…).
func typesInSource(t *testing.T) (named, computed map[string]bool) {
	named, computed = map[string]bool{}, map[string]bool{}
	looksLikeType := regexp.MustCompile(`^[a-z_]+\.[a-z_]+$`)
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		require.NoError(t, err)
		ast.Inspect(parsed, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.BasicLit:
				if text, err := strconv.Unquote(n.Value); n.Kind == token.STRING && err == nil && looksLikeType.MatchString(text) {
					named[text] = true
				}
			case *ast.BinaryExpr:
				lit, isText := n.X.(*ast.BasicLit)
				call, isCall := n.Y.(*ast.CallExpr)
				if !isText || !isCall || n.Op != token.ADD {
					return true
				}
				if fun, ok := call.Fun.(*ast.Ident); ok && fun.Name == "StateName" && strings.HasSuffix(lit.Value, `."`) {
					computed[strings.Trim(lit.Value, `"`)] = true
				}
			}
			return true
		})
	}
	require.Greater(t, len(named), 30)
	return named, computed
}

// enumerated are an enumeration's names, but for the first, which none has.
func enumerated(numbers func(func(int32) bool), name func(int32) string) []string {
	var names []string
	for n := range numbers {
		if n != 0 {
			names = append(names, name(n))
		}
	}
	return names
}

// deploysEnter are the states that deploys go to; they begin with deploy.started.
func deploysEnter() []string {
	var names []string
	for _, to := range deployTransitions {
		for state := range to {
			if name := StateName(state); !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// Who asks is the actor of what that causes at once; a deploy that is begun for
// somebody else has that author.
func TestEvents_SayWhoCausedThem(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.do("lead")
	actors := func(actor string, op Op) map[string]string {
		w.requests++
		by := map[string]string{}
		for _, e := range w.step(Request{ID: w.requests, Actor: actor, Op: op}).Events {
			by[e.Type] = e.Actor
		}
		return by
	}
	put := PutJob{Notes: Notes{Author: "ada"}}
	put.Spec, put.Canonical = w.spec([]byte(`{"job":"web/prod/site","kind":"service","instances":1}`))
	by := actors("ci", put)
	require.Equal(t, "ci", by["job.created"])
	require.Equal(t, "ada", by["deploy.started"])
	require.Empty(t, by["task.pending"], "Perigee starts it")
	require.Equal(t, "bob", actors("bob", SteerDeploy{Job: "web/prod/site", Action: SteerPause})["deploy.paused"])
	by = actors("eve", RemoveJob{Job: "web/prod/site"})
	require.Equal(t, "eve", by["job.removing"])
	require.Equal(t, "eve", by["deploy.cancelled"])
	require.Empty(t, w.core.acting)
}
