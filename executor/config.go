package executor

import (
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/perigee-sched/perigee/executor/agent"
	"github.com/perigee-sched/perigee/executor/artifact"
)

// Config is what an executor is told by its environment.
type Config struct {
	Agent     agent.Environment
	AllowRoot bool
	// CacheDir is where artifacts are cached, at most CacheSize bytes of them.
	CacheDir  string
	CacheSize int64
	// FetchIdle ends a download that makes no progress, FetchTotal any.
	FetchIdle, FetchTotal time.Duration
	// Inherited are the variables that tasks get from the executor's environment.
	Inherited []string
}

const defaultCacheSize = 4 << 30

// ReadConfig reads the environment and reports all that is wrong with it.
func ReadConfig(getenv func(string) string, environ []string) (Config, error) {
	var errs []error
	mesos, err := agent.ReadEnvironment(getenv)
	errs = append(errs, err)
	duration := func(name string, byDefault time.Duration) time.Duration {
		v := getenv(name)
		if v == "" {
			return byDefault
		}
		d, err := time.ParseDuration(v)
		if err != nil || d <= 0 {
			errs = append(errs, fmt.Errorf("%s: %q is not a duration such as 30s", name, v))
		}
		return d
	}
	c := Config{
		Agent:      mesos,
		AllowRoot:  getenv("PERIGEE_ALLOW_ROOT") == "1",
		CacheDir:   getenv("PERIGEE_CACHE"),
		CacheSize:  defaultCacheSize,
		FetchIdle:  duration("PERIGEE_FETCH_IDLE", 30*time.Second),
		FetchTotal: duration("PERIGEE_FETCH_TIMEOUT", 30*time.Minute),
		Inherited:  inherited(environ),
	}
	if v := getenv("PERIGEE_CACHE_SIZE"); v != "" {
		if c.CacheSize, err = strconv.ParseInt(v, 10, 64); err != nil || c.CacheSize < 0 {
			errs = append(errs, fmt.Errorf("PERIGEE_CACHE_SIZE: %q is not a number of bytes", v))
		}
	}
	return c, errors.Join(errs...)
}

// openCache opens the configured cache, or else the first of the default places
// that can be used. Without any, artifacts are fetched for each task.
func (c Config) openCache() *artifact.Cache {
	dirs := []string{c.CacheDir}
	if c.CacheDir == "" {
		dirs = []string{
			"/var/cache/perigee",
			filepath.Join(os.TempDir(), fmt.Sprintf("perigee-cache-%d", os.Getuid())),
		}
	}
	var errs []error
	for _, dir := range dirs {
		cache, err := artifact.OpenCache(dir, c.CacheSize)
		if err == nil {
			return cache
		}
		errs = append(errs, err)
	}
	log.Printf("no artifact cache: %v", errors.Join(errs...))
	return nil
}
