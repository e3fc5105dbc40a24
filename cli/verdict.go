package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
)

// codeOfDeploy is the exit status for how a deploy ended.
func codeOfDeploy(s api.DeployState) int {
	switch s {
	case api.DeploySucceeded:
		return 0
	case api.DeployRolledBack:
		return codeRolledBack
	case api.DeployCancelled:
		return codeCancelled
	case api.DeploySuperseded:
		return codeSuperseded
	}
	return codeDeployFailed
}

// verdict is how a deploy ended, as an error unless it is in a state that is
// wanted. What the failing task wrote is told unless worded says that it was.
func (a *app) verdict(ctx context.Context, c *client.Client, end *api.Deploy, worded bool, wanted ...api.DeployState) error {
	for _, w := range wanted {
		if end.State == w {
			return a.succeeded(end)
		}
	}
	if standsStill(end) {
		return a.undecided(ctx, c, end)
	}
	text := fmt.Sprintf("deploy %d of %s %s%s", end.Number, end.Job, ended(string(end.State)), prefixed(": ", oneLine(end.Reason)))
	if !worded && end.State != api.DeploySuperseded && end.State != api.DeployCancelled {
		if words := a.lastWords(ctx, c, end); len(words) > 0 {
			text += "\n" + strings.Join(words, "\n")
		}
	}
	text += fmt.Sprintf("\n`perigee deploys %s %d` shows more", end.Job, end.Number)
	return &exitError{code: codeOfDeploy(end.State), err: errors.New(text)}
}

// standsStill says whether a deploy failed, and neither goes on nor returns until
// somebody decides.
func standsStill(d *api.Deploy) bool {
	return !d.State.Over() && d.Rollout != nil && d.Rollout.Failed != ""
}

// undecided is the verdict of one that stands still.
func (a *app) undecided(ctx context.Context, c *client.Client, d *api.Deploy) error {
	text := fmt.Sprintf("deploy %d of %s has failed, and stands still: %s", d.Number, d.Job, oneLine(d.Rollout.Failed))
	for _, line := range a.lastWords(ctx, c, d) {
		text += "\n" + line
	}
	view := &rolloutView{app: a, deploy: d}
	text += fmt.Sprintf("\n`perigee resume %s --deploy` has it go on%s", d.Job, view.undo())
	return &exitError{code: codeStandsStill, err: errors.New(text)}
}

func (a *app) succeeded(end *api.Deploy) error {
	if a.json() {
		return nil
	}
	text := fmt.Sprintf("Deploy %d of %s %s", end.Number, end.Job, a.state(ended(string(end.State))))
	if end.State == api.DeploySucceeded && end.Updated > 0 && end.Kind != api.DeployInPlace { // none are once a later one was begun
		text += fmt.Sprintf(": %d of %d instances ready, in %s", end.Updated, end.Instances, a.took(&end.CreatedAt, end.EndedAt))
	}
	// "was rolled back by ann", not "was rolled back; rolled back by ann".
	reason := strings.TrimSuffix(oneLine(end.Reason), ".")
	if state, _ := strings.CutPrefix(ended(string(end.State)), "was "); strings.HasPrefix(reason, state+" by ") {
		text += strings.TrimPrefix(reason, state)
	} else if reason != "" {
		text += "; " + reason
	}
	text += "."
	if r := end.Rollout; r != nil && r.Phase == api.PhaseKeeping && r.Until != nil {
		text += fmt.Sprintf("\nThe old set is kept until %s: `perigee rollback %s` switches back at once.", a.clock(*r.Until), end.Job)
	}
	_, err := fmt.Fprintln(a.Out, text)
	return err
}

// Bounds of what is shown of a failing task's files.
const (
	wordLines = 10
	wordBytes = 16 << 10
	wordsTime = 5 * time.Second
)

// lastWords is the task that failed last on a deploy's spec, and the last lines
// that it wrote; nothing when none failed.
func (a *app) lastWords(ctx context.Context, c *client.Client, d *api.Deploy) []string {
	ctx, cancel := context.WithTimeout(ctx, wordsTime)
	defer cancel()
	tasks, err := tasksOfJob(ctx, c, d.Job, true)
	if err != nil {
		return nil
	}
	var t *api.Task
	for i := range tasks {
		// Of instances: not the runs of a cron that has this spec.
		if x := &tasks[i]; x.Deploy == d.Number && x.Instance != nil && (x.State == "failed" || x.State == "finished") &&
			(t == nil || x.EndedAt != nil && t.EndedAt != nil && x.EndedAt.After(*t.EndedAt)) {
			t = x
		}
	}
	if t == nil {
		return nil
	}
	failed := fmt.Sprintf("  task %s of %s on %s %s", t.ID, nameOf(t), t.Host, t.State)
	known := d.Reason
	if d.Rollout != nil {
		known += d.Rollout.Cause + d.Rollout.Failed
	}
	if !strings.Contains(known, t.Message) {
		failed += ": " + oneLine(said(t))
	}
	for _, file := range []string{stderrFile, stdoutFile} {
		content, err := c.ReadFile(ctx, t.ID, file, -wordBytes, -1)
		if err != nil || len(bytes.TrimSpace(content.Data)) == 0 {
			continue
		}
		data := content.Data[tail(content.Data, wordLines):]
		lines := []string{fmt.Sprintf("%s; its last lines in %s:", failed, file)}
		for line := range strings.Lines(strings.ToValidUTF8(string(data), "")) {
			lines = append(lines, "    "+plainLine(strings.TrimRight(line, "\r\n")))
		}
		return lines
	}
	return []string{failed + "; it wrote nothing, or that cannot be read any more"}
}

// ended says how a deploy or run ended, after its name.
func ended(state string) string {
	switch state {
	case "superseded", "cancelled", "skipped", "missed":
		return "was " + state
	case "rolled_back":
		return "was rolled back"
	}
	return strings.ReplaceAll(state, "_", " ")
}
