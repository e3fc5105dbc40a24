package file

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"google.golang.org/protobuf/proto"

	"github.com/perigee-sched/perigee/scheduler/journal"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// A frame holds one group, so that a group is whole exactly when its frame is. Integers are little
// endian.
//
//	 0  length of the payload, 4 bytes
//	 4  checksum of the payload, 4 bytes
//	 8  index of the first entry, 8 bytes
//	16  number of entries, 4 bytes
//	20  checksum of the 20 bytes before, 4 bytes
//	24  payload: each entry, encoded, after its length as a varint
//
// The header has a checksum of its own so that the length can be trusted: whether a damaged frame
// reaches the end of the file decides between a torn write and corruption. Checksums are CRC-32C
// starting from the segment's random salt, so bytes of another file, or a record's content, never
// pass for a frame.
const frameHeaderBytes = 24

// maxGroupBytes keeps a payload's length well inside its 4 bytes.
const maxGroupBytes = 1 << 30

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(salt uint32, b []byte) uint32 { return crc32.Update(salt, castagnoli, b) }

type frame struct {
	index   uint64 // of the first entry
	count   uint32
	size    int // of header and payload
	payload []byte
}

// end returns the index after the last entry.
func (f frame) end() uint64 { return f.index + uint64(f.count) }

var (
	errCut     = errors.New("the frame is cut off by the end of the file")
	errHeader  = errors.New("the frame's header does not match its checksum")
	errPayload = errors.New("the frame's content does not match its checksum")
)

// parseFrame reads the frame at the start of b. With errPayload the frame's size is valid.
func parseFrame(b []byte, salt uint32) (frame, error) {
	if len(b) < frameHeaderBytes {
		return frame{}, errCut
	}
	if checksum(salt, b[:20]) != binary.LittleEndian.Uint32(b[20:]) {
		return frame{}, errHeader
	}
	f := frame{
		index: binary.LittleEndian.Uint64(b[8:]),
		count: binary.LittleEndian.Uint32(b[16:]),
		size:  frameHeaderBytes + int(binary.LittleEndian.Uint32(b)),
	}
	if f.size > len(b) {
		return f, errCut
	}
	f.payload = b[frameHeaderBytes:f.size]
	if checksum(salt, f.payload) != binary.LittleEndian.Uint32(b[4:]) {
		return f, errPayload
	}
	return f, nil
}

// appendFrame appends the frame of group to b, which may be reused afterwards.
func appendFrame(b []byte, salt uint32, group []*record.Entry) ([]byte, error) {
	start := len(b)
	b = append(b, make([]byte, frameHeaderBytes)...)
	options := proto.MarshalOptions{UseCachedSize: true}
	for _, e := range group {
		size := proto.Size(e)
		if err := journal.CheckSize(e.GetIndex(), size); err != nil {
			return b[:start], err
		}
		b = binary.AppendUvarint(b, uint64(size))
		var err error
		if b, err = options.MarshalAppend(b, e); err != nil {
			return b[:start], journal.Refused("encode entry %d: %v", e.GetIndex(), err)
		}
	}
	payload := b[start+frameHeaderBytes:]
	if len(payload) > maxGroupBytes {
		return b[:start], journal.Refused("the group is %d bytes, at most %d are allowed", len(payload), maxGroupBytes)
	}
	header := b[start : start+frameHeaderBytes]
	binary.LittleEndian.PutUint32(header[0:], uint32(len(payload)))
	binary.LittleEndian.PutUint32(header[4:], checksum(salt, payload))
	binary.LittleEndian.PutUint64(header[8:], group[0].GetIndex())
	binary.LittleEndian.PutUint32(header[16:], uint32(len(group)))
	binary.LittleEndian.PutUint32(header[20:], checksum(salt, header[:20]))
	return b, nil
}

// decode passes the frame's entries in order. An error of its own means that a frame with valid
// checksums does not hold what it should.
func (f frame) decode(pass func(*record.Entry) error) error {
	rest := f.payload
	for i := range uint64(f.count) {
		size, n := binary.Uvarint(rest)
		if n <= 0 || size > uint64(len(rest)-n) {
			return fmt.Errorf("entry %d does not fit into its frame", f.index+i)
		}
		e := new(record.Entry)
		if err := proto.Unmarshal(rest[n:n+int(size)], e); err != nil {
			return fmt.Errorf("entry %d cannot be decoded: %w", f.index+i, err)
		}
		if e.GetIndex() != f.index+i {
			return fmt.Errorf("entry %d calls itself %d", f.index+i, e.GetIndex())
		}
		rest = rest[n+int(size):]
		if err := pass(e); err != nil {
			return err
		}
	}
	if len(rest) > 0 {
		return fmt.Errorf("%d bytes follow the last entry of the frame", len(rest))
	}
	return nil
}
