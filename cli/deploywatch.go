package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
)

// frameEvery bounds how often a terminal is written to.
const frameEvery = 200 * time.Millisecond

// deployWatch shows a deploy until it is over, or stands still because it failed:
// on a terminal as a frame that is drawn anew, elsewhere in lines.
type deployWatch struct {
	*app
	follow func(context.Context) iter.Seq2[*api.Deploy, error]
	// words returns what the task that failed wrote last; nil is nobody.
	words func(context.Context, *api.Deploy) []string

	view   rolloutView
	log    deployLog
	screen *screen // nil when lines are printed
	silent bool
	// worded: what the task that made the deploy fail wrote was shown.
	worded bool
}

// newDeployWatch watches a deploy, which has its spec if it can be had. above
// says what it is a part of.
func (a *app) newDeployWatch(c *client.Client, d *api.Deploy, above ...string) *deployWatch {
	w := &deployWatch{app: a, view: rolloutView{app: a, spec: d.Spec, above: above}, log: deployLog{app: a, spec: d.Spec}, silent: a.json()}
	job, number := d.Job, d.Number
	w.follow = func(ctx context.Context) iter.Seq2[*api.Deploy, error] { return c.FollowDeploy(ctx, job, number) }
	w.words = func(ctx context.Context, d *api.Deploy) []string { return a.lastWords(ctx, c, d) }
	if a.terminal && !w.silent {
		w.screen = &screen{out: a.Out, size: a.size}
	}
	return w
}

// told is one message of a deploy's stream, or why there is none now.
type told struct {
	deploy *api.Deploy
	lost   error
	err    error
}

// run returns the deploy as it is once it is over, or stands still.
func (w *deployWatch) run(ctx context.Context) (*api.Deploy, error) {
	following, stop := context.WithCancel(ctx)
	updates, ended := make(chan told), make(chan struct{})
	tell := func(t told) {
		select {
		case updates <- t:
		case <-following.Done():
		}
	}
	w.lost = func(err error) { tell(told{lost: err}) }
	go func() {
		defer close(ended)
		for d, err := range w.follow(following) {
			tell(told{deploy: d, err: err})
		}
	}()
	defer func() { <-ended }()
	defer stop()
	if w.screen != nil {
		defer w.screen.close()
		defer func() {
			if ctx.Err() != nil { // it goes on from there
				w.screen.leave()
			}
		}()
	}
	frames := time.NewTicker(frameEvery)
	defer frames.Stop()
	for {
		select {
		case t := <-updates:
			if t.err != nil {
				return nil, cmp.Or(ctx.Err(), t.err)
			}
			w.see(ctx, t)
			if t.deploy != nil && (t.deploy.State.Over() || standsStill(t.deploy)) {
				return t.deploy, nil
			}
		case <-frames.C:
			w.print(w.log.idle())
			w.draw()
		case <-ended:
			return nil, cmp.Or(ctx.Err(), errors.New("the scheduler ended the stream of the deploy before that was over"))
		}
	}
}

// see takes what was told.
func (w *deployWatch) see(ctx context.Context, t told) {
	if t.lost != nil {
		if w.view.lost.IsZero() {
			w.view.lost = w.now()
			w.print([]news{{text: fmt.Sprintf("no scheduler answers: %s; this goes on when one does", whyUnreachable(t.lost))}})
		}
		return
	}
	w.view.update(t.deploy)
	w.print(w.log.see(t.deploy))
	if w.screen != nil && t.deploy.State == api.DeployRollingBack && !w.worded {
		w.worded = true
		w.draw()
		for _, line := range w.words(ctx, t.deploy) {
			w.screen.stay(line)
		}
	}
}

func (w *deployWatch) print(lines []news) {
	for _, n := range lines {
		line := w.clock(w.now()) + "  " + n.text
		switch {
		case w.silent:
		case w.screen == nil:
			fmt.Fprintln(w.Out, line)
		case n.stays:
			w.screen.stay(line)
		}
	}
}

func (w *deployWatch) draw() {
	if w.screen != nil && w.view.deploy != nil {
		width, height := w.screen.size()
		w.screen.draw(w.view.frame(width, height))
	}
}
