// Package cli is the command line: verbs that are thin printers over
// api/client, and the commands that run servers.
//
// It owns what a user types and reads: arguments, tables, progress, exit codes.
// What a request means is the API's; the server commands only hand their flags
// to package server, package dev and package devcluster.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/perigee-sched/perigee/api/client"
	"github.com/perigee-sched/perigee/server"
)

// DefaultAPI is where the scheduler is when nobody says otherwise.
const DefaultAPI = "http://127.0.0.1:7300"

// Streams are what a command reads and writes.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
	Environ  []string // of the form of os.Environ
}

// Standard are the process's own streams.
func Standard() Streams {
	return Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Environ: os.Environ()}
}

// Run executes a command line, without the program's name, and returns the exit
// status. extra commands are added to those of this package. When ctx ends, so
// does the command.
func Run(ctx context.Context, args []string, s Streams, extra ...*cobra.Command) int {
	a := &app{Streams: s, now: time.Now}
	a.terminal = isTerminal(s.Out)
	a.color = a.terminal && a.getenv("NO_COLOR") == "" && a.getenv("TERM") != "dumb"
	root := a.root(extra)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err != nil && !a.started && !errors.As(err, new(*exitError)) {
		err = &exitError{code: codeUsage, err: err}
	}
	if ctx.Err() != nil && err != nil {
		err = &exitError{code: codeInterrupted, err: err, quiet: errors.Is(err, context.Canceled)}
	}
	return a.report(err)
}

// app is one command being executed.
type app struct {
	Streams
	api      string // flag --api
	token    string // flag --token
	ca       string // flag --ca
	output   string // flag --output
	started  bool   // arguments and flags were right
	terminal bool   // Out is one
	color    bool
	now      func() time.Time
	lost     func(error) // told when a stream is lost and will be opened again; may be nil
}

func (a *app) getenv(name string) string {
	for _, entry := range a.Environ {
		if value, ok := strings.CutPrefix(entry, name+"="); ok {
			return value
		}
	}
	return ""
}

func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// width of the terminal, 0 when there is none.
func (a *app) width() int {
	if !a.terminal {
		return 0
	}
	w, _ := a.size()
	return w
}

// size of the terminal; a common one when it does not say.
func (a *app) size() (width, height int) {
	if f, ok := a.Out.(*os.File); ok {
		if w, h, err := term.GetSize(int(f.Fd())); err == nil && w > 0 && h > 0 {
			return w, h
		}
	}
	return 80, 24
}

const (
	groupDeploy = "deploy"
	groupLook   = "look"
	groupChange = "change"
	groupAccess = "access"
	groupServe  = "serve"
)

func (a *app) root(extra []*cobra.Command) *cobra.Command {
	root := &cobra.Command{
		Use:   "perigee",
		Short: "Services, crons and batch jobs on Apache Mesos",
		Long: `Perigee runs services, crons and batch jobs on Apache Mesos.

A job is named team/stage/name, such as web/devel/hello. Commands talk to the
scheduler that PERIGEE_API or --api names, ` + DefaultAPI + ` by default.`,
		SilenceErrors: true, SilenceUsage: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if a.output == "yaml" && cmd.Name() == "render" {
				a.output = "table" // is YAML there
			}
			if a.output != "" && a.output != "json" && a.output != "table" {
				return fmt.Errorf("-o %q is not known: it must be table or json", a.output)
			}
			return nil
		},
	}
	root.SetOut(a.Out)
	root.SetErr(a.Err)
	root.SetIn(a.In)
	root.PersistentFlags().StringVar(&a.api, "api", "", "address of the scheduler (default $PERIGEE_API, or "+DefaultAPI+")")
	root.PersistentFlags().StringVar(&a.token, "token", "", "token to show to the scheduler (default $PERIGEE_TOKEN, or ~/.config/perigee/token), better not given here, where others on this machine see it")
	root.PersistentFlags().StringVar(&a.ca, "ca", "", "file with the certificates of the authorities that the scheduler's is signed by (default $PERIGEE_CA, or those that this system trusts)")
	root.PersistentFlags().StringVarP(&a.output, "output", "o", "table", "table or json")
	root.AddGroup(
		&cobra.Group{ID: groupDeploy, Title: "Deploy jobs:"},
		&cobra.Group{ID: groupChange, Title: "Change jobs:"},
		&cobra.Group{ID: groupLook, Title: "Look at them:"},
		&cobra.Group{ID: groupAccess, Title: "Say who may:"},
		&cobra.Group{ID: groupServe, Title: "Run servers:"})
	a.add(root, groupDeploy, a.validateCommand(), a.renderCommand(), a.schemaCommand(), a.planCommand(), a.deployCommand(),
		a.rollbackCommand(), a.promoteCommand(), a.cancelCommand(), a.pulseCommand(), a.bounceCommand())
	a.add(root, groupChange, a.runCommand(), a.scaleCommand(), a.pauseCommand(), a.resumeCommand(), a.restartCommand(),
		a.killCommand(), a.skipHealthCommand(), a.removeCommand())
	a.add(root, groupLook, a.statusCommand(), a.jobsCommand(), a.taskCommand(), a.logsCommand(), a.explainCommand(), a.eventsCommand(),
		a.historyCommand(), a.agentsCommand(), a.runsCommand(), a.deploysCommand(), a.groupsCommand(), a.endpointsCommand(), a.webhookCommand())
	a.add(root, groupServe, append([]*cobra.Command{a.schedulerCommand(), a.stateCommand(), a.devCommand()}, extra...)...)
	a.add(root, groupAccess, a.tokenCommand(), a.auditCommand())
	root.AddCommand(a.versionCommand())
	a.noteStart(root)
	check(root.MarkPersistentFlagFilename("ca", "pem", "crt"))
	check(root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json"}, cobra.ShellCompDirectiveNoFileComp)))
	return root
}

// noteStart has all commands note that they run: arguments and flags were right
// then, which cobra checks to the last.
func (a *app) noteStart(c *cobra.Command) {
	if run := c.RunE; run != nil {
		c.RunE = func(cmd *cobra.Command, args []string) error {
			a.started = true
			return run(cmd, args)
		}
	}
	for _, sub := range c.Commands() {
		a.noteStart(sub)
	}
}

func (a *app) add(root *cobra.Command, group string, commands ...*cobra.Command) {
	for _, c := range commands {
		c.GroupID = group
		root.AddCommand(c)
	}
}

// check is for errors of wrong code.
func check(err error) {
	if err != nil {
		panic(err)
	}
}

// client returns a client of the scheduler that the user means.
func (a *app) client() (*client.Client, error) {
	address := a.api
	if address == "" {
		address = a.getenv("PERIGEE_API")
	}
	if address == "" {
		address = DefaultAPI
	}
	token, err := a.credentials()
	if err != nil {
		return nil, err
	}
	authorities, err := a.authorities()
	if err != nil {
		return nil, err
	}
	c, err := client.New(address, client.WithActor(actor()), client.WithToken(token), client.WithAuthorities(authorities), client.WithUserAgent("perigee/"+server.Version),
		client.WithLost(func(err error) {
			if a.lost != nil {
				a.lost(err)
			}
		}))
	if err != nil {
		return nil, usage("%w", err)
	}
	return c, nil
}

// actor is who asks, for events: the user of this process.
func actor() string {
	u, err := user.Current()
	if err != nil {
		return "unknown"
	}
	return u.Username
}

// json says whether the user wants JSON.
func (a *app) json() bool { return a.output == "json" }

// confirm asks on a terminal; elsewhere the flag --yes must have said it.
func (a *app) confirm(yes bool, question string) error {
	if yes {
		return nil
	}
	if !isTerminal(a.In) || !isTerminal(a.Err) {
		return usage("%s Say --yes: there is no terminal to ask on", question)
	}
	fmt.Fprintf(a.Err, "%s [y/N] ", question)
	var answer string
	fmt.Fscanln(a.In, &answer) // nothing is no
	if answer = strings.ToLower(answer); answer != "y" && answer != "yes" {
		return failed("nothing was changed")
	}
	return nil
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Say which version this is", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if a.json() {
				return a.printJSON(map[string]string{"version": server.Version})
			}
			_, err := fmt.Fprintln(a.Out, "perigee", server.Version)
			return err
		},
	}
}
