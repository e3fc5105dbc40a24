package program

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
)

// Lines is what a process wrote, for those who wait for a line.
type Lines struct {
	mu      sync.Mutex
	text    bytes.Buffer
	over    bool
	changed chan struct{}
}

// NewLines returns none yet.
func NewLines() *Lines { return &Lines{changed: make(chan struct{})} }

// Write implements io.Writer.
func (l *Lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(b)
	l.wake()
	return len(b), nil
}

func (l *Lines) wake() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// End says that nothing more comes.
func (l *Lines) End() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
	l.wake()
}

func (l *Lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Await returns the first whole line that contains a part.
func (l *Lines) Await(ctx context.Context, part string) (string, error) {
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
