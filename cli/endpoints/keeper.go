package endpoints

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/google/renameio/v2"
)

// Keeper writes a file whenever what it is to say has changed, and runs a
// command then.
type Keeper struct {
	Template *Template
	File     string
	// Command for /bin/sh, "" is none. While it runs, changes gather: it runs once
	// for all of them. When it fails it is run again, later and later.
	Command string
	// Output of the command goes here.
	Output io.Writer
	// Tell is told what was done, and what went wrong.
	Tell func(string)

	services []Service
	stale    bool          // the file has to be written
	due      bool          // the command has to run
	running  bool          // it does
	pause    time.Duration // before what failed was tried again, last
}

// The bounds of how long to wait before what failed is tried again, and of how
// long a command may take.
const (
	minPause    = time.Second
	maxPause    = 30 * time.Second
	commandTime = time.Minute
)

// Run takes services as they are now, again and again, until ctx ends. A command
// that runs then is waited for.
func (k *Keeper) Run(ctx context.Context, updates <-chan []Service) {
	ended := make(chan error, 1)
	var again <-chan time.Time // nil while nothing failed
	for {
		select {
		case <-ctx.Done():
			if k.running {
				<-ended
			}
			return
		case k.services = <-updates:
			k.stale, again = true, nil
		case <-again:
			again = nil
		case err := <-ended:
			k.running = false
			if again = k.failed(err); err != nil {
				k.due = true
			}
		}
		if again != nil {
			continue
		}
		if k.stale {
			if again = k.failed(k.write()); again != nil {
				continue
			}
		}
		if k.due && !k.running {
			k.due, k.running = false, true
			go func() { ended <- k.execute() }()
		}
	}
}

// failed tells an error, and returns what fires when it is time to try again;
// nil when there was none.
func (k *Keeper) failed(err error) <-chan time.Time {
	if err == nil {
		if !k.due {
			k.pause = 0
		}
		return nil
	}
	k.pause = min(max(2*k.pause, minPause), maxPause)
	k.Tell(fmt.Sprintf("%v; tried again in %s", err, k.pause))
	return time.After(k.pause)
}

// write has the file say what it is to.
func (k *Keeper) write() error {
	text, err := k.Template.Render(k.services)
	if err != nil {
		return err
	}
	changed, err := replace(k.File, text)
	if err != nil {
		return err
	}
	k.stale = false
	if changed {
		k.Tell(k.said())
		k.due = k.Command != ""
	}
	return nil
}

// said is what was written, in a line.
func (k *Keeper) said() string {
	n := 0
	for _, s := range k.services {
		n += len(s.Endpoints)
	}
	if n == 1 {
		return fmt.Sprintf("wrote %s: 1 instance serves", k.File)
	}
	return fmt.Sprintf("wrote %s: %d instances serve", k.File, n)
}

// Once writes the file for services as they are now, and runs the command if
// that changed it.
func (k *Keeper) Once(services []Service) error {
	text, err := k.Template.Render(services)
	if err != nil {
		return err
	}
	changed, err := replace(k.File, text)
	if err != nil || !changed || k.Command == "" {
		return err
	}
	return k.execute()
}

// replace gives a file a content, whole at any moment, and says whether it had
// another before.
func replace(file string, content []byte) (changed bool, err error) {
	before, err := os.ReadFile(file)
	if err == nil && bytes.Equal(before, content) {
		return false, nil
	}
	if err := renameio.WriteFile(file, content, 0o644, renameio.WithExistingPermissions()); err != nil {
		return false, fmt.Errorf("write %s: %w", file, err)
	}
	return true, nil
}

// execute runs the command to its end, which is not ctx's: a load balancer that
// was told half of it would be worse.
func (k *Keeper) execute() error {
	ctx, cancel := context.WithTimeout(context.Background(), commandTime)
	defer cancel()
	c := exec.CommandContext(ctx, "/bin/sh", "-c", k.Command)
	c.Stdout, c.Stderr, c.WaitDelay = k.Output, k.Output, time.Second
	if err := c.Run(); err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("it took longer than %s", commandTime)
		}
		return fmt.Errorf("run %q: %w", k.Command, err)
	}
	return nil
}
