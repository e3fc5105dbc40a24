package zk

import (
	"encoding/json"
	"errors"
	"fmt"

	zklib "github.com/go-zookeeper/zk"
)

// manifest names the snapshots that count, newest first, at most two. It is swapped as a whole.
type manifest struct {
	Snapshots []snapshotRef `json:"snapshots"`

	version int32 // of the znode it was read from
}

// snapshotRef is a snapshot: a table of chunks, which together hold the records after Index.
type snapshotRef struct {
	Table   string `json:"table"`
	CRC32C  uint32 `json:"crc32c"` // of the table's znode
	Index   uint64 `json:"index"`  // of the last entry it includes
	Records uint64 `json:"records"`
	Bytes   int64  `json:"bytes"` // of all its znodes
}

// chunkRef is a chunk: the records from key From up to where the next chunk begins.
type chunkRef struct {
	Node    string `json:"node"`
	CRC32C  uint32 `json:"crc32c"` // of the znode
	SHA256  []byte `json:"sha256"` // of the records, by which an unchanged chunk is known
	From    string `json:"from"`
	Cut     uint64 `json:"cut"` // index of the view it was written from
	Records uint64 `json:"records"`
	Bytes   int64  `json:"bytes"`
}

// needed returns the first entry that has to be kept.
func (m manifest) needed() uint64 {
	if len(m.Snapshots) < 2 {
		return 1
	}
	return m.Snapshots[1].Index + 1
}

func (m manifest) encode() ([]byte, error) {
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, err
	}
	return seal(append(b, '\n')), nil
}

func readManifest(s session) (manifest, error) {
	var m manifest
	path := s.Path(manifestNode)
	b, stat, err := s.Get(manifestNode)
	if errors.Is(err, zklib.ErrNoNode) {
		return m, corrupt(path, "the znode is missing")
	}
	if err != nil {
		return m, fmt.Errorf("read %s: %w", path, err)
	}
	body, err := unseal(path, b)
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(body, &m); err != nil {
		return m, corrupt(path, "cannot be decoded: %v", err)
	}
	m.version = stat.Version
	return m, nil
}

// readTable returns the chunks of a snapshot.
func readTable(s session, ref snapshotRef) ([]chunkRef, error) {
	path := s.Path(snapshotPath(ref.Table))
	b, err := fetch(s, ref.Table, ref.CRC32C)
	if err != nil {
		return nil, err
	}
	raw, err := unpack(b)
	if err != nil {
		return nil, corrupt(path, "%v", err)
	}
	var chunks []chunkRef
	if err := json.Unmarshal(raw, &chunks); err != nil {
		return nil, corrupt(path, "cannot be decoded: %v", err)
	}
	return chunks, nil
}

// fetch reads a znode of a snapshot. A *journal.CorruptError says that it is not there as it should
// be, which is the journal's fault only if the manifest is still the same.
func fetch(s session, name string, crc uint32) ([]byte, error) {
	path := s.Path(snapshotPath(name))
	b, _, err := s.Get(snapshotPath(name))
	if errors.Is(err, zklib.ErrNoNode) {
		return nil, corrupt(path, "the znode is missing")
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if checksum(b) != crc {
		return nil, corrupt(path, "the content does not match its checksum")
	}
	return b, nil
}
