package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

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
latest run. With -f it goes on as more is written, also by the tasks that come
after these.`,
		Example:           "  perigee logs -f web/devel/hello\n  perigee logs --stderr -n -1 web/devel/hello/0",
		ValidArgsFunction: a.completeTargets(),
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := parseTarget(args[0])
			if err != nil {
				return err
			}
			if a.json() {
				return usage("logs are text: -o json does not apply")
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
		r.followTask(ctx, tasks[i].ID, r.prefix(nameOf(&tasks[i]), t, several))
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

// tasksOfJob are the newest of each instance, or that of the latest run.
func (r *logReader) tasksOfJob(ctx context.Context, name string) ([]api.Task, error) {
	job, err := r.client.Job(ctx, name)
	if err != nil {
		return nil, err
	}
	if job.Kind != api.KindService {
		page, err := r.client.Runs(ctx, name, client.RunFilter{Limit: 20})
		if err != nil {
			return nil, err
		}
		for i := range page.Items {
			if page.Items[i].Task != "" {
				return r.taskOf(ctx, &page.Items[i])
			}
		}
		if r.follow {
			return nil, nil
		}
		return nil, notFound("no run of %s has written anything yet", name)
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

var prefixPaints = []paint{"36", "35", "33", "32", "34"}

// prefix of the lines of a task, by what it runs: the instance or the run.
func (r *logReader) prefix(name string, t target, several bool) string {
	if !several {
		return ""
	}
	short := name[len(t.job)+1:]
	sum := 0
	for _, c := range short {
		sum += int(c)
	}
	return r.paint(prefixPaints[sum%len(prefixPaints)], short) + " │ "
}

// printAll prints what is there of each task, one after the other.
func (r *logReader) printAll(ctx context.Context, tasks []api.Task, several bool) error {
	for i := range tasks {
		prefix := ""
		if several {
			prefix = r.prefix(nameOf(&tasks[i]), target{job: tasks[i].Job}, true)
		}
		from, err := r.begin(ctx, tasks[i].ID)
		if err != nil {
			return err
		}
		content, err := r.client.ReadFile(ctx, tasks[i].ID, r.file, from, -1)
		if err != nil {
			return err
		}
		if err := r.copy(bytes.NewReader(content.Data), prefix); err != nil {
			return err
		}
	}
	return nil
}

// others follows the tasks that come, until ctx ends or the run it is about is
// over.
func (r *logReader) others(ctx context.Context, w *watch, t target, several bool) error {
	if t.run() {
		if run, err := r.client.Run(ctx, t.job, t.rest); err != nil || overStates[run.State] {
			return err
		}
	}
	n, instance := t.instance()
	for {
		e, _, err := w.next(ctx, time.Hour)
		if err != nil {
			return err
		}
		if e == nil {
			continue
		}
		d := e.Data
		switch {
		case instance && (d.Instance == nil || int(*d.Instance) != n), t.run() && d.Run != t.rest:
		case strings.HasPrefix(shortType(e), "run."):
			if t.run() && overStates[d.State] {
				return nil
			}
		case d.Host != "" && d.State != "killed":
			name := t.job + "/" + d.Run
			if d.Instance != nil && d.Run == "" {
				name = fmt.Sprintf("%s/%d", t.job, *d.Instance)
			}
			r.followTask(ctx, d.Task, r.prefix(name, t, several))
		}
	}
}

// followTask prints what a task writes until it has ended. It does not wait for
// that, and does nothing for a task it was told of before.
func (r *logReader) followTask(ctx context.Context, task, prefix string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.started[task] {
		return
	}
	if r.started == nil {
		r.started = map[string]bool{}
	}
	r.started[task] = true
	r.work.Go(func() {
		if err := r.followOne(ctx, task, prefix); err != nil && ctx.Err() == nil {
			r.mu.Lock()
			defer r.mu.Unlock()
			if r.failed == nil {
				r.failed = err
			}
		}
	})
}

func (r *logReader) wait() { r.work.Wait() }

// followOne follows a file, and goes on where it was when the connection or the
// scheduler went away.
func (r *logReader) followOne(ctx context.Context, task, prefix string) error {
	from, err := r.begin(ctx, task)
	var p *api.Problem
	if errors.As(err, &p) && (p.Status == http.StatusNotFound || p.Status == http.StatusConflict) {
		from, err = 0, nil // nothing there yet
	}
	if err != nil {
		return err
	}
	for {
		body, err := r.client.FollowFile(ctx, task, r.file, from)
		if err != nil {
			if unreachable(err) && ctx.Err() == nil {
				if err := pause(ctx); err != nil {
					return err
				}
				continue
			}
			return err
		}
		counted := &countingReader{r: body}
		err = r.copy(counted, prefix)
		body.Close()
		from += counted.n
		if err == nil || ctx.Err() != nil || !errors.Is(err, io.ErrUnexpectedEOF) && !unreachable(err) {
			return err
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

// pause is how long a reader waits for a scheduler that went away.
func pause(ctx context.Context) error {
	select {
	case <-time.After(500 * time.Millisecond):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	return n, err
}

// begin is the offset of the lines that are asked for.
func (r *logReader) begin(ctx context.Context, task string) (int64, error) {
	if r.lines < 0 {
		return 0, nil
	}
	for back := int64(r.lines)*200 + 4096; ; back *= 4 {
		c, err := r.client.ReadFile(ctx, task, r.file, -back, -1)
		if err != nil {
			return 0, err
		}
		data := c.Data
		if i := tail(data, r.lines); i > 0 || c.Offset == 0 {
			return c.Offset + int64(max(i, 0)), nil
		}
	}
}

// tail is where the last n lines of data begin, 0 when it has no more than
// those.
func tail(data []byte, n int) int {
	end := len(data)
	if n == 0 {
		return end
	}
	if end > 0 && data[end-1] == '\n' {
		end--
	}
	for ; n > 0; n-- {
		if end = bytes.LastIndexByte(data[:end], '\n'); end < 0 {
			return 0
		}
	}
	return end + 1
}

// copy prints lines after a prefix, whole ones unless it is the only task's.
func (r *logReader) copy(from io.Reader, prefix string) error {
	lines := bufio.NewReaderSize(from, 64<<10)
	for {
		line, err := lines.ReadSlice('\n')
		if len(line) > 0 {
			r.mu.Lock()
			out := append([]byte(prefix), line...)
			if prefix != "" && line[len(line)-1] != '\n' {
				out = append(out, '\n')
			}
			_, werr := r.Out.Write(out)
			r.mu.Unlock()
			if werr != nil {
				return werr
			}
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return err
		}
	}
}
