package core

import "slices"

// slot is an instance of a service: its live tasks, oldest first, and the one
// that ended last.
type slot struct {
	live     []*task
	last     *task
	ended    []*task // those that are kept
	attempts uint32  // the number of the latest
}

func (j *job) slot(instance uint32) *slot {
	for int(instance) >= len(j.slots) {
		j.slots = append(j.slots, &slot{})
		j.calm = append(j.calm, 0)
	}
	return j.slots[instance]
}

// calmOn says whether nothing is to be done about an instance unless its task is
// to be of another generation: the one task that it has serves, and is meant to
// stay. gen is that task's. A service is looked at after each update of one of
// its tasks, and almost all its instances are calm: they are passed by without a
// look at what they run, which would have to be fetched from far away in memory.
func (j *job) calmOn(instance uint32) (gen uint32, calm bool) {
	if int(instance) < len(j.calm) && j.calm[instance] != 0 {
		return j.calm[instance] - 1, true
	}
	s := j.slot(instance)
	if len(s.live) != 1 {
		return 0, false
	}
	t := s.live[0]
	if !t.rec.Ready || t.rec.Replace || t.stopping() {
		return 0, false
	}
	j.calm[instance] = t.class.gen + 1
	return t.class.gen, true
}

// disturb forgets that a task's instance was calm: the task changes, or is not
// the only one.
func (j *job) disturb(t *task) {
	if t.run == nil && int(t.rec.Instance) < len(j.calm) {
		j.calm[t.rec.Instance] = 0
	}
}

func (s *slot) add(t *task) {
	s.live = append(s.live, t)
	s.attempts = max(s.attempts, t.rec.Attempt)
}

func (s *slot) remove(t *task) {
	s.live = slices.DeleteFunc(s.live, func(l *task) bool { return l == t })
	s.last = t
}

// forget forgets a task that ended and goes.
func (s *slot) forget(t *task) {
	s.ended = slices.DeleteFunc(s.ended, func(e *task) bool { return e == t })
	if s.last == t {
		s.last = nil
	}
	if len(s.live)+len(s.ended) == 0 {
		s.attempts = 0 // as for a leader that loads what is left
	}
}

// newest returns the live task that is meant to stay, nil when there is none.
func (s *slot) newest() *task {
	for i := len(s.live) - 1; i >= 0; i-- {
		if !s.live[i].stopping() {
			return s.live[i]
		}
	}
	return nil
}

// on returns the newest live task of a generation that is meant to stay; other
// that of any other generation.
func (s *slot) on(gen uint32) *task { return s.find(func(t *task) bool { return t.class.gen == gen }) }
func (s *slot) other(gen uint32) *task {
	return s.find(func(t *task) bool { return t.class.gen != gen })
}

// lives says whether a task of a generation does, also one that is being stopped.
func (s *slot) lives(gen uint32) bool {
	return slices.ContainsFunc(s.live, func(t *task) bool { return t.class.gen == gen })
}

// ready returns a task of a generation that serves.
func (s *slot) ready(gen uint32) *task {
	return s.find(func(t *task) bool { return t.class.gen == gen && t.rec.Ready })
}

// serving returns any task that serves.
func (s *slot) serving() *task { return s.find(func(t *task) bool { return t.rec.Ready }) }

func (s *slot) find(wanted func(*task) bool) *task {
	for i := len(s.live) - 1; i >= 0; i-- {
		if t := s.live[i]; !t.stopping() && wanted(t) {
			return t
		}
	}
	return nil
}

// lastOn returns the task of a generation that ended last, nil when it is no
// longer kept.
func (s *slot) lastOn(gen uint32) *task {
	for i := len(s.ended) - 1; i >= 0; i-- {
		if t := s.ended[i]; t.class != nil && t.class.gen == gen {
			return t
		}
	}
	if s.last != nil && s.last.class != nil && s.last.class.gen == gen {
		return s.last
	}
	return nil
}

// staying counts the live tasks that are meant to stay.
func (s *slot) staying() int {
	n := 0
	for _, t := range s.live {
		if !t.stopping() {
			n++
		}
	}
	return n
}
