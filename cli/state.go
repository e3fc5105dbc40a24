package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/perigee-sched/perigee/config"
	"github.com/perigee-sched/perigee/scheduler/backup"
	"github.com/perigee-sched/perigee/server"
)

func (a *app) stateCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "state", Short: "Back the whole state up, look at backups, and restore them", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	c.AddCommand(a.backupCommand(), a.inspectCommand(), a.restoreCommand())
	return c
}

// standardStream stands for standard input and output in the place of a file.
const standardStream = "-"

// journalFlags say which journal a command is about.
type journalFlags struct {
	file string // the configuration's
	url  string
}

func (j *journalFlags) add(c *cobra.Command, sections ...string) {
	c.Flags().StringVar(&j.url, "journal", "", "the journal, as journal.url has it: file:///directory or zk://host:2181/path")
	c.Flags().StringVar(&j.file, "config", "", "the scheduler's configuration, for what is not said here")
	config.AddServerFlags(c.Flags(), append(sections, "cluster", "journal")...)
	check(c.Flags().MarkHidden("journal-url"))
	check(c.MarkFlagFilename("config", "yaml", "yml"))
}

// load is the configuration with that journal.
func (a *app) journalConfig(j journalFlags, c *cobra.Command) (*config.Server, error) {
	if j.url != "" {
		if err := c.Flags().Set("journal-url", j.url); err != nil {
			return nil, err
		}
	}
	s, _, err := config.LoadServer(config.ServerFile(j.file, a.Environ), a.Environ, c.Flags())
	return s, err
}

func (a *app) backupCommand() *cobra.Command {
	var j journalFlags
	var minIndex uint64
	c := &cobra.Command{
		Use: "backup [FILE]", Short: "Write the whole state to a file", Args: cobra.MaximumNArgs(1),
		Long: `Writes the whole state, as of one moment, to a file: - is standard output, and
without a name it is called after the cluster and the time. Any scheduler may be
asked, the leader or a standby; nothing waits for it. --journal reads the journal
itself instead, where no scheduler answers.

The file has every secret that the state has. It is readable by its owner alone;
keep it like that.`,
		Example: "  perigee state backup\n  perigee state backup --journal file:///var/lib/perigee/journal /backup/perigee.backup",
		RunE: func(cmd *cobra.Command, args []string) error {
			to := ""
			if len(args) > 0 {
				to = args[0]
			}
			if to == standardStream && a.terminal {
				return usage("a backup is not text: name a file, or send it elsewhere than to a terminal")
			}
			if j.url == "" {
				return a.backUpLive(cmd.Context(), to, minIndex)
			}
			s, err := a.journalConfig(j, cmd)
			if err != nil {
				return err
			}
			return a.backUpJournal(cmd.Context(), s, to)
		},
	}
	j.add(c)
	c.Flags().Uint64Var(&minIndex, "min-index", 0, "wait until the scheduler shows this entry of the journal")
	return c
}

// backUpLive asks a scheduler. What it sends is checked as it comes, so that a
// file with a name is a whole backup.
func (a *app) backUpLive(ctx context.Context, to string, minIndex uint64) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	body, err := c.BackupState(ctx, minIndex)
	if err != nil {
		return err
	}
	defer body.Close()
	copied := new(switched)
	r, err := backup.NewReader(io.TeeReader(body, copied))
	if err != nil {
		return fmt.Errorf("what %s sends: %w", c.Base(), err)
	}
	return a.saveBackup(to, r.Header(), func(out io.Writer) (backup.Trailer, error) {
		if err := copied.to(out); err != nil {
			return backup.Trailer{}, err
		}
		t, err := r.Each(func(string, []byte) error { return nil })
		if err != nil {
			err = fmt.Errorf("what %s sends: %w", c.Base(), err)
		}
		return t, err
	})
}

// switched keeps what is written to it until it is known where that goes to.
type switched struct {
	kept []byte
	out  io.Writer
}

func (s *switched) Write(b []byte) (int, error) {
	if s.out != nil {
		return s.out.Write(b)
	}
	s.kept = append(s.kept, b...)
	return len(b), nil
}

func (s *switched) to(out io.Writer) error {
	_, err := out.Write(s.kept)
	s.kept, s.out = nil, out
	return err
}

func (a *app) backUpJournal(ctx context.Context, c *config.Server, to string) error {
	state, cluster, err := server.ReadState(ctx, c, logger(a.Err, c.Log))
	if err != nil {
		return err
	}
	h := state.Header(cluster, server.Version, time.Now().UTC())
	return a.saveBackup(to, h, func(out io.Writer) (backup.Trailer, error) {
		return backup.Write(out, h, state.Records(""))
	})
}

// saveBackup writes a backup where the user wants it, and says what it is.
func (a *app) saveBackup(to string, h backup.Header, write func(io.Writer) (backup.Trailer, error)) error {
	if to == standardStream {
		_, err := write(a.Out)
		return err
	}
	if to == "" {
		to = backup.FileName(h)
	}
	var t backup.Trailer
	err := backup.Save(to, func(out io.Writer) (err error) {
		t, err = write(out)
		return err
	})
	if err != nil {
		return err
	}
	if a.json() {
		return a.printJSON(struct {
			File string `json:"file"`
			backup.Header
			Size   int64  `json:"size"`
			SHA256 string `json:"sha256"`
		}{to, h, sizeOf(to), t.SHA256})
	}
	_, err = fmt.Fprintf(a.Out, "%s: %s, entry %d of incarnation %s, %s.\n", to, plural(int(t.Records), "record"), h.Index, h.Incarnation, size(apiBytes(sizeOf(to))))
	return err
}

func sizeOf(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}
