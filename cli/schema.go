package cli

import (
	"github.com/spf13/cobra"

	"github.com/perigee-sched/perigee/docs"
)

func (a *app) schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use: "schema", Short: "Print the JSON Schema of job files, for editors", Args: cobra.NoArgs,
		Long: `Prints the JSON Schema (2020-12) of job files. Editors that have the YAML language
server complete and check a job file that begins with

  # yaml-language-server: $schema=job-file.schema.json`,
		Example: "  perigee schema > job-file.schema.json",
		RunE: func(*cobra.Command, []string) error {
			_, err := a.Out.Write(docs.JobFileSchema)
			return err
		},
	}
}
