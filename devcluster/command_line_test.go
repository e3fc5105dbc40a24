package devcluster

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestCommand_OptionsPerAgent(t *testing.T) {
	t.Parallel()
	cmd := Command()
	require.NoError(t, cmd.ParseFlags([]string{"--agents", "3", "--resources", "cpus:1", "--resources", "cpus:2",
		"--attributes", "rack:r{n};zone:z1", "--simulate", "2s"}))
	f := flags{agents: 3, resources: []string{"cpus:1", "cpus:2"}, attributes: []string{"rack:r{n};zone:z1"}, simulate: 2 * time.Second}
	opts, err := f.options()
	require.NoError(t, err)
	simulated := &Simulation{Duration: 2 * time.Second}
	require.Equal(t, []AgentOptions{
		{Resources: "cpus:1", Attributes: "rack:r1;zone:z1", Simulated: simulated},
		{Resources: "cpus:2", Attributes: "rack:r2;zone:z1", Simulated: simulated},
		{Resources: "cpus:2", Attributes: "rack:r3;zone:z1", Simulated: simulated},
	}, opts.Agents)
}

func TestOpen_RefusesBadOptions(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		what string
		opts Options
		err  string
	}{
		{"no directory", Options{}, "no directory is given"},
		{"resources", Options{Dir: t.TempDir(), Agents: []AgentOptions{{Resources: "cpus=4"}}}, `agent 1: "cpus=4": write name:value`},
		{"quantity", Options{Dir: t.TempDir(), Agents: []AgentOptions{{}, {Resources: "cpus:many"}}}, `agent 2: resource "cpus": "many" is no quantity`},
		{"range", Options{Dir: t.TempDir(), Agents: []AgentOptions{{Resources: "ports:[9-1]"}}}, `resource "ports": "9-1" is no range`},
		{"attributes", Options{Dir: t.TempDir(), Agents: []AgentOptions{{Attributes: "rack"}}}, `"rack": write name:value`},
		{"address", Options{Dir: t.TempDir(), Listen: "nowhere"}, `listen on "nowhere"`},
	} {
		t.Run(tt.what, func(t *testing.T) {
			if tt.opts.Listen == "" {
				tt.opts.Listen = "127.0.0.1:0"
			}
			_, err := Open(tt.opts)
			require.ErrorContains(t, err, tt.err)
		})
	}
	_, err := flags{agents: 0}.options()
	require.ErrorContains(t, err, "--agents is 0")
}
