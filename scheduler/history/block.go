package history

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/perigee-sched/perigee/scheduler/engine"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// Bounds of a block of events. Its span is one, so that blocks are found by time.
const (
	blockEvents = 256
	blockBytes  = 64 << 10
	blockSpan   = 10 * 60 * 1000 // ms
)

// block is events that follow each other, as they are stored.
type block struct {
	k           int64
	first, last engine.EventID
	count       int
	terms       []string
	jobs        []string // that events of it are about
	body        []byte
}

const (
	typeOf   = "y"
	jobOf    = "j"
	hostOf   = "h"
	agentOf  = "a"
	objectOf = "o"
	taskOf   = "t"
)

// packer makes blocks, one after the other.
type packer struct {
	out    bytes.Buffer
	writer *flate.Writer
	raw    []byte
	seen   map[eventTerm]bool
}

// blocks cuts events, of one incarnation, into blocks.
func (p *packer) blocks(events []engine.Published) ([]block, error) {
	var all []block
	for len(events) > 0 {
		b, n, err := p.block(events)
		if err != nil {
			return nil, err
		}
		all = append(all, b)
		events = events[n:]
	}
	return all, nil
}

// block makes one of the first n events.
func (p *packer) block(events []engine.Published) (b block, n int, err error) {
	if p.writer == nil {
		p.writer, _ = flate.NewWriter(nil, flate.BestSpeed)
	}
	p.raw, p.seen = p.raw[:0], map[eventTerm]bool{}
	b.first = events[0].ID
	low, high := events[0].Event.At, events[0].Event.At
	for ; n < len(events) && n < blockEvents && len(p.raw) < blockBytes; n++ {
		e := events[n]
		low, high = min(low, e.Event.At), max(high, e.Event.At)
		if n > 0 && high-low > blockSpan {
			break
		}
		if err := p.add(b.first.Index, e); err != nil {
			return b, 0, err
		}
		p.note(&b, e.Event)
	}
	b.last, b.count = events[n-1].ID, n
	oldest := events[0].Event.At
	for _, e := range events[:n] {
		oldest = min(oldest, e.Event.At)
	}
	b.k = keyOf(oldest, int64(b.first.Index<<7)+int64(b.first.Ordinal))
	p.out.Reset()
	p.out.WriteByte(deflated)
	p.writer.Reset(&p.out)
	p.writer.Write(p.raw)
	p.writer.Close()
	if b.body = bytes.Clone(p.out.Bytes()); len(b.body) > len(p.raw) {
		b.body = append([]byte{plain}, p.raw...)
	}
	return b, n, nil
}

// add appends an event: its id, relative to the block's first index, its size,
// and itself.
func (p *packer) add(first uint64, e engine.Published) error {
	data, err := encode.Marshal(e.Event)
	if err != nil {
		return fmt.Errorf("encode event %s for history: %w", e.ID, err)
	}
	p.raw = binary.AppendUvarint(p.raw, e.ID.Index-first)
	p.raw = binary.AppendUvarint(p.raw, uint64(e.ID.Ordinal))
	p.raw = binary.AppendUvarint(p.raw, uint64(len(data)))
	p.raw = append(p.raw, data...)
	return nil
}

// note adds the terms by which a block with an event is found.
func (p *packer) note(b *block, e *record.Event) {
	for _, by := range eventTerms(e) {
		if by.text == "" || p.seen[by] {
			continue
		}
		p.seen[by] = true
		b.terms = append(b.terms, by.String())
		if by.kind == jobOf {
			b.jobs = append(b.jobs, by.text)
		}
	}
}

// eventTerm is something that blocks are found by: that an event of them has it.
type eventTerm struct{ kind, text string }

func (t eventTerm) String() string { return hashTerm(t.kind, t.text) }

func eventTerms(e *record.Event) [8]eventTerm {
	return [...]eventTerm{{typeOf, e.Type}, {typeOf, family(e.Type)}, {jobOf, e.Job}, {taskOf, e.Task}, {hostOf, e.Host},
		{agentOf, e.Agent}, {actorOf, e.Actor}, {objectOf, e.Object}}
}

// family is the pattern of the types that are about the same: deploy.*.
func family(typ string) string {
	about, _, _ := strings.Cut(typ, ".")
	return about + ".*"
}

var errBlock = errors.New("a block of events in history is damaged")

// unpackBlock returns the events of a block, oldest first.
func unpackBlock(incarnation string, firstIndex uint64, body []byte) ([]engine.Published, error) {
	raw, err := unpack(body)
	if err != nil {
		return nil, err
	}
	var out []engine.Published
	for len(raw) > 0 {
		var numbers [3]uint64
		for i := range numbers {
			n, size := binary.Uvarint(raw)
			if size <= 0 {
				return nil, errBlock
			}
			numbers[i], raw = n, raw[size:]
		}
		if numbers[2] > uint64(len(raw)) {
			return nil, errBlock
		}
		e := new(record.Event)
		if err := proto.Unmarshal(raw[:numbers[2]], e); err != nil {
			return nil, fmt.Errorf("%w: %w", errBlock, err)
		}
		raw = raw[numbers[2]:]
		id := engine.EventID{Incarnation: incarnation, Index: firstIndex + numbers[0], Ordinal: int(numbers[1])}
		out = append(out, engine.Published{ID: id, Event: e})
	}
	return out, nil
}
