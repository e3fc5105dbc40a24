package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
)

// Where executors put what tasks write.
const (
	stdoutFile = "logs/stdout"
	stderrFile = "logs/stderr"
)

func (a *app) logsCommand() *cobra.Command {
	var stderr, follow bool
	var lines int
	c := &cobra.Command{
		Use: "logs JOB[/INSTANCE|/RUN]|TASK", Short: "Show what tasks write to stdout or stderr", Args: cobra.ExactArgs(1),
		Long: `Shows the end of what tasks wrote to stdout. Of a service these are the tasks of
all instances, each line after its instance; of a cron or batch job that of the
latest run. With -f these are all runs that are at work, and it goes on as more is
written, also by the tasks that come after these. With -o json each line is an object with the job, the instance or
run, the task and the line.`,
		Example:           "  perigee logs -f web/devel/hello\n  perigee logs --stderr -n -1 web/devel/hello/0",
		ValidArgsFunction: a.completeTargets(),
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := parseTarget(args[0])
			if err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			r := &logReader{app: a, client: c, file: stdoutFile, lines: lines, follow: follow}
			if stderr {
				r.file = stderrFile
			}
			return r.run(cmd.Context(), t)
		},
	}
	c.Flags().BoolVar(&stderr, "stderr", false, "stderr instead of stdout")
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on as more is written")
	c.Flags().IntVarP(&lines, "lines", "n", 100, "begin with this many lines of each task; -1 is all")
	return c
}

// logReader prints the files of tasks, several at a time.
type logReader struct {
	*app
	client *client.Client
	file   string
	lines  int // of what is there already; -1 is all
	follow bool

	mu      sync.Mutex // of Out, and the rest
	work    sync.WaitGroup
	started map[string]bool // tasks being followed
	failed  error           // the first
}

func (r *logReader) run(ctx context.Context, t target) error {
	var w *watch
	if r.follow && t.task == "" {
		var err error
		if w, err = openWatch(ctx, r.client, client.EventFilter{Job: t.job, Type: "task.*,run.*"}); err != nil {
			return err
		}
		defer w.close()
	}
	tasks, err := r.tasks(ctx, t)
	if err != nil {
		return err
	}
	several := t.rest == "" && t.job != "" && (len(tasks) > 1 || r.follow)
	if !r.follow {
		return r.printAll(ctx, tasks, several)
	}
	for i := range tasks {
		r.followTask(ctx, r.writer(tasks[i].ID, nameOf(&tasks[i]), several))
	}
	if w != nil {
		err = r.others(ctx, w, t, several)
	}
	r.work.Wait()
	if err == nil {
		err = r.failed
	}
	return err
}

// tasks are those that a target means now.
func (r *logReader) tasks(ctx context.Context, t target) ([]api.Task, error) {
	_, instance := t.instance()
	switch {
	case t.task != "":
		task, err := r.client.Task(ctx, t.task)
		if err != nil {
			return nil, err
		}
		return []api.Task{*task}, nil
	case instance:
		task, err := instanceTask(ctx, r.client, t, true)
		if err != nil {
			return nil, err
		}
		return []api.Task{*task}, nil
	case t.run():
		run, err := r.client.Run(ctx, t.job, t.rest)
		if err != nil {
			return nil, err
		}
		if run.Task == "" && !r.follow {
			return nil, notFound("run %s of %s wrote nothing: it %s", run.ID, t.job, runIs(run.State))
		}
		return r.taskOf(ctx, run)
	}
	return r.tasksOfJob(ctx, t.job)
}

func (r *logReader) taskOf(ctx context.Context, run *api.Run) ([]api.Task, error) {
	if run.Task == "" {
		return nil, nil
	}
	task, err := r.client.Task(ctx, run.Task)
	if err != nil {
		return nil, err
	}
	return []api.Task{*task}, nil
}

// tasksOfJob are the newest of each instance, or those of runs.
func (r *logReader) tasksOfJob(ctx context.Context, name string) ([]api.Task, error) {
	job, err := r.client.Job(ctx, name)
	if err != nil {
		return nil, err
	}
	if job.Kind != api.KindService {
		return r.tasksOfRuns(ctx, name)
	}
	tasks, err := tasksOfJob(ctx, r.client, name, true)
	if err != nil {
		return nil, err
	}
	newest := map[int]int{}
	for i := range tasks {
		if n := *tasks[i].Instance; tasks[i].Host != "" || r.follow && tasks[i].EndedAt == nil {
			newest[n] = i
		}
	}
	var found []api.Task
	for n := range max(job.Instances, len(newest)) {
		if i, ok := newest[n]; ok && (tasks[i].EndedAt == nil || n < job.Instances) {
			found = append(found, tasks[i])
		}
	}
	if len(found) == 0 && !r.follow {
		return nil, notFound("no task of %s was started yet; `perigee explain %s` says why", name, name)
	}
	return found, nil
}

// tasksOfRuns are that of the latest run, and with -f those of all runs that are
// at work.
func (r *logReader) tasksOfRuns(ctx context.Context, job string) ([]api.Task, error) {
	page, err := r.client.Runs(ctx, job, client.RunFilter{Limit: 20})
	if err != nil {
		return nil, err
	}
	var found []api.Task
	for i := range page.Items {
		run := &page.Items[i]
		if run.Task == "" || len(found) > 0 && (!r.follow || overStates[run.State]) {
			continue
		}
		tasks, err := r.taskOf(ctx, run)
		if err != nil {
			return nil, err
		}
		found = append(found, tasks...)
	}
	if len(found) == 0 && !r.follow {
		return nil, notFound("no run of %s has written anything yet", job)
	}
	return found, nil
}

var prefixPaints = []paint{"36", "35", "33", "32", "34"}

// logWriter is a task as the source of lines.
type logWriter struct {
	task   string
	job    string
	runs   string // the instance or the run
	prefix string // of its lines
}

// writer is a task by what it runs, name; several says whether the lines of
// others are between its own.
func (r *logReader) writer(task, name string, several bool) logWriter {
	cut := strings.LastIndexByte(name, '/')
	w := logWriter{task: task, job: name[:cut], runs: name[cut+1:]}
	if several {
		sum := 0
		for _, c := range w.runs {
			sum += int(c)
		}
		w.prefix = r.paint(prefixPaints[sum%len(prefixPaints)], w.runs) + " │ "
	}
	return w
}

// logLine is a line as -o json prints it.
type logLine struct {
	Job      string `json:"job"`
	Instance *int   `json:"instance,omitempty"`
	Run      string `json:"run,omitempty"`
	Task     string `json:"task"`
	Line     string `json:"line"`
}

func (w logWriter) json(line []byte) []byte {
	l := logLine{Job: w.job, Task: w.task, Line: string(bytes.TrimSuffix(line, []byte("\n")))}
	if n, instance := (target{job: w.job, rest: w.runs}).instance(); instance {
		l.Instance = &n
	} else {
		l.Run = w.runs
	}
	text, err := json.Marshal(l)
	check(err)
	return append(text, '\n')
}

// printAll prints what is there of each task, one after the other.
func (r *logReader) printAll(ctx context.Context, tasks []api.Task, several bool) error {
	for i := range tasks {
		from, err := r.begin(ctx, tasks[i].ID)
		if err != nil {
			return err
		}
		content, err := r.client.ReadFile(ctx, tasks[i].ID, r.file, from, -1)
		if err != nil {
			return err
		}
		if err := r.copy(bytes.NewReader(content.Data), r.writer(tasks[i].ID, nameOf(&tasks[i]), several)); err != nil {
			return err
		}
	}
	return nil
}
