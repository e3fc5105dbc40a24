package config_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/config"
)

const sum = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

// withChecksum is a job of one artifact, app-1.4.pex.
func withChecksum(t *testing.T, uri, from string) config.Job {
	t.Helper()
	jobs, err := config.Parse("hello.yaml", []byte(fmt.Sprintf("job: a/b/c\nkind: batch\ncommand: x\n"+
		"resources: {cpus: 1, memory: 1GiB}\nartifacts:\n  - uri: %s\n    sha256_from: %s\n", uri, from)), config.Options{})
	require.NoError(t, err)
	require.Len(t, jobs[0].Checksums, 1)
	require.Empty(t, jobs[0].Spec.Artifacts[0].SHA256, "nothing stands for a checksum that was not read")
	return jobs[0]
}

func TestResolve(t *testing.T) {
	t.Parallel()
	other := strings.Repeat("0", 64)
	files := map[string]string{
		"bare":      sum,
		"capitals":  strings.ToUpper(sum) + "\n",
		"sha256sum": sum + "  app-1.4.pex\n",
		"binary":    sum + " *dist/app-1.4.pex\r\n",
		"only":      sum + "  other-name.pex\n",
		"several":   other + "  app-1.3.pex\n" + sum + "  ./app-1.4.pex\n",
		"tag":       "SHA256 (app-1.4.pex) = " + sum + "\n",
		"signed":    "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n" + sum + "  app-1.4.pex\n",
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, files[strings.TrimPrefix(r.URL.Path, "/")])
	}))
	t.Cleanup(server.Close)
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		for _, from := range []string{server.URL + "/" + name, "file://" + path} {
			j := withChecksum(t, "https://builds.example.com/app-1.4.pex", from)
			require.NoError(t, config.Resolve(t.Context(), server.Client(), &j), from)
			require.Equal(t, sum, j.Spec.Artifacts[0].SHA256, from)
			require.Empty(t, j.Checksums)
			require.Empty(t, j.Spec.Validate())
		}
	}
}

func TestResolveTellsWhatIsWrong(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/gone":
			http.NotFound(w, r)
		case "/page":
			fmt.Fprint(w, "<html>log in</html>")
		case "/big":
			fmt.Fprint(w, strings.Repeat(sum+"  x\n", 2000))
		case "/several":
			fmt.Fprintf(w, "%s  a.pex\n%s  b.pex\n", sum, sum)
		}
	}))
	t.Cleanup(server.Close)
	for path, want := range map[string]string{
		"/gone":    "answered 404 Not Found",
		"/page":    "has no SHA-256: it wants 64 hexadecimal digits, or lines as sha256sum writes them",
		"/empty":   "has no SHA-256",
		"/big":     "is more than 65536 bytes long",
		"/several": "has 2 checksums, and none is that of app.pex",
	} {
		j := withChecksum(t, "https://builds.example.com/app.pex", server.URL+path)
		err := config.Resolve(t.Context(), server.Client(), &j)
		require.ErrorContains(t, err, "hello.yaml:7:18: artifacts[0].sha256_from: "+server.URL+path+": "+want+"")
		require.ErrorContains(t, err, "    sha256_from: "+server.URL+path+"\n")
		require.Len(t, j.Checksums, 1, "as it was")
	}
	j := withChecksum(t, "file:///app.pex", "file:///no/such/file")
	require.ErrorContains(t, config.Resolve(t.Context(), server.Client(), &j), "no such file or directory")
	j = withChecksum(t, "file:///app.pex", "file:///dev/zero")
	require.ErrorContains(t, config.Resolve(t.Context(), server.Client(), &j), "it is not a file")
}

// silence answers no request.
type silence struct{}

func (silence) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// TestResolveGivesUp: a server that says nothing is given up after ten seconds.
func TestResolveGivesUp(t *testing.T) {
	t.Parallel()
	j := withChecksum(t, "https://builds.example.com/app.pex", "http://builds.example.com/silent")
	synctest.Test(t, func(t *testing.T) {
		client := &http.Client{Transport: silence{}}
		err := config.Resolve(t.Context(), client, &j)
		require.ErrorContains(t, err, "no answer within 10s")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.True(t, errors.Is(config.Resolve(ctx, client, &j), context.Canceled))
	})
}
