package server

import (
	"bytes"
	"context"
)

// resume goes on after the last bytes that a reader got from an earlier stream.
// They end at off unless files were rotated since; then they are looked for, in
// the newest file first. If they are gone, the oldest file there is comes next.
func (t *tail) resume(ctx context.Context, off int64, last []byte) error {
	last = last[max(0, len(last)-markSize):]
	if off >= int64(len(last)) {
		holds, err := t.holds(ctx, 0, off, last)
		if err != nil {
			return err
		}
		if holds {
			t.off, t.mark = off, last
			return nil
		}
	}
	for n := 0; n <= maxRotated; n++ {
		end, err := t.find(ctx, n, last)
		if missing(err) && n > 0 {
			break
		}
		if err != nil && !missing(err) {
			return err
		}
		if end > 0 {
			t.n, t.off, t.mark = n, end, last[max(0, int64(len(last))-end):]
			return nil
		}
	}
	return t.startOldest(ctx)
}

// find returns where the last occurrence of what was read ends in file n, 0 if
// there is none. Its beginning may be in the files before.
func (t *tail) find(ctx context.Context, n int, last []byte) (int64, error) {
	window, err := t.before(ctx, n, len(last))
	if err != nil {
		return 0, err
	}
	found := int64(0)
	for off := int64(0); ; {
		data, _, err := t.read(ctx, t.name(n), off, -1)
		if err != nil || len(data) == 0 {
			return found, err
		}
		off += int64(len(data))
		window = append(window, data...)
		if i := bytes.LastIndex(window, last); i >= 0 {
			found = max(found, off-int64(len(window)-i-len(last)))
		}
		window = bytes.Clone(window[max(0, len(window)-len(last)+1):])
	}
}

// before reads what was written right before file n, some bytes at least.
func (t *tail) before(ctx context.Context, n, least int) ([]byte, error) {
	var before []byte
	for n++; n <= maxRotated && len(before) < least; n++ {
		_, size, err := t.read(ctx, t.name(n), -1, -1)
		if missing(err) {
			break
		}
		if err != nil {
			return nil, err
		}
		data, err := t.markAt(ctx, n, size)
		if err != nil && !missing(err) {
			return nil, err
		}
		before = append(data, before...)
	}
	return before, nil
}
