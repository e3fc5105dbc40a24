package server

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strconv"
)

// tail follows a file that is rotated by rename: file becomes file.1, that
// becomes file.2, and so on. An agent's file endpoints tell of no inodes, so a
// file is known again by the bytes that were read from it last: when they are
// not where they were, the file has moved on to a greater number, and is found
// there; what follows it is read before what is in file now.
type tail struct {
	read func(ctx context.Context, file string, offset, length int64) ([]byte, int64, error)
	file string

	n    int    // of the file that is read: 0 is file, 1 is file.1 …
	off  int64  // of what is read next
	mark []byte // the bytes just before off
	// done is what was read to its end before this file, while nothing of this
	// one was read: the place to find where "next" is now.
	done *ending
	// fresh: nothing was read, and nothing was rotated before: whatever is
	// rotated later is to be read.
	fresh bool
}

// ending of a file that was read to its end.
type ending struct {
	size int64
	mark []byte
}

const (
	// markSize is how many bytes a file is known by.
	markSize = 256
	// maxRotated bounds the search for a file that moved on.
	maxRotated = 100
)

func (t *tail) name(n int) string {
	if n == 0 {
		return t.file
	}
	return t.file + "." + strconv.Itoa(n)
}

// start goes to an offset, from the end of the file when it is negative.
func (t *tail) start(ctx context.Context, offset int64) error {
	_, size, err := t.read(ctx, t.file, -1, -1)
	if err != nil && !missing(err) {
		return err
	}
	t.off, _ = part(offset, -1, size)
	if t.off = min(t.off, size); t.off == 0 {
		return t.startAfter(ctx, 1)
	}
	t.mark, err = t.markAt(ctx, 0, t.off)
	if missing(err) {
		return nil
	}
	return err
}

// startAfter begins with what follows file n as it is now.
func (t *tail) startAfter(ctx context.Context, n int) error {
	_, size, err := t.read(ctx, t.name(n), -1, -1)
	if err == nil {
		t.done = &ending{size: size}
		t.done.mark, err = t.markAt(ctx, n, size)
	}
	if missing(err) {
		t.done, t.fresh = nil, true
		return nil
	}
	return err
}

// markAt reads the bytes that file n is known by, which end at off.
func (t *tail) markAt(ctx context.Context, n int, off int64) ([]byte, error) {
	from := max(0, off-markSize)
	data, _, err := t.read(ctx, t.name(n), from, off-from)
	return data, err
}

func missing(err error) bool {
	var p *problem
	return errors.As(err, &p) && p.Status == http.StatusNotFound
}

func (t *tail) exists(ctx context.Context, n int) (bool, error) {
	_, _, err := t.read(ctx, t.name(n), -1, -1)
	if missing(err) {
		return false, nil
	}
	return err == nil, err
}

// next returns the bytes that follow, none when there are none yet.
func (t *tail) next(ctx context.Context) ([]byte, error) {
	for range 2 * maxRotated {
		data, same, err := t.look(ctx)
		if err != nil {
			return nil, err
		}
		if !same {
			if err := t.search(ctx); err != nil {
				return nil, err
			}
			continue
		}
		if len(data) > 0 {
			t.advance(data)
			return data, nil
		}
		if t.n == 0 {
			return nil, nil
		}
		// A file that was rotated away grows no more.
		*t = tail{read: t.read, file: t.file, n: t.n - 1, done: &ending{t.off, t.mark}}
	}
	return nil, nil // it moves faster than it can be read; the next call goes on
}

func (t *tail) advance(data []byte) {
	t.off += int64(len(data))
	t.mark = append(t.mark, data...)
	t.mark = bytes.Clone(t.mark[max(0, len(t.mark)-markSize):])
	t.done, t.fresh = nil, false
}

// look reads on, and says whether the file is still the one that it was.
func (t *tail) look(ctx context.Context) (data []byte, same bool, err error) {
	data, _, err = t.read(ctx, t.name(t.n), t.off-int64(len(t.mark)), -1)
	switch {
	case missing(err) && len(t.mark) == 0:
		data = nil // not there yet
	case missing(err):
		return nil, false, nil
	case err != nil:
		return nil, false, err
	case !bytes.HasPrefix(data, t.mark):
		return nil, false, nil
	}
	data = data[len(t.mark):]
	// A file that was not read yet has no mark. Whether it is the right one is
	// asked after it was read, and also when it is empty: what was to be read
	// may have moved on.
	switch {
	case t.fresh:
		rotated, err := t.exists(ctx, 1)
		return data, !rotated, err
	case t.done != nil:
		follows, err := t.holds(ctx, t.n+1, t.done.size, t.done.mark)
		return data, follows, err
	}
	return data, true, nil
}

// holds says whether file n has mark right before off.
func (t *tail) holds(ctx context.Context, n int, off int64, mark []byte) (bool, error) {
	data, _, err := t.read(ctx, t.name(n), off-int64(len(mark)), int64(len(mark)))
	if missing(err) {
		return false, nil
	}
	return bytes.Equal(data, mark), err
}

// search finds the place to go on after files have moved: the same place of the
// same file, or the beginning of what follows the file that was read to its
// end. If that is gone, the oldest file there is comes next.
func (t *tail) search(ctx context.Context) error {
	off, mark, shift := t.off, t.mark, 0
	if t.done != nil {
		off, mark, shift = t.done.size, t.done.mark, 1
	}
	for n := t.n + 1 + shift; n <= maxRotated && !t.fresh; n++ {
		holds, err := t.holds(ctx, n, off, mark)
		if err != nil {
			return err
		}
		if holds && len(mark) > 0 {
			t.n = n - shift
			return nil
		}
		there, err := t.exists(ctx, n)
		if err != nil {
			return err
		}
		if !there {
			break
		}
	}
	return t.startOldest(ctx)
}

// startOldest begins with the oldest file there is.
func (t *tail) startOldest(ctx context.Context) error {
	oldest := 0
	for n := 1; n <= maxRotated; n++ {
		there, err := t.exists(ctx, n)
		if err != nil {
			return err
		}
		if !there {
			break
		}
		oldest = n
	}
	*t = tail{read: t.read, file: t.file, n: oldest, fresh: oldest == 0}
	return nil
}
