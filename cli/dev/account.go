package dev

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/perigee-sched/perigee/api/client"
)

// account says where everything is, deploys the examples, and tells what
// happens to them and to others.
func (o *Options) account(ctx context.Context, url, master string) error {
	c, err := client.New(url, client.WithActor("perigee dev"), client.WithPatience(10*time.Second))
	if err != nil {
		return err
	}
	if err := o.awaitReady(ctx, c); err != nil {
		return ignoreEnd(ctx, err)
	}
	o.Tell(fmt.Sprintf("API      %s", url))
	o.Tell(fmt.Sprintf("Mesos    http://%s, %d agents, one each in the racks r1 to r%d (devcluster: real processes, no isolation)", master, o.Agents, o.Agents))
	o.Tell(fmt.Sprintf("State    %s, with the log in %s", shown(o.Dir), shown(o.path("log"))))
	o.Tell("")
	events, err := c.Events(ctx, client.EventFilter{})
	if err != nil {
		return ignoreEnd(ctx, err)
	}
	defer events.Close()
	if o.Examples != "" {
		o.deployExamples(ctx, c)
	}
	o.whatNext(url)
	for event, err := range events.All(ctx) {
		if err != nil {
			return ignoreEnd(ctx, err)
		}
		if newsworthy(strings.TrimPrefix(event.Type, "dev.perigee.")) {
			o.TellEvent(&event)
		}
	}
	return nil
}

// awaitReady waits until the scheduler is subscribed. It asks: before it leads
// there is nothing that could tell.
func (o *Options) awaitReady(ctx context.Context, c *client.Client) error {
	for {
		if err := c.Ready(ctx); err == nil {
			return nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func ignoreEnd(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (o *Options) whatNext(url string) {
	command := o.Command
	if url != "http://127.0.0.1:7300" {
		command = "PERIGEE_API=" + url + " " + command
	}
	try := []string{"status", "deploy FILE", "events -f"}
	if o.Examples != "" {
		try = []string{"status", "logs -f web/devel/hello", "run web/devel/sum --param to=1000 --logs", "explain web/devel/hello"}
	}
	o.Tell("")
	o.Tell("In another terminal:")
	for _, what := range try {
		o.Tell("  " + command + " " + what)
	}
	o.Tell("Ctrl-C ends everything, tasks too; started again, it goes on with the same jobs.")
	o.Tell("")
}

// newsworthy are the events that a person wants to see; `perigee events -f`
// shows all.
func newsworthy(typ string) bool {
	switch typ {
	case "task.ready", "task.unhealthy", "task.failed", "task.lost", "run.succeeded", "run.failed", "run.skipped",
		"run.missed", "run.cancelled", "deploy.succeeded", "deploy.failed", "deploy.superseded":
		return true
	}
	return strings.HasPrefix(typ, "job.") && typ != "job.created"
}
