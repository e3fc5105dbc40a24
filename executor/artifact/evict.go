package artifact

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// cached is what the cache holds of one digest, finished or in part.
type cached struct {
	digest string
	size   int64
	used   time.Time
}

// evict removes the least recently used artifacts until the rest fits. Those in
// use, or being fetched, stay: their locks are held.
func (c *Cache) evict() error {
	entries, total, err := c.list()
	if err != nil {
		return err
	}
	for _, e := range entries {
		if total <= c.size {
			return nil
		}
		removed, err := c.remove(e.digest)
		if err != nil {
			return err
		}
		if removed {
			total -= e.size
		}
	}
	return nil
}

// list returns what is cached, least recently used first, and its size.
func (c *Cache) list() ([]cached, int64, error) {
	files, err := os.ReadDir(c.dir)
	if err != nil {
		return nil, 0, fmt.Errorf("list: %w", err)
	}
	byDigest, total := map[string]cached{}, int64(0)
	for _, f := range files {
		digest, rest, _ := strings.Cut(f.Name(), ".")
		info, err := f.Info()
		if err != nil || rest == "lock" || len(digest) != 64 || !info.Mode().IsRegular() {
			continue // gone meanwhile, or not ours
		}
		e := byDigest[digest]
		e.digest = digest
		e.size += info.Size()
		if info.ModTime().After(e.used) {
			e.used = info.ModTime()
		}
		byDigest[digest] = e
		total += info.Size()
	}
	entries := make([]cached, 0, len(byDigest))
	for _, e := range byDigest {
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b cached) int {
		return cmp.Or(a.used.Compare(b.used), strings.Compare(a.digest, b.digest))
	})
	return entries, total, nil
}

// remove removes one artifact unless it is in use.
func (c *Cache) remove(digest string) (bool, error) {
	lock, err := c.tryLock(digest, syscall.LOCK_EX)
	if lock == nil || err != nil {
		return false, err
	}
	defer lock.Close()
	var errs []error
	for _, suffix := range []string{"", ".part", ".lock"} {
		err := os.Remove(filepath.Join(c.dir, digest+suffix))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return true, errors.Join(errs...)
}
