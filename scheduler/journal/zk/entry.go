package zk

import (
	"encoding/binary"

	"google.golang.org/protobuf/proto"

	"github.com/perigee-sched/perigee/scheduler/journal"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// An entry's znode holds the CRC-32C of the rest (4 bytes, little endian), and the entry.
const entryHeaderBytes = 4

func encodeEntry(e *record.Entry) ([]byte, error) {
	size := proto.Size(e)
	if err := journal.CheckSize(e.GetIndex(), size); err != nil {
		return nil, err
	}
	b := make([]byte, entryHeaderBytes, entryHeaderBytes+size)
	b, err := proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(b, e)
	if err != nil {
		return nil, journal.Refused("encode entry %d: %v", e.GetIndex(), err)
	}
	binary.LittleEndian.PutUint32(b, checksum(b[entryHeaderBytes:]))
	return b, nil
}

func decodeEntry(path string, index uint64, b []byte) (*record.Entry, error) {
	if len(b) < entryHeaderBytes || checksum(b[entryHeaderBytes:]) != binary.LittleEndian.Uint32(b) {
		return nil, corrupt(path, "the entry does not match its checksum")
	}
	e := new(record.Entry)
	if err := proto.Unmarshal(b[entryHeaderBytes:], e); err != nil {
		return nil, corrupt(path, "the entry cannot be decoded: %v", err)
	}
	if e.GetIndex() != index {
		return nil, corrupt(path, "the entry calls itself %d", e.GetIndex())
	}
	return e, nil
}
