package zk

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/perigee-sched/perigee/scheduler/lease"
	"github.com/perigee-sched/perigee/scheduler/zookeeper"
)

// observe keeps our member znode and what we know of others up to date.
func (l *Lease) observe(ctx context.Context) {
	for ctx.Err() == nil {
		s, err := l.session(ctx)
		if err == nil {
			err = l.observeOn(ctx, s)
		}
		if ctx.Err() != nil || errors.Is(err, zookeeper.ErrClosed) {
			return
		}
		l.lose(err)
		select { // a lost connection is waited for above, anything else should not spin
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// sessionPatience is how long a session is waited for before it is told why there is none.
const sessionPatience = time.Second

func (l *Lease) session(ctx context.Context) (*zookeeper.Session, error) {
	ctx, cancel := context.WithTimeout(ctx, sessionPatience)
	defer cancel()
	return l.client.Session(ctx)
}

// lose notes that the members are not known any more, and why.
func (l *Lease) lose(err error) {
	if !zookeeper.Passing(err) && !errors.Is(err, context.DeadlineExceeded) && err.Error() != l.Problem() {
		l.log.Error("who leads cannot be told", "error", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.problem = strings.TrimSuffix(err.Error(), ": "+context.DeadlineExceeded.Error())
	l.setMembers(nil)
}

func (l *Lease) observeOn(ctx context.Context, s *zookeeper.Session) error {
	if err := ensure(s, electionNode); err != nil {
		return err
	}
	if err := l.attend(s); err != nil {
		return err
	}
	every := time.NewTicker(l.o.TellEvery)
	defer every.Stop()
	for {
		connection := s.Reconnected()
		candidates, stood, err := s.WatchChildren(electionNode)
		if err != nil {
			return err
		}
		present, came, err := s.WatchChildren(membersNode)
		if err != nil {
			return err
		}
		for again := false; !again; {
			members, err := read(s, candidates, present)
			if errors.Is(err, zk.ErrNoNode) {
				break // who was there has gone meanwhile
			}
			if err != nil {
				return err
			}
			l.mu.Lock()
			l.problem = ""
			l.setMembers(members)
			l.mu.Unlock()
			l.compareClocks(members)
			select {
			case <-stood:
				again = true
			case <-came:
				again = true
			case <-connection:
				again = true
				if err := l.reconnected(ctx, s); err != nil {
					return err
				}
			case <-every.C:
				if err := l.attend(s); err != nil {
					return err
				}
			case <-s.Expired():
				return zookeeper.ErrSessionExpired
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
}

// reconnected waits until there is a connection, but not for longer than a leader's lease lasts: then
// another may lead than the last that was seen.
func (l *Lease) reconnected(ctx context.Context, s *zookeeper.Session) error {
	ctx, cancel := context.WithTimeout(ctx, s.Timeout())
	defer cancel()
	return s.Ready(ctx)
}

// setMembers is called with mu held.
func (l *Lease) setMembers(all []lease.Member) {
	l.members, l.leader = all, ""
	if len(all) > 0 && all[0].Stands {
		l.leader = all[0].Address
	}
	close(l.changed)
	l.changed = make(chan struct{})
}

// Living are the schedulers that live, or were alive less than a session ago; whoever
// asks is none of them.
func Living(ctx context.Context, client *zookeeper.Client) ([]lease.Member, error) {
	for {
		s, err := client.Session(ctx)
		if err != nil {
			return nil, err
		}
		members, err := living(s)
		if err == nil || !errors.Is(err, zk.ErrNoNode) && !zookeeper.Passing(err) || ctx.Err() != nil {
			return members, err
		}
	}
}

func living(s *zookeeper.Session) ([]lease.Member, error) {
	var names [2][]string
	for i, above := range []string{electionNode, membersNode} {
		stat, err := s.Exists(above)
		if err == nil && stat != nil {
			names[i], err = s.Children(above)
		}
		if err != nil {
			return nil, err
		}
	}
	return read(s, names[0], names[1])
}

// read returns the members, candidates first, in their order.
func read(s *zookeeper.Session, candidates, present []string) ([]lease.Member, error) {
	told := map[string]lease.Member{}
	for _, id := range present {
		b, _, err := s.Get(membersNode + "/" + id)
		if err != nil {
			return nil, err
		}
		told[id] = decodeMember(b)
	}
	var all []lease.Member
	for _, n := range sorted(candidates) {
		b, _, err := s.Get(electionNode + "/" + n)
		if err != nil {
			return nil, err
		}
		m := told[idOf(n)]
		delete(told, idOf(n))
		m.Address, m.Stands = string(b), true
		all = append(all, m)
	}
	for _, id := range slices.Sorted(maps.Keys(told)) {
		all = append(all, told[id])
	}
	return all, nil
}

// memberFormat is what a member's znode holds. Fields are added, and never change their meaning: other
// versions read them.
type memberFormat struct {
	Address  string   `json:"address"`
	Version  string   `json:"version"`
	Features []string `json:"features"`
	Index    uint64   `json:"index"`
	Epoch    uint64   `json:"epoch"`
	SkewMS   *int64   `json:"skew_ms,omitempty"` // how far ZooKeeper's clock is ahead of the member's
	History  *uint64  `json:"history,omitempty"` // index up to which its history has everything
}

// decodeMember reads what a member tells. One that cannot be read tells nothing, as an older one.
func decodeMember(b []byte) lease.Member {
	var f memberFormat
	if json.Unmarshal(b, &f) != nil {
		return lease.Member{}
	}
	m := lease.Member{Address: f.Address, Version: f.Version, Features: f.Features, Index: f.Index, Epoch: f.Epoch, History: f.History}
	if f.SkewMS != nil {
		skew := time.Duration(*f.SkewMS) * time.Millisecond
		m.Skew = &skew
	}
	return m
}

func (l *Lease) encodeMember() []byte {
	f := memberFormat{Address: l.o.Address, Version: l.o.Version, Features: l.o.Features}
	f.Index, f.Epoch = l.o.Saw()
	if l.o.Recorded != nil {
		f.History = l.o.Recorded()
	}
	if skew, ok := l.exactSkew(); ok {
		ms := skew.Milliseconds()
		f.SkewMS = &ms
	}
	b, err := json.Marshal(f)
	if err != nil {
		panic(err) // strings and numbers
	}
	return b
}

// attend tells others how far we are. That it may not is no reason not to look who leads.
func (l *Lease) attend(s *zookeeper.Session) error {
	err := l.join(s)
	if err == nil {
		err = l.write(s, l.own(), l.encodeMember())
	}
	if errors.Is(err, zk.ErrNoNode) { // somebody deleted it
		l.setJoined(nil)
		err = l.join(s)
	}
	if err == nil || zookeeper.Passing(err) {
		l.attending = ""
		return err
	}
	if err.Error() != l.attending {
		l.attending = err.Error()
		l.log.Error("the other schedulers cannot be told that this one lives, and what it knows", "error", err)
	}
	return nil
}

// own is our member znode.
func (l *Lease) own() string { return membersNode + "/" + l.id }

func (l *Lease) setJoined(s *zookeeper.Session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.joined = s
}

// join makes our member znode, once on each session.
func (l *Lease) join(s *zookeeper.Session) error {
	l.joining.Lock()
	defer l.joining.Unlock()
	l.mu.Lock()
	joined := l.joined == s
	l.mu.Unlock()
	if joined {
		return nil
	}
	if err := ensure(s, membersNode); err != nil {
		return err
	}
	if err := l.write(s, membersNode, nil); err != nil { // to know our clock before we tell of it
		return err
	}
	if err := s.Delete(l.own(), -1); err != nil && !errors.Is(err, zk.ErrNoNode) { // of another session, or not answered
		return err
	}
	if _, err := s.Create(l.own(), l.encodeMember(), zk.FlagEphemeral); err != nil {
		return err
	}
	l.setJoined(s)
	return nil
}
