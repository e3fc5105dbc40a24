package server

import (
	"context"
	"errors"
	"fmt"
)

// Part is something that runs until its context ends.
type Part struct {
	Name string
	Run  func(context.Context) error
}

// RunParts starts parts in order. When ctx ends, or one of them ends by itself,
// it ends them in reverse order, each only after the one before is over. It
// returns what the first that ended by itself said, and what went wrong at the
// end.
func RunParts(ctx context.Context, parts []Part) error {
	type end struct {
		i   int
		err error
	}
	base := context.WithoutCancel(ctx)
	cancels := make([]context.CancelFunc, len(parts))
	done := make([]chan struct{}, len(parts))
	ended := make(chan end, len(parts))
	for i, p := range parts {
		life, cancel := context.WithCancel(base)
		cancels[i], done[i] = cancel, make(chan struct{})
		go func() {
			defer close(done[i])
			err := p.Run(life)
			if err == nil && life.Err() == nil {
				err = errors.New("ended by itself")
			}
			ended <- end{i, err}
		}()
	}
	var errs []error
	over := 0
	take := func(e end) {
		over++
		if e.err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", parts[e.i].Name, e.err))
		}
	}
	select {
	case <-ctx.Done():
	case e := <-ended:
		take(e)
	}
	for i := len(parts) - 1; i >= 0; i-- {
		cancels[i]()
		<-done[i]
	}
	for over < len(parts) {
		take(<-ended)
	}
	return errors.Join(errs...)
}
