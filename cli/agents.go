package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/perigee-sched/perigee/api"
)

func (a *app) agentsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "agents", Short: "List the cluster's machines", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			agents, err := c.Agents(cmd.Context())
			if err != nil {
				return err
			}
			return list(a, agents, "Mesos has told of no agent yet. Is it running, and may this role use it?",
				[]string{"HOST", "ATTRIBUTES", "CPUS", "MEMORY", "DISK", "TASKS", "ON OFFER", "AGENT"},
				func(g api.Agent) []string {
					return []string{g.Host, attributes(g), number(g.Total.CPUs), size(g.Total.Memory), size(g.Total.Disk),
						fmt.Sprint(g.Tasks), onOffer(g), g.ID}
				})
		},
	}
}

// onOffer is what Mesos offers of an agent now: nothing while nothing waits.
func onOffer(g api.Agent) string {
	if g.Offered == (api.Resources{}) {
		return ""
	}
	return fmt.Sprintf("%s cpus, %s", number(g.Offered.CPUs), size(g.Offered.Memory))
}

func attributes(g api.Agent) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(g.Attributes)) {
		parts = append(parts, name+"="+g.Attributes[name])
	}
	return strings.Join(parts, " ")
}
