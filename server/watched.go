package server

import (
	"log/slog"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

// lookEvery is how often files are looked at for changes, when what is in them
// is asked for.
const lookEvery = time.Second

// watched is what some files hold. It is read again when it is asked for and
// they have changed; what cannot be read then leaves what was there before.
type watched[T any] struct {
	what  string // in the log
	paths []string
	load  func() (T, error)
	now   func() time.Time
	log   *slog.Logger

	mu    sync.Mutex
	value T
	seen  []fileState // when value was read, or could not be
	again time.Time   // the files are not looked at before
}

// fileState tells a file from what has replaced it.
type fileState struct {
	inode    uint64
	size     int64
	modified time.Time
}

// read fills w for the first time.
func (w *watched[T]) read() error {
	seen := w.look()
	value, err := w.load()
	if err != nil {
		return err
	}
	w.value, w.seen, w.again = value, seen, w.now().Add(lookEvery)
	return nil
}

// get returns what the files hold.
func (w *watched[T]) get() T {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now()
	if now.Before(w.again) {
		return w.value
	}
	w.again = now.Add(lookEvery)
	seen := w.look()
	if slices.Equal(seen, w.seen) {
		return w.value
	}
	w.seen = seen
	value, err := w.load()
	if err != nil {
		w.log.Error(w.what+" has changed, and cannot be used: what was there before still is", "error", err)
		return w.value
	}
	w.log.Info(w.what + " has changed, and is used from now on")
	w.value = value
	return value
}

// look says which files there are; one that cannot be seen is none.
func (w *watched[T]) look() []fileState {
	all := make([]fileState, len(w.paths))
	for i, path := range w.paths {
		info, err := os.Stat(path)
		if err != nil {
			continue
		}
		all[i] = fileState{size: info.Size(), modified: info.ModTime()}
		if stat, ok := info.Sys().(*syscall.Stat_t); ok {
			all[i].inode = stat.Ino
		}
	}
	return all
}
