package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/config"
)

func (a *app) validateCommand() *cobra.Command {
	return &cobra.Command{
		Use: "validate FILE...", Short: "Check job files without deploying them", Args: cobra.MinimumNArgs(1),
		Long:              "Checks job files, without a scheduler. With -o json it prints the specs that a deploy would send.",
		ValidArgsFunction: completeFiles,
		RunE: func(_ *cobra.Command, args []string) error {
			specs := []api.Spec{}
			var errs []error
			for _, path := range args {
				found, err := config.ReadJobFile(path)
				if err != nil {
					errs = append(errs, err)
					continue
				}
				specs = append(specs, found...)
				for _, s := range found {
					if !a.json() {
						fmt.Fprintf(a.Out, "%s is valid: %s, a %s\n", path, s.Job, s.Kind)
					}
				}
			}
			if len(errs) > 0 {
				return errors.Join(errs...)
			}
			if a.json() {
				return a.printJSON(specs)
			}
			return nil
		},
	}
}
