package zookeeper

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/go-zookeeper/zk"
)

// MakeChroot creates what is missing of the chroot. Its parents may be shared with others, so only the
// chroot itself is closed to them.
func (c *Client) MakeChroot(ctx context.Context) error {
	s, err := c.Session(ctx)
	if err != nil {
		return err
	}
	parts := strings.Split(c.options.Chroot, "/")[1:]
	for i := range parts {
		p := "/" + strings.Join(parts[:i+1], "/")
		acl := zk.WorldACL(zk.PermAll)
		if i == len(parts)-1 {
			acl = c.acl
		}
		exists, _, err := s.conn.Exists(p)
		if err == nil && exists {
			continue
		}
		if err == nil {
			_, err = s.conn.Create(p, nil, 0, acl)
		}
		if err != nil && !errors.Is(err, zk.ErrNodeExists) {
			return fmt.Errorf("zookeeper: create %s: %w", p, s.explain(err))
		}
	}
	return nil
}

const (
	nearDepth = 2   // levels below the first znode that is there
	nearMost  = 500 // znodes that are looked at
)

// Near returns the full paths of znodes around the chroot that have all of children, in order: those
// above it, and those up to two levels below the first of those above it that exists. It is for
// messages: where it may not look, or where there is too much, it finds less.
func (c *Client) Near(ctx context.Context, children ...string) ([]string, error) {
	s, err := c.Session(ctx)
	if err != nil {
		return nil, err
	}
	n := near{session: s, children: children, seen: map[string]bool{}}
	top := ""
	for p := path.Dir(c.options.Chroot); ; p = path.Dir(p) {
		exists, _, err := s.conn.Exists(p)
		if err != nil {
			return nil, s.explain(err)
		}
		if exists && top == "" {
			top = p
		}
		n.look(p)
		if p == "/" {
			break
		}
	}
	n.below(top, nearDepth)
	slices.Sort(n.found)
	return n.found, nil
}

type near struct {
	session  *Session
	children []string
	seen     map[string]bool
	found    []string
}

func (n *near) look(p string) {
	if n.seen[p] {
		return
	}
	n.seen[p] = true
	for _, child := range n.children {
		if exists, _, err := n.session.conn.Exists(path.Join(p, child)); err != nil || !exists {
			return
		}
	}
	n.found = append(n.found, p)
}

func (n *near) below(p string, depth int) {
	names, _, err := n.session.conn.Children(p)
	if err != nil {
		return
	}
	slices.Sort(names)
	for _, name := range names {
		if len(n.seen) > nearMost {
			return
		}
		if child := path.Join(p, name); child != "/zookeeper" {
			n.look(child)
			if depth > 1 && !slices.Contains(n.found, child) {
				n.below(child, depth-1)
			}
		}
	}
}
