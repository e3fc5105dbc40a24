package zookeeper

import (
	"fmt"
	"time"

	"github.com/go-zookeeper/zk"
)

// Paths below are relative to the chroot and begin without a slash; "" is the chroot itself. Errors
// are zk.ErrNoNode, zk.ErrNodeExists, zk.ErrBadVersion and the like, and this package's. A call waits
// while there is no connection, for as long as all servers take to be tried.

// Path returns the full path of a znode.
func (s *Session) Path(p string) string {
	if p == "" {
		return s.client.options.Chroot
	}
	return s.client.options.Chroot + "/" + p
}

// Get returns a znode's content.
func (s *Session) Get(p string) ([]byte, *zk.Stat, error) {
	b, stat, err := s.conn.Get(s.Path(p))
	return b, stat, s.explain(err)
}

// Exists returns a znode's state, nil when there is none.
func (s *Session) Exists(p string) (*zk.Stat, error) {
	ok, stat, err := s.conn.Exists(s.Path(p))
	if err != nil || !ok {
		return nil, s.explain(err)
	}
	return stat, nil
}

// Watch returns a znode's state, nil when there is none, and a channel that gets one event when that
// changes, or when the session has expired.
func (s *Session) Watch(p string) (*zk.Stat, <-chan zk.Event, error) {
	ok, stat, changed, err := s.conn.ExistsW(s.Path(p))
	if err != nil || !ok {
		return nil, changed, s.explain(err)
	}
	return stat, changed, nil
}

// Children returns the names of a znode's children, in no order.
func (s *Session) Children(p string) ([]string, error) {
	names, _, err := s.conn.Children(s.Path(p))
	return names, s.explain(err)
}

// WatchChildren returns the names of a znode's children, and a channel as Watch's.
func (s *Session) WatchChildren(p string) ([]string, <-chan zk.Event, error) {
	names, _, changed, err := s.conn.ChildrenW(s.Path(p))
	return names, changed, s.explain(err)
}

// Sync returns once this session's server has all that was committed before.
func (s *Session) Sync(p string) error {
	_, err := s.conn.Sync(s.Path(p))
	return s.explain(err)
}

// Set replaces a znode's content if it has the version, -1 for any.
func (s *Session) Set(p string, content []byte, version int32) (*zk.Stat, error) {
	sent := time.Now()
	stat, err := s.conn.Set(s.Path(p), content, version)
	return stat, s.wrote(sent, err)
}

// Create creates a znode that only these credentials may use, and returns its path.
func (s *Session) Create(p string, content []byte, flags int32) (string, error) {
	sent := time.Now()
	full, err := s.conn.Create(s.Path(p), content, flags, s.client.acl)
	if err != nil {
		return "", s.wrote(sent, err)
	}
	return full[len(s.client.options.Chroot)+1:], s.wrote(sent, nil)
}

// Delete deletes a znode if it has the version, -1 for any.
func (s *Session) Delete(p string, version int32) error {
	sent := time.Now()
	return s.wrote(sent, s.conn.Delete(s.Path(p), version))
}

// Op is one part of a Multi.
type Op func(s *Session) any

// Check lets a Multi succeed only if a znode exists and has the version, -1 for any.
func Check(p string, version int32) Op {
	return func(s *Session) any { return &zk.CheckVersionRequest{Path: s.Path(p), Version: version} }
}

// Create is Session.Create of a durable znode.
func Create(p string, content []byte) Op {
	return func(s *Session) any {
		return &zk.CreateRequest{Path: s.Path(p), Data: content, Acl: s.client.acl}
	}
}

// Set is Session.Set.
func Set(p string, content []byte, version int32) Op {
	return func(s *Session) any {
		return &zk.SetDataRequest{Path: s.Path(p), Data: content, Version: version}
	}
}

// Delete is Session.Delete.
func Delete(p string) Op {
	return func(s *Session) any { return &zk.DeleteRequest{Path: s.Path(p), Version: -1} }
}

// OpError says which part of a Multi failed, the first being 0. Nothing of it was done.
type OpError struct {
	Op  int
	Err error
}

func (e *OpError) Error() string { return fmt.Sprintf("operation %d: %v", e.Op+1, e.Err) }

func (e *OpError) Unwrap() error { return e.Err }

// Multi does all of ops or none. It fails with an *OpError when one of them cannot be done.
func (s *Session) Multi(ops ...Op) error {
	requests := make([]any, len(ops))
	for i, op := range ops {
		requests[i] = op(s)
	}
	sent := time.Now()
	results, err := s.conn.Multi(requests...)
	if err == nil || Passing(err) || s.hasExpired() {
		return s.wrote(sent, err)
	}
	for i, r := range results {
		if r.Error != nil {
			return &OpError{Op: i, Err: s.explain(err)}
		}
	}
	return s.explain(err)
}
