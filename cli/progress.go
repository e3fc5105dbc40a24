package cli

import (
	"fmt"
	"sync"
)

// progress shows what happens while a command waits: lines that stay and, on a
// terminal, below them one that says how far things are.
type progress struct {
	app *app

	mu     sync.Mutex
	status string // shown now
}

// line prints a line that stays.
func (p *progress) line(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	fmt.Fprintf(p.app.Out, format+"\n", args...)
	p.show()
}

// state replaces the line below; elsewhere than on a terminal it does nothing.
func (p *progress) state(text string) {
	if !p.app.terminal {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	p.status = text
	p.show()
}

func (p *progress) clear() {
	if p.status != "" {
		fmt.Fprint(p.app.Out, "\r\x1b[K")
	}
}

func (p *progress) show() {
	if p.status != "" {
		fmt.Fprint(p.app.Out, cut(p.status, p.app.width()))
	}
}

// end removes the line below.
func (p *progress) end() { p.state("") }
