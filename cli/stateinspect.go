package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/backup"
	"github.com/perigee-sched/perigee/server"
)

func apiBytes(n int64) api.Bytes { return api.Bytes(n) }

func (a *app) inspectCommand() *cobra.Command {
	var j journalFlags
	var records string
	var verify bool
	c := &cobra.Command{
		Use: "inspect FILE", Short: "Say what a backup, or a journal, holds", Args: cobra.MaximumNArgs(1),
		Long: `Says what a backup holds, after it has checked all of it; or what the journal
holds that --journal names, which is not changed. --verify also loads it as a
scheduler would. --records prints the records whose keys begin so, one a line, as
JSON, with every secret in them.`,
		Example: "  perigee state inspect perigee.backup\n  perigee state inspect perigee.backup --records job/web/",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 == (j.url == "") {
				return usage("name a FILE, or a journal with --journal")
			}
			state, h, file, err := a.openState(cmd, j, args)
			if err != nil {
				return err
			}
			if verify {
				if err := backup.Verify(state); err != nil {
					return &exitError{code: codeInvalid, err: fmt.Errorf("no scheduler could go on with this state: %w", err)}
				}
			}
			if cmd.Flags().Changed("records") {
				return backup.Dump(a.Out, state, records)
			}
			summary, err := backup.Summarize(h, state)
			if err != nil {
				return &exitError{code: codeInvalid, err: err}
			}
			return a.printState(summary, file, verify)
		},
	}
	j.add(c)
	c.Flags().StringVar(&records, "records", "", "print the records whose keys begin so, as JSON")
	c.Flags().BoolVar(&verify, "verify", false, "load it, as a scheduler would")
	return c
}

// backupFile is what is known of a backup beside what is in it.
type backupFile struct {
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// openState reads the backup or the journal that a command is about; file is nil
// for a journal.
func (a *app) openState(cmd *cobra.Command, j journalFlags, args []string) (*backup.State, backup.Header, *backupFile, error) {
	if j.url == "" {
		return a.readBackup(args[0])
	}
	c, err := a.journalConfig(j, cmd)
	if err != nil {
		return nil, backup.Header{}, nil, err
	}
	state, cluster, err := server.ReadState(cmd.Context(), c, logger(a.Err, c.Log))
	if err != nil {
		return nil, backup.Header{}, nil, err
	}
	return state, state.Header(cluster, "", time.Time{}), nil, nil
}

// readBackup reads a whole backup. One that is not whole is a wrong file.
func (a *app) readBackup(path string) (*backup.State, backup.Header, *backupFile, error) {
	in := io.NopCloser(a.In)
	if path != standardStream {
		f, err := os.Open(path)
		if err != nil {
			return nil, backup.Header{}, nil, err
		}
		in = f
	}
	defer in.Close()
	counted := &counting{in: in}
	state, h, t, err := backup.Read(counted)
	if err != nil {
		if wrongBackup(err) {
			err = &exitError{code: codeInvalid, err: fmt.Errorf("%s: %w", path, err)}
		}
		return nil, h, nil, err
	}
	return state, h, &backupFile{Size: counted.n, SHA256: t.SHA256}, nil
}

// wrongBackup says whether the file is to blame.
func wrongBackup(err error) bool {
	return errors.Is(err, backup.ErrNotBackup) || errors.As(err, new(*backup.VersionError)) ||
		errors.As(err, new(*backup.TruncatedError)) || errors.As(err, new(*backup.DamagedError))
}

type counting struct {
	in io.Reader
	n  int64
}

func (c *counting) Read(b []byte) (int, error) {
	n, err := c.in.Read(b)
	c.n += int64(n)
	return n, err
}

func (a *app) printState(s *backup.Summary, file *backupFile, verified bool) error {
	if a.json() {
		return a.printJSON(struct {
			*backup.Summary
			*backupFile
			Verified bool `json:"verified,omitempty"`
		}{s, file, verified})
	}
	t := a.table()
	add := func(name, value string) {
		if value != "" {
			t.add(a.paint(dim, name), value)
		}
	}
	add("Cluster", s.Cluster)
	add("Incarnation", s.Incarnation)
	add("Framework", s.Framework)
	add("Entry", fmt.Sprintf("%d of epoch %d", s.Index, s.Epoch))
	if file != nil {
		add("Made", fmt.Sprintf("%s by perigee %s", stamp(s.At), s.Program))
		add("Size", fmt.Sprintf("%s, SHA-256 %s", size(apiBytes(file.Size)), file.SHA256))
	}
	if s.Newest != nil {
		add("Tells of", fmt.Sprintf("%s to %s", stamp(*s.Oldest), stamp(*s.Newest)))
	}
	add("Tasks", tasksByState(s.Tasks))
	for _, r := range s.Restores {
		add("Restored", fmt.Sprintf("%s from entry %d of incarnation %s, a backup of %s%s", stamp(r.At), r.Index, r.Incarnation, stamp(r.MadeAt), prefixed(", by ", r.By)))
	}
	if verified {
		add("Verified", "a scheduler can go on with it")
	}
	if err := t.print(a.Out); err != nil {
		return err
	}
	return a.printStateTables(s)
}

func (a *app) printStateTables(s *backup.Summary) error {
	kinds := a.table("KIND", "RECORDS", "SIZE", "NOTE")
	for _, k := range s.Kinds {
		note := ""
		if k.Unknown {
			note = "not known to this version, and kept as it is"
		}
		kinds.add(k.Kind, fmt.Sprint(k.Records), size(apiBytes(k.Bytes)), note)
	}
	fmt.Fprintln(a.Out)
	if err := kinds.print(a.Out); err != nil || len(s.Jobs) == 0 {
		return err
	}
	jobs := a.table("JOB", "KIND", "INSTANCES", "DEPLOY", "TASKS", "RUNS", "STATE")
	for _, j := range s.Jobs {
		instances := ""
		if j.Kind == api.KindService {
			instances = fmt.Sprint(j.Instances)
		}
		jobs.add(j.Job, string(j.Kind), instances, fmt.Sprint(j.Deploy), fmt.Sprint(j.Tasks), fmt.Sprint(j.Runs), j.State)
	}
	fmt.Fprintln(a.Out)
	return jobs.print(a.Out)
}

// tasksByState is how many tasks live, by state, the most first.
func tasksByState(tasks map[string]int) string {
	all, parts := 0, []string{}
	names := make([]string, 0, len(tasks))
	for name, n := range tasks {
		all += n
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		if tasks[a] != tasks[b] {
			return tasks[b] - tasks[a]
		}
		return strings.Compare(a, b)
	})
	for _, name := range names {
		parts = append(parts, fmt.Sprintf("%d %s", tasks[name], name))
	}
	if all == 0 {
		return "none lives"
	}
	return fmt.Sprintf("%s: %s", plural(all, "live task"), strings.Join(parts, ", "))
}

// stamp is a time with its zone: a backup may be read elsewhere.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }
