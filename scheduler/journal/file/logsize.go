package file

import "sort"

// logSize knows how many bytes of log follow an index, to within sampleBytes: enough to decide when
// to compact, without an account of every group.
type logSize struct {
	written int64 // bytes of all groups seen
	start   int64 // those that the newest snapshot includes
	samples []sizeSample
}

type sizeSample struct {
	last    uint64 // index of an entry
	written int64  // bytes up to and with it
}

const sampleBytes = 4 << 10

func (l *logSize) add(last uint64, bytes int64) {
	l.written += bytes
	if n := len(l.samples); n == 0 || l.written-l.samples[n-1].written >= sampleBytes {
		l.samples = append(l.samples, sizeSample{last: last, written: l.written})
	}
}

// compacted notes that a snapshot includes everything up to index.
func (l *logSize) compacted(index uint64) {
	n := sort.Search(len(l.samples), func(i int) bool { return l.samples[i].last > index })
	if n > 0 {
		l.start = l.samples[n-1].written
		l.samples = append([]sizeSample(nil), l.samples[n:]...)
	}
}

func (l *logSize) bytes() int64 { return l.written - l.start }
