package e2e

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
)

// lines is what a process wrote, for those who wait for a line.
type lines struct {
	mu      sync.Mutex
	text    bytes.Buffer
	over    bool
	changed chan struct{}
}

func newLines() *lines { return &lines{changed: make(chan struct{})} }

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(b)
	l.wake()
	return len(b), nil
}

func (l *lines) wake() {
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *lines) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
	l.wake()
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// await returns the first whole line that contains a part.
func (l *lines) await(ctx context.Context, part string) (string, error) {
	for {
		l.mu.Lock()
		text, over, changed := l.text.String(), l.over, l.changed
		l.mu.Unlock()
		for line := range strings.Lines(text) {
			if strings.Contains(line, part) && strings.HasSuffix(line, "\n") {
				return strings.TrimSpace(line), nil
			}
		}
		if over {
			return "", fmt.Errorf("it ended without writing %q; it wrote:\n%s", part, text)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return "", fmt.Errorf("it does not write %q; it wrote:\n%s", part, text)
		}
	}
}
