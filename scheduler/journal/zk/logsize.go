package zk

import "sort"

// znodeBytes is about what ZooKeeper's memory takes for a znode beside its content: many small entries
// are worth a snapshot as few big ones are.
const znodeBytes = 512

// logSize knows how many bytes of log follow an index, to within sampleBytes.
type logSize struct {
	written int64 // bytes of all entries seen
	start   int64 // those that the newest snapshot includes
	samples []sizeSample
}

type sizeSample struct {
	last    uint64 // index of an entry
	written int64  // bytes up to and with it
}

const sampleBytes = 4 << 10

func (l *logSize) add(index uint64, content int) {
	l.written += int64(content) + znodeBytes
	if n := len(l.samples); n == 0 || l.written-l.samples[n-1].written >= sampleBytes {
		l.samples = append(l.samples, sizeSample{last: index, written: l.written})
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
