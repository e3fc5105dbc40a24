package zk

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strconv"
	"strings"

	zklib "github.com/go-zookeeper/zk"

	"github.com/perigee-sched/perigee/scheduler/journal"
	"github.com/perigee-sched/perigee/scheduler/zookeeper"
)

// The znodes of a journal.
const (
	layoutNode   = "layout"
	clusterNode  = "cluster"
	epochNode    = "epoch"
	manifestNode = "manifest"
	logNode      = "log"      // above the entries
	snapshotNode = "snapshot" // above the chunks of snapshots, and their tables
	electionNode = "election" // lease/zk's
	membersNode  = "members"  // lease/zk's
)

// layout is the version of all of that. A scheduler opens its own and older ones.
const layout = 1

const layoutFormat = "perigee journal, layout %d\n"

func logPath(index uint64) string { return fmt.Sprintf("%s/%010d", logNode, index) }

func snapshotPath(name string) string { return snapshotNode + "/" + name }

func corrupt(path, format string, args ...any) error {
	return &journal.CorruptError{File: path, Reason: fmt.Sprintf(format, args...)}
}

// prepare checks that the journal is one of ours that we may write to, or makes it.
func prepare(s session, o Options) (made bool, err error) {
	if o.Cluster == "" && !o.ReadOnly {
		return false, errors.New("the cluster's name is not given")
	}
	for {
		b, _, err := s.Get(layoutNode)
		if err == nil {
			if err := checkLayout(s.Path(layoutNode), b); err != nil {
				return false, err
			}
			if err := checkCluster(s, o.Cluster); err != nil {
				return false, err
			}
			if !o.Restore {
				if err := checkFinished(s); err != nil {
					return false, err
				}
			}
			if o.ReadOnly {
				return made, nil
			}
			return made, checkWritable(s, o.Cluster)
		}
		if !errors.Is(err, zklib.ErrNoNode) {
			return false, fmt.Errorf("read %s: %w", s.Path(layoutNode), err)
		}
		others, err := others(s)
		if errors.Is(err, zklib.ErrNodeExists) {
			continue
		}
		if err != nil {
			return false, err
		}
		if !o.Create || len(others) > 0 { // a journal is never made over something
			return false, &MissingError{Path: s.Path(""), Holds: others}
		}
		// Another scheduler may be as far: then there is one at the next look.
		if err = create(s, o); err != nil && !errors.Is(err, zklib.ErrNodeExists) {
			return false, err
		}
		made = err == nil
	}
}

// MissingError says that a path holds no journal.
type MissingError struct {
	Path  string
	Holds []string // what else is there
	Near  []string // paths around it that hold a journal
}

func (e *MissingError) Error() string {
	what := "holds nothing"
	if len(e.Holds) > 0 {
		what = "holds " + few(e.Holds) + " and no journal of Perigee's"
	}
	near := "there is none near it either"
	if len(e.Near) > 0 {
		near = "near it there is one in " + few(e.Near)
	}
	return fmt.Sprintf("%s %s; %s", e.Path, what, near)
}

func few(names []string) string {
	const most = 10
	if n := len(names) - most; n > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), n)
	}
	return strings.Join(names, ", ")
}

func checkLayout(path string, b []byte) error {
	var found int
	if _, err := fmt.Sscanf(string(b), layoutFormat, &found); err != nil || found < 1 {
		return corrupt(path, "does not say which layout the journal has")
	}
	if found > layout {
		return fmt.Errorf("%s: the journal was written by a newer Perigee (layout %d, this one reads up to %d): start that version, or restore a backup made by this one",
			path, found, layout)
	}
	return nil
}

func checkCluster(s session, cluster string) error {
	found, err := readCluster(s)
	if err == nil && cluster != "" && found != cluster {
		err = fmt.Errorf("%s holds the journal of cluster %q, this scheduler is of cluster %q: give each cluster a path of its own", s.Path(""), found, cluster)
	}
	return err
}

func readCluster(s session) (string, error) {
	b, _, err := s.Get(clusterNode)
	if errors.Is(err, zklib.ErrNoNode) {
		return "", corrupt(s.Path(clusterNode), "the znode is missing")
	}
	if err != nil {
		return "", fmt.Errorf("read %s: %w", s.Path(clusterNode), err)
	}
	return strings.TrimSpace(string(b)), nil
}

// writableNode exists within one multi only.
const writableNode = logNode + "/writable"

// checkWritable changes nothing, and fails where that is all that is permitted.
func checkWritable(s session, cluster string) error {
	err := s.Multi(
		zookeeper.Set(clusterNode, []byte(cluster+"\n"), -1), // as it is
		zookeeper.Create(writableNode, nil),
		zookeeper.Delete(writableNode))
	if errors.Is(err, zookeeper.ErrNotPermitted) {
		return fmt.Errorf("%s can be read and not written with these credentials: %w", s.Path(""), err)
	}
	return err
}

// others returns what a path holds that has no journal, without what an election leaves;
// zk.ErrNodeExists when it has one.
func others(s session) ([]string, error) {
	names, err := s.Children("")
	if errors.Is(err, zklib.ErrNoNode) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", s.Path(""), err)
	}
	if slices.Contains(names, layoutNode) {
		return nil, zklib.ErrNodeExists // since a moment ago
	}
	slices.Sort(names)
	return slices.DeleteFunc(names, func(n string) bool { return n == electionNode || n == membersNode }), nil
}

// create makes an empty journal, all of it at once; one to be restored with its
// mark.
func create(s session, o Options) error {
	m, err := (manifest{}).encode()
	if err != nil {
		return err
	}
	ops := []zookeeper.Op{
		zookeeper.Create(layoutNode, fmt.Appendf(nil, layoutFormat, layout)),
		zookeeper.Create(clusterNode, []byte(o.Cluster+"\n")),
		zookeeper.Create(epochNode, encodeEpoch(0)),
		zookeeper.Create(manifestNode, m),
		zookeeper.Create(logNode, nil),
		zookeeper.Create(snapshotNode, nil),
	}
	if o.Restore {
		ops = append(ops, zookeeper.Create(restoringNode, nil))
	}
	if err := s.Multi(ops...); err != nil {
		return fmt.Errorf("create a journal in %s: %w", s.Path(""), err)
	}
	return nil
}

func encodeEpoch(epoch uint64) []byte { return strconv.AppendUint(nil, epoch, 10) }

func readEpoch(s session) (epoch uint64, version int32, err error) {
	b, stat, err := s.Get(epochNode)
	if errors.Is(err, zklib.ErrNoNode) {
		return 0, 0, corrupt(s.Path(epochNode), "the znode is missing")
	}
	if err != nil {
		return 0, 0, fmt.Errorf("read %s: %w", s.Path(epochNode), err)
	}
	if epoch, err = strconv.ParseUint(string(b), 10, 64); err != nil {
		return 0, 0, corrupt(s.Path(epochNode), "does not hold an epoch")
	}
	return epoch, stat.Version, nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

const checksumFormat = "crc32c %08x\n"

// seal appends a line with a checksum of what is above it.
func seal(body []byte) []byte { return fmt.Appendf(body, checksumFormat, checksum(body)) }

func unseal(path string, b []byte) ([]byte, error) {
	i := bytes.LastIndex(b, []byte("crc32c "))
	if i < 0 || fmt.Sprintf(checksumFormat, checksum(b[:i])) != string(b[i:]) {
		return nil, corrupt(path, "the content does not match its checksum")
	}
	return b[:i], nil
}
