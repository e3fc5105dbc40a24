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
				[]string{"HOST", "ATTRIBUTES", "CPUS", "MEMORY", "DISK", "TASKS", "AGENT"},
				func(g api.Agent) []string {
					return []string{g.Host, attributes(g), amount(number(g.Offered.CPUs), number(g.Total.CPUs), g),
						amount(size(g.Offered.Memory), size(g.Total.Memory), g),
						amount(size(g.Offered.Disk), size(g.Total.Disk), g), fmt.Sprint(g.Tasks), g.ID}
				})
		},
	}
}

// amount of a resource: what is on offer, of what there is if that is known.
func amount(offered, total string, g api.Agent) string {
	if g.Total.CPUs == 0 {
		return offered + " on offer"
	}
	return offered + " of " + total
}

func attributes(g api.Agent) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(g.Attributes)) {
		parts = append(parts, name+"="+g.Attributes[name])
	}
	return strings.Join(parts, " ")
}
