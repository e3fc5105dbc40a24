package artifact

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Cache is a directory of verified artifacts, shared by all executors of an
// agent that run as the same user. For each digest it holds
//
//	DIGEST        the artifact; its modification time is its last use
//	DIGEST.part   one that is being fetched
//	DIGEST.lock   locked with flock(2): shared to use, exclusive to change
//
// A file is verified whenever it is used, so neither a crash in the middle of a
// write nor a hand that alters a file ever reaches a task.
type Cache struct {
	dir  string
	size int64
}

// cacheError is a fault of the cache's own, without which the artifact could
// have been fetched.
type cacheError struct{ err error }

func (e *cacheError) Error() string { return "artifact cache: " + e.err.Error() }
func (e *cacheError) Unwrap() error { return e.err }

// OpenCache opens the cache in dir, which is made if need be. It must belong to
// the executor's user alone. The least recently used artifacts are removed
// while all together are larger than size bytes.
func OpenCache(dir string, size int64) (*Cache, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make artifact cache: %w", err)
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return nil, fmt.Errorf("open artifact cache: %w", err)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.IsDir() || int(stat.Uid) != os.Getuid() || info.Mode().Perm()&0o022 != 0 {
		return nil, fmt.Errorf("artifact cache %s must be a directory of the executor's user, writable for nobody else", dir)
	}
	return &Cache{dir: dir, size: size}, nil
}

// Place makes file hold the artifact with the digest. Whoever comes first
// fetches it, and others wait for that. The fetching fails with whatever fetch
// fails with; trouble of the cache itself is a *cacheError.
func (c *Cache) Place(ctx context.Context, digest string, file *os.File, fetch func(context.Context, *os.File) error) error {
	found, err := c.use(ctx, digest, file)
	if found || err != nil {
		return err
	}
	if err := c.fill(ctx, digest, file, fetch); err != nil {
		return err
	}
	if err := c.evict(); err != nil {
		log.Printf("artifact cache: %v", err)
	}
	return nil
}

// use copies from the cache, and says whether it had the artifact.
func (c *Cache) use(ctx context.Context, digest string, file *os.File) (bool, error) {
	lock, err := c.lock(ctx, digest, syscall.LOCK_SH)
	if err != nil {
		return false, err
	}
	defer lock.Close()
	return c.copyVerified(digest, file)
}

// copyVerified copies the cached file if it is there and right.
func (c *Cache) copyVerified(digest string, file *os.File) (bool, error) {
	cached, err := os.Open(filepath.Join(c.dir, digest))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, &cacheError{err}
	}
	defer cached.Close()
	actual, err := cloneHashed(file, cached)
	if err != nil {
		return false, err
	}
	if actual != digest {
		log.Printf("artifact cache: %s was altered, and is fetched again", digest)
		return false, nil
	}
	now := time.Now()
	if err := os.Chtimes(cached.Name(), now, now); err != nil {
		log.Printf("artifact cache: %v", err) // only the order of eviction suffers
	}
	return true, nil
}

// cloneHashed makes a file a copy of another, sharing the blocks where the file
// system can (XFS, Btrfs), and returns the SHA-256 of the copy.
func cloneHashed(to, from *os.File) (string, error) {
	if err := rewind(to); err != nil {
		return "", fmt.Errorf("write: %w", err)
	}
	var actual string
	err := unix.IoctlFileClone(int(to.Fd()), int(from.Fd()))
	if err == nil {
		actual, _, err = copyHashed(io.Discard, to)
	} else {
		actual, _, err = copyHashed(to, from)
	}
	return actual, err
}

// fill fetches into the cache and copies from there, alone.
func (c *Cache) fill(ctx context.Context, digest string, file *os.File, fetch func(context.Context, *os.File) error) error {
	lock, err := c.lock(ctx, digest, syscall.LOCK_EX)
	if err != nil {
		return err
	}
	defer lock.Close()
	// Someone else may have fetched it while this one waited.
	if found, err := c.copyVerified(digest, file); found || err != nil {
		return err
	}
	name := filepath.Join(c.dir, digest)
	part, err := os.OpenFile(name+".part", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return &cacheError{err}
	}
	defer part.Close()
	if err := fetch(ctx, part); err != nil {
		err = errors.Join(err, os.Remove(part.Name()))
		if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
			return &cacheError{err}
		}
		return err
	}
	if err := os.Rename(part.Name(), name); err != nil {
		return &cacheError{err}
	}
	if _, err := part.Seek(0, io.SeekStart); err != nil {
		return &cacheError{err}
	}
	actual, err := cloneHashed(file, part)
	if err == nil && actual != digest {
		return &cacheError{fmt.Errorf("%s changed while it was copied", digest)}
	}
	return err
}

// lockPoll is how often a lock that someone else holds is tried again: waiting
// in flock(2) itself could not be given up when the task is killed.
const lockPoll = 20 * time.Millisecond

// lock locks a digest until the returned file is closed.
func (c *Cache) lock(ctx context.Context, digest string, how int) (*os.File, error) {
	for {
		lock, err := c.tryLock(digest, how)
		if lock != nil || err != nil {
			return lock, err
		}
		select {
		case <-time.After(lockPoll):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// tryLock returns nil when someone else holds the lock.
func (c *Cache) tryLock(digest string, how int) (*os.File, error) {
	name := filepath.Join(c.dir, digest+".lock")
	lock, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, &cacheError{err}
	}
	err = syscall.Flock(int(lock.Fd()), how|syscall.LOCK_NB)
	if err == nil && isStill(lock, name) {
		return lock, nil
	}
	lock.Close()
	if err == nil || errors.Is(err, syscall.EWOULDBLOCK) || errors.Is(err, syscall.EINTR) {
		return nil, nil
	}
	return nil, &cacheError{fmt.Errorf("lock %s: %w", name, err)}
}

// isStill says whether name is still the locked file: an eviction removes the
// lock with the artifact, and then the lock is worth nothing.
func isStill(lock *os.File, name string) bool {
	a, err1 := lock.Stat()
	b, err2 := os.Stat(name)
	return err1 == nil && err2 == nil && os.SameFile(a, b)
}
