package executor_test

import (
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
)

// buildPEX builds a real PEX of testdata/pex with Debian's pex.
//
// What Debian 12's pex 1.5.3 builds does not start under its own Python 3.11
// once any package has put a .pth file there, as python3-setuptools does: it
// opens them with mode 'rU', which 3.11 no longer knows. So the tool runs from a
// copy in which that one letter is gone.
func buildPEX(t *testing.T) string {
	const python = "/usr/bin/python3"
	out, err := exec.Command(python, "-c", "import pex; print(pex.__path__[0])").Output()
	if err != nil {
		t.Skip("Debian's pex is not installed: apt-get install pex")
	}
	lib := filepath.Join(directory(t), "pex")
	require.NoError(t, os.CopyFS(lib, os.DirFS(strings.TrimSpace(string(out)))))
	util := filepath.Join(lib, "util.py")
	b, err := os.ReadFile(util)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(util, []byte(strings.ReplaceAll(string(b), "'rU'", "'r'")), 0o644))
	require.NoError(t, os.RemoveAll(filepath.Join(lib, "__pycache__")))

	source, err := filepath.Abs("testdata/pex")
	require.NoError(t, err)
	to := filepath.Join(filepath.Dir(lib), "hello.pex")
	cmd := exec.Command(python, "-m", "pex.bin.pex", "--no-pypi", "--disable-cache", "-D", source, "-e", "app:main",
		"-o", to, "--python-shebang="+python)
	cmd.Env = append(os.Environ(), "PYTHONPATH="+filepath.Dir(lib), "PYTHONDONTWRITEBYTECODE=1")
	cmd.Dir = filepath.Dir(lib)
	said, err := cmd.CombinedOutput()
	require.NoError(t, err, "pex: %s", said)
	return to
}

func TestPEX_ServesAndIsHealthy(t *testing.T) {
	t.Parallel()
	pex := buildPEX(t)
	b, err := os.ReadFile(pex)
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := l.Addr().String()
	require.NoError(t, l.Close())

	s := serve(t, content(b))
	d := checked(portOf(t, address), api.Health{})
	d.Spec.Command = "./hello.pex --port $PORT_HTTP"
	d.Spec.Artifacts = []api.Artifact{{URI: s.URL + "/hello.pex", SHA256: digest(b)}}
	if os.Getuid() == 0 {
		d.Spec.User = "nobody"
	}
	r := start(t, d)
	r.awaitHealth(true)
	resp, err := http.Get("http://" + address + "/healthz")
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, "hello from task-1", string(body))
	require.Equal(t, "serving hello from task-1\n", r.file("logs/stdout"))
	r.agent.kill("task-1", -1)
	require.Equal(t, 0, r.exit())
	require.Equal(t, "STARTING/fetch RUNNING/run RUNNING/run healthy=true KILLING/stop KILLED/end", r.updates())
}
