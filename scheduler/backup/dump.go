package backup

import (
	"encoding/json"
	"fmt"
	"io"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/perigee-sched/perigee/scheduler/record"
)

// dumped is a record as people read it. One of a type that this version does not
// know is shown as it is encoded.
type dumped struct {
	Key     string          `json:"key"`
	Record  json.RawMessage `json:"record,omitempty"`
	Unknown []byte          `json:"unknown,omitempty"`
}

// Dump writes the records whose keys have a prefix, one a line, as JSON. Specs and
// timelines, which records hold encoded, are decoded.
func Dump(out io.Writer, s *State, prefix string) error {
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	for key, value := range s.Records(prefix) {
		m, err := record.Decode(key, value)
		if err != nil {
			return err
		}
		d := dumped{Key: key}
		if m == nil {
			d.Unknown = value
		} else if d.Record, err = readable(m); err != nil {
			return fmt.Errorf("record %q: %w", key, err)
		}
		if err := e.Encode(d); err != nil {
			return err
		}
	}
	return nil
}

func readable(m record.Message) (json.RawMessage, error) {
	b, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil {
		return nil, err
	}
	switch m := m.(type) {
	case *record.Deploy:
		return with(b, "spec", m.Spec)
	case *record.Task:
		if len(m.Timeline) == 0 {
			return b, nil
		}
		l := new(record.Timeline)
		if err := proto.Unmarshal(m.Timeline, l); err != nil {
			return nil, err
		}
		timeline, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(l)
		if err != nil {
			return nil, err
		}
		return with(b, "timeline", timeline)
	}
	return b, nil
}

// with replaces a field of a JSON object.
func with(object []byte, field string, value json.RawMessage) (json.RawMessage, error) {
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(object, &fields); err != nil {
		return nil, err
	}
	if json.Valid(value) {
		fields[field] = value
	}
	return json.Marshal(fields)
}
