package history

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// rows counts what a table has.
func (s *scheduler) rows(table string) (n int) {
	s.p.Helper()
	require.NoError(s.p, s.db().QueryRow("SELECT count(*) FROM "+table).Scan(&n))
	return n
}

func TestKeepsWhatItIsTold(t *testing.T) {
	onBoth(t, func(p *where) {
		s := p.start()
		at, _ := s.Through()
		require.Zero(p, at)
		s.Record(loaded(3))
		for i := range uint64(30) {
			s.Record(entry(4+i, task("web/prod/shop", int(i), finished), task("web/prod/cart", 100+int(i), failed)))
		}
		s.through(33)
		require.Equal(p, 60, s.rows("tasks"))
		require.NoError(p, s.stop())

		// It goes on where it was.
		s = p.start()
		at, _ = s.Through()
		require.Zero(p, at, "of which incarnation the journal is, is not known")
		s.Record(loaded(33))
		s.through(33)
		s.Record(entry(33, task("web/prod/shop", 500, finished)))
		s.Record(entry(34, task("web/prod/shop", 501, finished)))
		s.through(34)
		require.Equal(p, 61, s.rows("tasks"), "what is there already is passed by")
	})
}

func TestToldAgainNothingIsTwice(t *testing.T) {
	onBoth(t, func(p *where) {
		s := p.start()
		s.Record(loaded(1))
		first := entry(2, task("web/prod/shop", 1, finished), task("web/prod/shop", 2, finished))
		s.Record(first)
		s.through(2)
		newer := task("web/prod/shop", 1, finished)
		newer.Message = "of a newer version"
		d := loaded(9, first)
		d.Finished[0] = newer
		s.Record(d)
		s.through(9)
		require.Equal(p, 2, s.rows("tasks"))
	})
}

func TestKeysThatCollide(t *testing.T) {
	onBoth(t, func(p *where) {
		s := p.start()
		d := loaded(1)
		for i := range 3000 { // of one millisecond
			task := task("web/prod/shop", i, finished)
			task.EndedAt = at(0)
			d.Finished = append(d.Finished, task)
		}
		s.Record(d)
		s.through(1)
		require.Equal(p, 3000, s.rows("tasks"))
		again := loaded(2)
		again.Finished = d.Finished
		s.Record(again)
		s.through(2)
		require.Equal(p, 3000, s.rows("tasks"))
	})
}
