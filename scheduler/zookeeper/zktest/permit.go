package zktest

import (
	"path"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
)

// Permit returns what changes the access lists of a path and of all below it, so that everybody is
// permitted no more than that: zk.PermRead, say. credentials are user:password of who may change them, if
// not everybody may, and belong to the test.
func Permit(t testing.TB, server, root string, credentials ...string) func(perms int32) {
	t.Helper()
	conn, _, err := zk.Connect([]string{server}, 10*time.Second, zk.WithLogInfo(false))
	if err == nil {
		t.Cleanup(conn.Close)
	}
	for _, c := range credentials {
		if err == nil {
			err = conn.AddAuth("digest", []byte(c))
		}
	}
	if err == nil {
		err = conn.AddAuth("digest", []byte("permit:permit"))
	}
	if err != nil {
		t.Fatalf("connect to zookeeper: %v", err)
	}
	own := zk.DigestACL(zk.PermAll, "permit", "permit") // so that it can be changed back
	return func(perms int32) {
		t.Helper()
		var walk func(p string) error
		walk = func(p string) error {
			if _, err := conn.SetACL(p, append(zk.WorldACL(perms), own...), -1); err == zk.ErrNoNode {
				return nil
			} else if err != nil {
				return err
			}
			names, _, err := conn.Children(p)
			for _, n := range names {
				if err == nil {
					err = walk(path.Join(p, n))
				}
			}
			return err
		}
		if err := walk(root); err != nil {
			t.Fatalf("change the access list of %s: %v", root, err)
		}
	}
}
