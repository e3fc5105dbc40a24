package dev

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
	"github.com/perigee-sched/perigee/config"
)

// exampleFiles are deployed in this order.
var exampleFiles = []string{"hello.yaml", "tick.yaml", "sum.yaml"}

// deployExamples deploys the examples that are not there. It tells what goes
// wrong and leaves that one out: everything else works without.
func (o *Options) deployExamples(ctx context.Context, c *client.Client) {
	if err := buildPEX(ctx, o.Examples); err != nil {
		o.Tell("The example service is not deployed: " + err.Error())
	}
	for _, name := range exampleFiles {
		path := filepath.Join(o.Examples, name)
		if err := o.deployExample(ctx, c, path); err != nil && ctx.Err() == nil {
			o.Tell(fmt.Sprintf("%s is not deployed: %v", shown(path), err))
		}
	}
}

func (o *Options) deployExample(ctx context.Context, c *client.Client, path string) error {
	jobs, err := config.Load(path, config.Options{})
	if err != nil {
		return err
	}
	spec := &jobs[0].Spec
	var p *api.Problem
	if _, err := c.Job(ctx, spec.Job); err == nil || !errors.As(err, &p) || p.Status != http.StatusNotFound {
		return err
	}
	for _, a := range spec.Artifacts {
		if _, err := os.Stat(strings.TrimPrefix(a.URI, "file://")); err != nil {
			return err
		}
	}
	w, err := c.PutJob(ctx, spec, client.PutOptions{Message: "example of perigee dev"})
	if err != nil {
		return err
	}
	o.Tell(fmt.Sprintf("Deployed %s, a %s job, from %s.", w.Job, spec.Kind, shown(path)))
	if spec.Kind == api.KindBatch {
		_, err = c.StartRuns(ctx, spec.Job, []api.NewRun{{}}, client.WriteOptions{})
	}
	return err
}

// buildPEX builds the example service's PEX if it is missing or older than its
// sources.
func buildPEX(ctx context.Context, examples string) error {
	sources := filepath.Join(examples, "hello")
	output := filepath.Join(filepath.Dir(examples), "build", "examples", "hello.pex")
	newest, err := newestFile(sources)
	if err != nil {
		return err
	}
	if built, err := os.Stat(output); err == nil && !built.ModTime().Before(newest) {
		return nil
	}
	build := exec.CommandContext(ctx, filepath.Join(examples, "build_pex.py"), sources, "hello.__main__", output)
	build.WaitDelay = time.Second
	if said, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w: %s", output, err, bytes.TrimSpace(said))
	}
	return nil
}

func newestFile(dir string) (time.Time, error) {
	var newest time.Time
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil && info.ModTime().After(newest) {
			newest = info.ModTime()
		}
		return err
	})
	return newest, err
}
