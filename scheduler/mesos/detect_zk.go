package mesos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"
)

// masterPrefix is how masters name their ephemeral nodes: the lowest number
// leads. (Older ones, info_, hold Protocol Buffers; masters since 0.24 write both.)
const masterPrefix = "json.info_"

// zkReader is what the detector needs of a ZooKeeper connection.
type zkReader interface {
	ChildrenW(path string) ([]string, *zk.Stat, <-chan zk.Event, error)
	Get(path string) ([]byte, *zk.Stat, error)
	Close()
}

// zkDetector reads the leader that the masters elected.
type zkDetector struct {
	conn  zkReader
	path  string
	log   *slog.Logger
	pause time.Duration // after an error, while watching
	once  sync.Once
}

func newZKDetector(a zkAddress, log *slog.Logger) (*zkDetector, error) {
	// Connects by itself for as long as it is not closed. Its own log only says
	// what the errors here say too.
	conn, _, err := zk.Connect(a.servers, 10*time.Second, zk.WithLogInfo(false), zk.WithLogger(discard{}))
	if err != nil {
		return nil, fmt.Errorf("connect to zookeeper %s: %w", strings.Join(a.servers, ","), err)
	}
	if a.auth != "" {
		if err := conn.AddAuth("digest", []byte(a.auth)); err != nil {
			conn.Close()
			return nil, fmt.Errorf("authenticate to zookeeper: %w", err)
		}
	}
	return &zkDetector{conn: conn, path: a.path, log: log, pause: time.Second}, nil
}

type discard struct{}

func (discard) Printf(string, ...any) {}

func (z *zkDetector) close() { z.once.Do(z.conn.Close) }

// detect waits until there is a leader.
func (z *zkDetector) detect(ctx context.Context) (string, error) {
	for {
		master, changed, err := z.read()
		if err != nil || master != "" {
			return master, err
		}
		z.log.Info("zookeeper knows no mesos master: waiting for one", "path", z.path)
		select {
		case <-changed:
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

// watch returns when another master leads, or none. While ZooKeeper cannot be
// asked, nothing is known, and the subscription stays.
func (z *zkDetector) watch(ctx context.Context, master string) error {
	for warned := false; ; {
		leader, changed, err := z.read()
		var again <-chan time.Time
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			if !warned {
				z.log.Warn("leading mesos master not known: the subscription stays", "error", err)
			}
			warned = true
			again, changed = time.After(z.pause), nil
		case leader != master:
			return endf("zookeeper says that %s leads no more", master)
		default:
			warned = false
		}
		select {
		case <-changed:
		case <-again:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// read returns the leader, "" when there is none, and a channel that tells when
// to read again.
func (z *zkDetector) read() (master string, changed <-chan zk.Event, err error) {
	for {
		children, _, changed, err := z.conn.ChildrenW(z.path)
		if err != nil {
			return "", nil, fmt.Errorf("read %s from zookeeper: %w", z.path, err)
		}
		node := lowest(children)
		if node == "" {
			return "", changed, nil
		}
		b, _, err := z.conn.Get(z.path + "/" + node)
		if errors.Is(err, zk.ErrNoNode) {
			continue // it left just now
		}
		if err != nil {
			return "", nil, fmt.Errorf("read %s/%s from zookeeper: %w", z.path, node, err)
		}
		master, err := masterOf(b)
		if err != nil {
			return "", nil, fmt.Errorf("read %s/%s from zookeeper: %w", z.path, node, err)
		}
		return master, changed, nil
	}
}

// lowest is the node of the leader.
func lowest(children []string) string {
	leader, least := "", uint64(0)
	for _, c := range children {
		digits, ours := strings.CutPrefix(c, masterPrefix)
		n, err := strconv.ParseUint(digits, 10, 64)
		if ours && err == nil && (leader == "" || n < least) {
			leader, least = c, n
		}
	}
	return leader
}

// masterOf is the host:port in a MasterInfo: the IP when it is told, which
// needs no resolver.
func masterOf(b []byte) (string, error) {
	var info struct {
		Hostname string `json:"hostname"`
		Port     int    `json:"port"`
		Address  struct {
			Hostname string `json:"hostname"`
			IP       string `json:"ip"`
			Port     int    `json:"port"`
		} `json:"address"`
	}
	if err := json.Unmarshal(b, &info); err != nil {
		return "", fmt.Errorf("master info: %w", err)
	}
	port := info.Address.Port
	if port == 0 {
		port = info.Port
	}
	for _, host := range []string{info.Address.IP, info.Address.Hostname, info.Hostname} {
		if host != "" && port != 0 {
			return net.JoinHostPort(host, strconv.Itoa(port)), nil
		}
	}
	return "", fmt.Errorf("master info %q has no address", b)
}
