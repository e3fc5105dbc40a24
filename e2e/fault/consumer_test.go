package fault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
	"github.com/perigee-sched/perigee/api/eventtest"
)

// consumer follows all events through one scheduler, or through one after the
// other: every so many events it goes on elsewhere, by the id of the last one.
type consumer struct {
	name       string
	schedulers []*scheduler

	mu     sync.Mutex
	events []api.Event
	failed error
}

const roamAfter = 40 // events

// run follows until ctx ends. It begins with events that come after it said so.
func (c *consumer) run(ctx context.Context, begun func()) {
	last := ""
	for next := 0; ctx.Err() == nil; next++ {
		s := c.schedulers[next%len(c.schedulers)]
		events, err := s.Events(ctx, client.EventFilter{Type: "*,audit.*", After: last}) // the audit trail, too
		if err != nil {
			c.note(ctx, err)
			select {
			case <-time.After(50 * time.Millisecond):
			case <-ctx.Done():
			}
			continue
		}
		begun()
		for taken := 0; len(c.schedulers) == 1 || taken < roamAfter; taken++ {
			e, err := events.Next(ctx)
			if err != nil {
				c.note(ctx, err)
				break
			}
			c.keep(e)
			last = e.ID
		}
		events.Close()
	}
}

// note keeps what no consumer can go on after: that events are gone, above all.
func (c *consumer) note(ctx context.Context, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := problemOf(err); p != nil && p.Status < 500 && ctx.Err() == nil {
		c.failed = err
	}
}

func (c *consumer) keep(e api.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.events) > 0 && c.failed == nil {
		if last := c.events[len(c.events)-1].ID; !before(last, e.ID) {
			c.failed = fmt.Errorf("%s: event %s came after %s", c.name, e.ID, last)
		}
	}
	if b, err := json.Marshal(e); c.failed == nil {
		c.failed = errors.Join(err, eventtest.Check(b))
	}
	c.events = append(c.events, e)
}

// before says whether one id (incarnation-index-ordinal) is of an earlier event
// than another.
func before(a, b string) bool {
	x, y := strings.Split(a, "-"), strings.Split(b, "-")
	if len(x) != 3 || len(y) != 3 || x[0] != y[0] {
		return false
	}
	for i := 1; i < 3; i++ {
		p, err1 := strconv.ParseUint(x[i], 10, 64)
		q, err2 := strconv.ParseUint(y[i], 10, 64)
		if err1 != nil || err2 != nil || p != q {
			return err1 == nil && err2 == nil && p < q
		}
	}
	return false
}

// all are the events that it was told of.
func (c *consumer) all() ([]api.Event, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.events[:len(c.events):len(c.events)], c.failed
}

// seen are the events from the first of a job on.
func (c *consumer) seen(job string) ([]api.Event, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, e := range c.events {
		if e.Data.Job == job {
			return c.events[i:len(c.events):len(c.events)], c.failed
		}
	}
	return nil, c.failed
}
