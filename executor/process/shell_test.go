package process

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestShell_ExecsSimpleCommandsOnly(t *testing.T) {
	t.Parallel()
	for line, simple := range map[string]bool{
		"./hello.pex --port $PORT_HTTP": true, "python3 -m http.server 80": true, "/usr/bin/env": true, "server --name 'a b'": true,
		"cd app": false, "A=1 ./x": false, "./a; ./b": false, "./a && ./b": false, "./a | ./b": false, "./a &": false, "./a\n./b": false,
		"if true": false, "while": false, "exit 3": false, "echo hi": false, "$CMD": false, "'./a b'": false, "`x`": false, "": false,
		"{ ./a; }": false, "! ./a": false, "~/x": false, "./a > out": false, ". ./env": false, ":": false, "test -e x": false,
	} {
		require.Equal(t, simple, isSimple(line), "%q", line)
	}
}
