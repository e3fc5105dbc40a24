package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/config"
)

func (a *app) renderCommand() *cobra.Command {
	var f fileFlags
	var allStages bool
	c := &cobra.Command{
		Use: "render FILE...", Short: "Print the jobs of files, with everything filled in", Args: cobra.MinimumNArgs(1),
		Long: `Prints the jobs of files as a deploy would send them: templates, stages and
variables are filled in. It needs no scheduler and no network, so checksums that
are read when deploying are left as they are. What it prints is a job file
itself; with -o json it is an array of specs, as the HTTP API takes them.`,
		Example:           "  perigee render checkout.yaml --stage prod --set githash=9f86d08",
		ValidArgsFunction: completeFiles,
		RunE: func(_ *cobra.Command, args []string) error {
			if allStages && f.stage != "" {
				return usage("--stage chooses one stage, --all-stages takes all: leave out one of them")
			}
			o := f.options(a)
			o.AllStages = allStages
			jobs, err := config.LoadFiles(args, o)
			if err != nil {
				return err
			}
			a.tellUnresolved(jobs)
			if a.json() {
				specs := make([]api.Spec, len(jobs))
				for i, j := range jobs {
					specs[i] = j.Spec
				}
				return a.printJSON(specs)
			}
			return a.renderAll(jobs)
		},
	}
	f.add(c)
	c.Flags().BoolVar(&allStages, "all-stages", false, "print every stage of the jobs")
	return c
}

func (a *app) renderAll(jobs []config.Job) error {
	for i, j := range jobs {
		text, err := config.Render(j)
		if err != nil {
			return err
		}
		if i > 0 {
			text = "---\n" + text
		}
		if _, err := fmt.Fprint(a.Out, text); err != nil {
			return err
		}
	}
	return nil
}

// tellUnresolved says which checksums are missing in what is printed.
func (a *app) tellUnresolved(jobs []config.Job) {
	n := 0
	for _, j := range jobs {
		n += len(j.Checksums)
	}
	switch {
	case n == 0:
	case n == 1:
		fmt.Fprintln(a.Err, a.paint(dim, "A checksum is not filled in: sha256_from is read when deploying."))
	default:
		fmt.Fprintln(a.Err, a.paint(dim, fmt.Sprintf("%d checksums are not filled in: sha256_from is read when deploying.", n)))
	}
}
