package file

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/perigee-sched/perigee/scheduler/journal"
)

// ErrNoJournal says that a directory holds no journal.
var ErrNoJournal = errors.New("there is no journal")

// Read passes what a directory's journal holds to apply, as Lead would, and
// changes nothing; what a crash left unfinished stays. While a scheduler has the
// journal open it fails with *InUseError, and no scheduler opens it meanwhile.
func Read(ctx context.Context, dir string, o Options, apply journal.Applier) error {
	if err := read(ctx, filepath.Clean(dir), o, apply); err != nil {
		return fmt.Errorf("read journal %s: %w", dir, err)
	}
	return nil
}

func read(ctx context.Context, dir string, o Options, apply journal.Applier) error {
	held, err := lockToRead(dir)
	if err != nil {
		return err
	}
	if held != nil {
		defer held.Close()
	}
	if err := checkFinished(dir); err != nil {
		return err
	}
	exists, err := checkLayout(dir)
	if err == nil && !exists {
		if _, err = os.Stat(dir); err == nil {
			err = ErrNoJournal
		}
	}
	if err != nil {
		return err
	}
	j := &Journal{dir: dir, log: o.Logger}
	if j.log == nil {
		j.log = slog.New(slog.DiscardHandler)
	}
	return j.readOnly(ctx, apply)
}

// Read does what the function Read does, for who has the journal open.
func (j *Journal) Read(ctx context.Context, apply journal.Applier) error {
	exists, err := checkLayout(j.dir)
	if err == nil && !exists {
		err = ErrNoJournal
	}
	if err == nil {
		reader := &Journal{dir: j.dir, log: j.log}
		err = reader.readOnly(ctx, apply)
	}
	if err != nil {
		return fmt.Errorf("read journal %s: %w", j.dir, err)
	}
	return nil
}

// readOnly is what lead does as long as it changes nothing.
func (j *Journal) readOnly(ctx context.Context, apply journal.Applier) error {
	if _, err := readEpoch(j.dir); err != nil {
		return err
	}
	var err error
	if j.manifest, err = readManifest(j.dir); err != nil {
		return err
	}
	r, err := j.readRecords(ctx, apply)
	if err != nil {
		return err
	}
	_, last, err := j.readLog(ctx, r)
	if err == nil && last.torn {
		s := j.segments[len(j.segments)-1]
		j.log.Warn("the last write to the journal was never completed nor acknowledged, and is left out", "file", s.path, "offset", s.end)
	}
	return err
}
