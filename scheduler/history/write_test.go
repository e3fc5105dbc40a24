package history

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/engine"
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

// What is told more than once before it is written is there once, as it was told
// last.
func TestToldTwiceInABatch(t *testing.T) {
	onBoth(t, func(p *where) {
		s := p.start()
		newer := task("web/prod/shop", 1, failed)
		newer.Message = "as it was told last"
		s.Record(loaded(1))
		s.Record(entry(2, task("web/prod/shop", 1, finished), task("web/prod/shop", 2, finished)))
		s.Record(entry(3, newer))
		s.Record(entry(3, newer)) // as after the journal was read anew
		s.Record(entry(2, task("web/prod/shop", 1, finished), task("web/prod/shop", 2, finished)))
		s.Record(entry(4, task("web/prod/shop", 3, finished)))
		s.through(4)
		require.Equal(p, 3, s.rows("tasks"))
		found, err := s.FindTask(p.Context(), newer.Id)
		require.NoError(p, err)
		require.Equal(p, "as it was told last", found.Message)
		require.Equal(p, "2-0 2-1 3-0 4-0", s.inOrder(engine.EventID{}, 10))
		require.EqualValues(p, 3, s.State(p.Context()).Rows["tasks"])
	})
}

// More jobs than a query has plans for are found together.
func TestFindsOfManyJobs(t *testing.T) {
	onBoth(t, func(p *where) {
		s := p.start()
		d := loaded(1)
		const jobs = 60
		for i := range 2 * jobs {
			state := finished
			if i >= jobs {
				state = failed
			}
			d.Finished = append(d.Finished, task(fmt.Sprintf("web/prod/job-%02d", i%jobs), i, state, because("of many")),
				task(fmt.Sprintf("etl/prod/job-%02d", i%jobs), 1000+i, finished))
		}
		s.Record(d)
		s.through(1)
		list := func(f api.HistoryFilter) (ids []string) {
			f.Limit = 50
			for {
				page, next, err := s.Tasks(p.Context(), f)
				require.NoError(p, err)
				for _, t := range page {
					require.True(p, strings.HasPrefix(t.Job, "web/"), t.Job)
					ids = append(ids, t.Id)
				}
				if f.Cursor = next; next == "" {
					return ids
				}
			}
		}
		all := list(api.HistoryFilter{Team: "web"})
		require.Len(p, all, 2*jobs)
		require.True(p, slices.IsSortedFunc(all, func(a, b string) int { return strings.Compare(b, a) }), "newest first")
		require.Len(p, list(api.HistoryFilter{Job: "web/prod/*", States: []string{"failed"}}), jobs)
		require.Len(p, list(api.HistoryFilter{Team: "web", Text: "many"}), jobs)
		require.Len(p, list(api.HistoryFilter{Team: "web", From: minute(10), To: minute(20)}), 2*jobs-10, "those that ran by then")
	})
}

// Words that many tasks have, and those that few have, are found alike.
func TestFindsCommonAndRareWords(t *testing.T) {
	onBoth(t, func(p *where) {
		s := p.start()
		d := loaded(1)
		const many = 2_500 // more than are sorted
		for i := range many {
			why := "of something common"
			if i%1000 == 7 {
				why += ", and rare"
			}
			d.Finished = append(d.Finished, task("web/prod/shop", i, failed, because(why)), task("web/prod/shop", many+i, finished))
		}
		s.Record(d)
		s.through(1)
		list := func(f api.HistoryFilter) (ids []string) {
			f.Limit = 500
			for {
				page, next, err := s.Tasks(p.Context(), f)
				require.NoError(p, err)
				for _, t := range page {
					ids = append(ids, t.Id)
				}
				if f.Cursor = next; next == "" {
					return ids
				}
			}
		}
		common := list(api.HistoryFilter{Text: "common"})
		require.Len(p, common, many)
		require.True(p, slices.IsSortedFunc(common, func(a, b string) int { return strings.Compare(b, a) }), "newest first")
		require.Equal(p, []string{"b1x7-002007", "b1x7-001007", "b1x7-000007"}, list(api.HistoryFilter{Text: "rare COMMON"}))
		require.Len(p, list(api.HistoryFilter{Text: "common", Job: "web/prod/shop"}), many)
		require.Len(p, list(api.HistoryFilter{Text: "common", From: minute(many - 100)}), 100)
		require.Empty(p, list(api.HistoryFilter{Text: "common", States: []string{"finished"}}))
		require.Empty(p, list(api.HistoryFilter{Text: "nowhere"}))
	})
}
