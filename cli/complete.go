package cli

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
)

// completeFor bounds what a person who pressed tab waits.
const completeFor = time.Second

type completion = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective)

// completeJobs completes the first argument by the names of jobs of some kinds,
// all when none is given.
func (a *app) completeJobs(kinds ...api.Kind) completion {
	return a.completeFirst(func(ctx context.Context, c *client.Client) []string {
		return jobNames(ctx, c, kinds)
	})
}

// completeTargets completes jobs and tasks.
func (a *app) completeTargets() completion {
	return a.completeFirst(func(ctx context.Context, c *client.Client) []string {
		return append(jobNames(ctx, c, nil), taskNames(ctx, c)...)
	})
}

func (a *app) completeTasks() completion { return a.completeFirst(taskNames) }

func (a *app) completeFirst(names func(context.Context, *client.Client) []string) completion {
	return func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		const nothing = cobra.ShellCompDirectiveNoFileComp
		if len(args) > 0 {
			return nil, nothing
		}
		c, err := a.client()
		if err != nil {
			return nil, nothing
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completeFor)
		defer cancel()
		var fit []string
		for _, name := range names(ctx, c) {
			if strings.HasPrefix(name, begun) {
				fit = append(fit, name)
			}
		}
		return fit, nothing
	}
}

func jobNames(ctx context.Context, c *client.Client, kinds []api.Kind) []string {
	page, err := c.Jobs(ctx, client.JobFilter{Limit: 500})
	if err != nil {
		return nil
	}
	var names []string
	for _, j := range page.Items {
		fits := len(kinds) == 0
		for _, k := range kinds {
			fits = fits || j.Kind == k
		}
		if fits {
			names = append(names, j.Job+"\t"+string(j.Kind)+", "+j.State)
		}
	}
	return names
}

func taskNames(ctx context.Context, c *client.Client) []string {
	page, err := c.Tasks(ctx, client.TaskFilter{Limit: 500})
	if err != nil {
		return nil
	}
	var names []string
	for _, t := range page.Items {
		names = append(names, t.ID+"\t"+nameOf(&t)+", "+t.State)
	}
	return names
}

// completeFiles completes the names of job files.
func completeFiles(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return []string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
}
