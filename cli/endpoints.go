package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
	"github.com/perigee-sched/perigee/cli/endpoints"
)

// endpointFlags are those of `endpoints`.
type endpointFlags struct {
	watch                   bool
	template, file, command string
}

func (a *app) endpointsCommand() *cobra.Command {
	var f endpointFlags
	c := &cobra.Command{
		Use: "endpoints JOB...", Short: "List the instances that serve, or keep a file with them current", Args: cobra.MinimumNArgs(1),
		Long: `Lists the instances of services that serve now, with their hosts and ports; with
--watch also every change of that. --template makes text of them, for a load
balancer say: ` + strings.Join(endpoints.BuiltIn(), ", ") + `, or a file with a Go template. With --file
that goes into a file, which is whole at any moment and changes only when what it
says does; --exec runs a command after it changed.

While no scheduler answers, the file stays as it is.`,
		Example: `  perigee endpoints web/prod/checkout
  perigee endpoints web/prod/checkout --watch --template haproxy-servers \
      --file /etc/haproxy/checkout.cfg --exec 'systemctl reload haproxy'`,
		ValidArgsFunction: a.completeAllJobs(api.KindService),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, job := range args {
				if err := checkJob(job); err != nil {
					return err
				}
			}
			switch {
			case f.command != "" && f.file == "":
				return usage("--exec is run after a file changed: name it with --file")
			case f.file != "" && f.template == "":
				return usage("--file needs --template, which says what to write: %s, or a file", strings.Join(endpoints.BuiltIn(), ", "))
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			return a.endpoints(cmd.Context(), c, unique(args), f)
		},
	}
	c.Flags().BoolVarP(&f.watch, "watch", "w", false, "go on with every change")
	c.Flags().StringVarP(&f.template, "template", "t", "", "make text of them: "+strings.Join(endpoints.BuiltIn(), ", ")+", or a file with a Go template")
	c.Flags().StringVar(&f.file, "file", "", "write that into a file")
	c.Flags().StringVar(&f.command, "exec", "", "run a command after the file changed")
	check(c.RegisterFlagCompletionFunc("template", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return endpoints.BuiltIn(), cobra.ShellCompDirectiveDefault
	}))
	return c
}

// unique are texts without those that were there before.
func unique(texts []string) []string {
	var kept []string
	for _, t := range texts {
		if !slices.Contains(kept, t) {
			kept = append(kept, t)
		}
	}
	return kept
}

// completeAllJobs completes every argument by the name of a job.
func (a *app) completeAllJobs(kinds ...api.Kind) completion {
	one := a.completeJobs(kinds...)
	return func(cmd *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
		return one(cmd, nil, begun)
	}
}

func (a *app) endpoints(ctx context.Context, c *client.Client, jobs []string, f endpointFlags) error {
	services := make([]endpoints.Service, 0, len(jobs))
	for _, name := range jobs {
		j, err := c.Job(ctx, name) // also: a name that is wrong is told now
		if err != nil {
			return err
		}
		if j.Kind != api.KindService {
			return usage("%s is a %s: only services have endpoints", name, j.Kind)
		}
		if f.watch {
			continue
		}
		e, err := c.Endpoints(ctx, name)
		if err != nil {
			return err
		}
		services = append(services, endpoints.NewService(j.Spec.Ports, e))
	}
	var t *endpoints.Template
	if f.template != "" {
		var err error
		if t, err = endpoints.ReadTemplate(f.template); err != nil {
			return &exitError{code: codeInvalid, err: err}
		}
	}
	k := &endpoints.Keeper{Template: t, File: f.file, Command: f.command, Output: a.Err, Tell: a.teller()}
	switch {
	case f.watch:
		return a.watchEndpoints(ctx, c, jobs, k)
	case f.file != "":
		return k.Once(services)
	case t != nil:
		return a.printRendered(t, services)
	}
	return a.printEndpoints(services)
}

// teller tells what happens beside the output, with the time.
func (a *app) teller() func(string) {
	var mu sync.Mutex
	return func(text string) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintln(a.Err, a.clock(a.now())+"  "+text)
	}
}

func (a *app) printRendered(t *endpoints.Template, services []endpoints.Service) error {
	text, err := t.Render(services)
	if err != nil {
		return err
	}
	_, err = a.Out.Write(text)
	return err
}

func (a *app) printEndpoints(services []endpoints.Service) error {
	if a.json() {
		all := []api.Endpoints{}
		for _, s := range services {
			all = append(all, api.Endpoints{Job: s.Job, Index: s.Index, Endpoints: s.Endpoints})
		}
		return a.printJSON(all)
	}
	t := a.table("JOB", "INSTANCE", "HOST", "PORTS", "DEPLOY", "TASK", "SINCE")
	n := 0
	for _, s := range services {
		for _, e := range s.Endpoints {
			n++
			t.add(s.Job, fmt.Sprint(e.Instance), e.Host, portsOf(e.Ports), fmt.Sprint(e.Deploy), e.Task, a.ago(e.ReadyAt))
		}
	}
	if n == 0 {
		_, err := fmt.Fprintln(a.Out, "No instance serves. `perigee explain JOB` says why.")
		return err
	}
	return t.print(a.Out)
}

func portsOf(p map[string]uint32) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(p)) {
		parts = append(parts, fmt.Sprintf("%s=%d", name, p[name]))
	}
	return strings.Join(parts, " ")
}

// watchEndpoints follows jobs until ctx ends, and keeps a file or tells changes.
func (a *app) watchEndpoints(ctx context.Context, c *client.Client, jobs []string, k *endpoints.Keeper) error {
	follower := &endpoints.Follower{Source: c, Jobs: jobs, Tell: k.Tell}
	a.lost = func(err error) { follower.Lost("no scheduler answers: " + whyUnreachable(err)) }
	ctx, stop := context.WithCancel(ctx)
	updates := make(chan []endpoints.Service)
	var refused error
	var work sync.WaitGroup
	work.Go(func() {
		defer stop()
		refused = follower.Run(ctx, updates)
	})
	err := a.showEndpoints(ctx, updates, k)
	stop()
	work.Wait()
	return cmp.Or(refused, err)
}

// showEndpoints keeps a file current, or prints, until ctx ends.
func (a *app) showEndpoints(ctx context.Context, updates <-chan []endpoints.Service, k *endpoints.Keeper) error {
	if k.File != "" {
		k.Run(ctx, updates)
		return ctx.Err()
	}
	p := &endpointPrinter{app: a, template: k.Template, shown: map[string]string{}}
	for {
		select {
		case services := <-updates:
			if err := p.print(services); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// endpointPrinter tells changes of endpoints on standard output.
type endpointPrinter struct {
	*app
	template *endpoints.Template
	shown    map[string]string // what each job, or each endpoint, was told to be
	last     string
	began    bool
}

func (p *endpointPrinter) print(services []endpoints.Service) error {
	switch {
	case p.template != nil:
		text, err := p.template.Render(services)
		if err != nil || string(text) == p.last {
			return err
		}
		p.last = string(text)
		_, err = p.Out.Write(text)
		return err
	case p.json():
		return p.printEach(services)
	case !p.began:
		p.began = true
		p.changes(services)
		return p.printEndpoints(services)
	}
	for _, line := range p.changes(services) {
		if _, err := fmt.Fprintln(p.Out, line); err != nil {
			return err
		}
	}
	return nil
}

// printEach prints each job that changed, one a line.
func (p *endpointPrinter) printEach(services []endpoints.Service) error {
	for _, s := range services {
		serving, err := json.Marshal(s.Endpoints)
		if err != nil {
			return err
		}
		if string(serving) == p.shown[s.Job] {
			continue
		}
		p.shown[s.Job] = string(serving)
		if err := json.NewEncoder(p.Out).Encode(api.Endpoints{Job: s.Job, Index: s.Index, Endpoints: s.Endpoints}); err != nil {
			return err
		}
	}
	return nil
}

// changes are a line for each endpoint that came or went.
func (p *endpointPrinter) changes(services []endpoints.Service) []string {
	now := map[string]string{}
	var lines []string
	for _, s := range services {
		for _, e := range s.Endpoints {
			now[e.Task] = fmt.Sprintf("%s/%d on %s, %s, deploy %d, task %s", s.Job, e.Instance, e.Host, portsOf(e.Ports), e.Deploy, e.Task)
			if p.shown[e.Task] == "" {
				lines = append(lines, p.clock(p.now())+"  "+p.paint(green, "+ ")+now[e.Task])
			}
		}
	}
	for _, task := range slices.Sorted(maps.Keys(p.shown)) {
		if now[task] == "" {
			lines = append(lines, p.clock(p.now())+"  "+p.paint(red, "- ")+p.shown[task])
		}
	}
	p.shown = now
	return lines
}
