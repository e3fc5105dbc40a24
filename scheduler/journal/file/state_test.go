package file

import (
	"iter"
	"maps"
	"slices"

	"github.com/perigee-sched/perigee/scheduler/record"
)

// wholeState is an Applier that keeps everything.
type wholeState struct {
	records map[string]string
	entries []*record.Entry // past and applied
	last    uint64
}

func (s *wholeState) Record(key string, value []byte) error {
	if s.records == nil {
		s.records = map[string]string{}
	}
	s.records[key] = string(value)
	return nil
}

func (s *wholeState) Past(g []*record.Entry) error {
	s.entries = append(s.entries, g...)
	s.last = g[len(g)-1].GetIndex()
	return nil
}

func (s *wholeState) Apply(g []*record.Entry) error {
	for _, e := range g {
		for _, p := range e.GetPuts() {
			_ = s.Record(p.GetKey(), p.GetValue())
		}
	}
	return s.Past(g)
}

func stateOf(entries []*record.Entry) map[string]string {
	var s wholeState
	for _, e := range entries {
		_ = s.Apply([]*record.Entry{e})
	}
	return s.records
}

// stateSource is a Source over a map.
type stateSource struct {
	index   uint64
	records map[string]string
}

func oneRecord(index uint64) stateSource {
	return stateSource{index, map[string]string{"cluster": "x"}}
}

func (s stateSource) Index() uint64 { return s.index }

func (s stateSource) Records(from string) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for _, k := range slices.Sorted(maps.Keys(s.records)) {
			if k >= from && !yield(k, []byte(s.records[k])) {
				return
			}
		}
	}
}
