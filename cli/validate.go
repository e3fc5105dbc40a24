package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/config"
)

func (a *app) validateCommand() *cobra.Command {
	var f fileFlags
	var allStages bool
	c := &cobra.Command{
		Use: "validate FILE...", Short: "Check job files without deploying them", Args: cobra.MinimumNArgs(1),
		Long: `Checks job files, without a scheduler or a network. Every stage is checked unless
--stage chooses one.`,
		Example:           "  perigee validate jobs/*.yaml --set githash=0000000",
		ValidArgsFunction: completeFiles,
		RunE: func(_ *cobra.Command, args []string) error {
			if allStages && f.stage != "" {
				return usage("--stage chooses one stage, --all-stages takes all: leave out one of them")
			}
			o := f.options(a)
			o.AllStages = o.Stage == ""
			jobs, err := config.LoadFiles(args, o)
			if a.json() {
				return a.printValidity(jobs, err)
			}
			if err != nil {
				return err
			}
			a.tellValid(jobs)
			return nil
		},
	}
	f.add(c)
	c.Flags().BoolVar(&allStages, "all-stages", false, "check every stage, as is done without --stage")
	return c
}

// tellValid lists the jobs, of a file that has many their number.
func (a *app) tellValid(jobs []config.Job) {
	const many = 20
	inFile := map[string]int{}
	for _, j := range jobs {
		inFile[j.File]++
	}
	for _, j := range jobs {
		switch n := inFile[j.File]; {
		case n > many:
			fmt.Fprintf(a.Out, "%s is valid: %d jobs\n", j.File, n)
			inFile[j.File] = 0
		case n > 0:
			fmt.Fprintf(a.Out, "%s is valid: %s, a %s\n", j.File, j.Spec.Job, kindWord(j.Spec.Kind))
		}
	}
}

func kindWord(k api.Kind) string {
	if k == api.KindBatch {
		return "batch job"
	}
	return string(k)
}

// validity is what validate prints as JSON.
type validity struct {
	Valid    bool          `json:"valid"`
	Jobs     []validJob    `json:"jobs"`
	Problems []fileProblem `json:"problems"`
}

type validJob struct {
	Job     string `json:"job"`
	Kind    string `json:"kind"`
	Stage   string `json:"stage"`
	Confirm bool   `json:"confirm"`
	File    string `json:"file"`
	Line    int    `json:"line"`
}

// fileProblem is one thing that is wrong. File is empty for one with a flag,
// which Where names.
type fileProblem struct {
	Where   string   `json:"where"`
	File    string   `json:"file,omitempty"`
	Line    int      `json:"line,omitempty"`
	Column  int      `json:"column,omitempty"`
	Path    string   `json:"path,omitempty"`
	Message string   `json:"message"`
	Source  string   `json:"source,omitempty"`
	Context []string `json:"context,omitempty"`
}

// printValidity prints what was found as JSON.
func (a *app) printValidity(jobs []config.Job, err error) error {
	v := validity{Valid: err == nil, Jobs: []validJob{}, Problems: []fileProblem{}}
	for _, j := range jobs {
		v.Jobs = append(v.Jobs, validJob{Job: j.Spec.Job, Kind: string(j.Spec.Kind), Stage: j.Stage, Confirm: j.Confirm, File: j.File, Line: j.Line})
	}
	var wrong *config.Error
	if err != nil && !errors.As(err, &wrong) {
		return err
	}
	if wrong != nil {
		for _, p := range wrong.Problems {
			v.Problems = append(v.Problems, fileProblem{Where: p.Where, File: p.File, Line: p.Line, Column: p.Column,
				Path: p.Path, Message: p.Message, Source: p.Source, Context: p.Context})
		}
	}
	if printErr := a.printJSON(v); printErr != nil || err == nil {
		return printErr
	}
	return &exitError{code: codeInvalid, err: err, quiet: true}
}
