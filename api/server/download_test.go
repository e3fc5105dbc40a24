package server_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/server"
)

// Where who asks must be known, agents download the executor with the key that
// is in the URL which Mesos was given, from any scheduler; others are told of none.
func TestExecutor_TakesAKey(t *testing.T) {
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "perigee-executor")
	require.NoError(t, os.WriteFile(binary, []byte("#!executor"), 0o755))
	leader, standby, _ := beginPairOf(t, &pair{access: &server.Access{Reads: server.ReadsOpen}, executor: binary})
	admin := leader.token("admin", "*")
	standby.eventually("it has read the secret", func() bool { return standby.engine.View().Cluster().GetSecret() != nil })
	sum := strings.Repeat("5f", 32)
	key := server.ExecutorKey(leader.engine.View(), sum)
	require.Len(t, key, 64)
	require.Equal(t, key, server.ExecutorKey(standby.engine.View(), strings.ToUpper(sum)))
	require.NotEqual(t, key, server.ExecutorKey(leader.engine.View(), strings.Repeat("60", 32)))
	for _, w := range []*world{leader, standby} {
		require.Equal(t, "#!executor", w.do("GET", api.ExecutorPath+"?sha256="+sum+"&key="+key, "").body)
		require.Equal(t, http.StatusOK, w.do("HEAD", api.ExecutorPath+"?sha256="+sum+"&key="+key, "").status)
		nothing := w.do("GET", "/v1/executor/perigee-executer", "").problem(http.StatusNotFound)
		for _, query := range []string{"", "?sha256=" + sum, "?key=" + key, "?sha256=" + sum + "&key=", "?sha256=" + sum + "&key=" + key[1:],
			"?sha256=" + strings.Repeat("60", 32) + "&key=" + key, "?sha256=" + sum + "&key=" + strings.ToUpper(key)} {
			p := w.do("GET", api.ExecutorPath+query, "").problem(http.StatusNotFound)
			require.Equal(t, strings.Replace(nothing.Detail, "executer", "executor", 1), p.Detail, query)
			w.do("GET", api.ExecutorPath+query, "", admin).problem(http.StatusNotFound)
		}
	}
}
