package cli

import (
	"github.com/spf13/cobra"

	"github.com/perigee-sched/perigee/config"
)

// fileFlags are those of the commands that read job files.
type fileFlags struct {
	stage string
	set   []string
	files []string
}

func (f *fileFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.stage, "stage", "", "take this `STAGE` of a file that has stages")
	c.Flags().StringArrayVar(&f.set, "set", nil, "give a variable of the file a value, as `NAME=VALUE`; may be repeated")
	c.Flags().StringArrayVar(&f.files, "set-file", nil, "give variables the values in a YAML or JSON `FILE`; may be repeated, --set goes before it")
	check(c.RegisterFlagCompletionFunc("stage", func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		var stages []string
		for _, path := range args {
			stages = append(stages, config.Stages(path)...)
		}
		return stages, cobra.ShellCompDirectiveNoFileComp
	}))
}

func (f *fileFlags) options(a *app) config.Options {
	return config.Options{Stage: f.stage, Set: f.set, SetFiles: f.files, Stdin: a.In}
}
