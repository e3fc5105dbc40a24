package fetch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
)

// throughCache downloads into the cache what is not there, and returns the
// cached file. It is not ok when uri is not to be cached or, as in Mesos, when
// its size cannot be learnt beforehand.
func (f *fetcher) throughCache(ctx context.Context, uri mesos.CommandInfo_URI, src source) (cached source, ok bool, err error) {
	if !uri.GetCache() {
		return source{}, false, nil
	}
	sum := sha256.Sum256([]byte(uri.Value))
	path := filepath.Join(f.cacheDir, hex.EncodeToString(sum[:]))
	unlock, err := downloads.lock(ctx, path)
	if err != nil {
		return source{}, false, err
	}
	defer unlock()
	if _, err := os.Stat(path); err == nil {
		return source{path: path, cached: true}, true, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return source{}, false, err
	}
	if err := f.sized(ctx, src); ctx.Err() != nil {
		return source{}, false, ctx.Err()
	} else if err != nil {
		f.log('W', "Reverting to fetching directly into the sandbox for '%s', due to failure to fetch through the cache, with error: %v", uri.Value, err)
		return source{}, false, nil
	}
	if err := f.fill(ctx, path, src); err != nil {
		return source{}, false, err
	}
	return source{path: path, cached: true}, true, nil
}

// fill is atomic: a file in the cache is whole, whoever ended when.
func (f *fetcher) fill(ctx context.Context, path string, src source) (err error) {
	in, err := f.open(ctx, src)
	if err != nil {
		return err
	}
	defer in.Close()
	if err := os.MkdirAll(f.cacheDir, 0o700); err != nil {
		return fmt.Errorf("make cache directory: %w", err)
	}
	out, err := os.CreateTemp(f.cacheDir, "part-")
	if err != nil {
		return fmt.Errorf("fill cache: %w", err)
	}
	_, err = io.Copy(out, in)
	err = errors.Join(err, out.Chmod(in.mode), out.Close())
	if err == nil {
		err = os.Rename(out.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(out.Name()))
	}
	return nil
}

// downloads are those into caches that are under way in this process: who wants
// the same waits, and then finds it, or tries again itself. Cache files
// are of this process alone, as an agent's work directory is.
var downloads = locks{held: map[string]chan struct{}{}}

// locks are mutexes by name whose waiting ends with a context.
type locks struct {
	mu   sync.Mutex
	held map[string]chan struct{} // closed on unlock
}

func (l *locks) lock(ctx context.Context, name string) (unlock func(), err error) {
	for {
		l.mu.Lock()
		busy, ok := l.held[name]
		if !ok {
			mine := make(chan struct{})
			l.held[name] = mine
			l.mu.Unlock()
			return func() {
				l.mu.Lock()
				delete(l.held, name)
				l.mu.Unlock()
				close(mine)
			}, nil
		}
		l.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
