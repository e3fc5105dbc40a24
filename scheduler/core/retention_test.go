package core

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/scheduler/record"
)

// archive is a world whose schedulers keep histories, which the test lets lag.
type archive struct {
	*world
	index      uint64            // of the last entry
	put        map[string]uint64 // finished records that are there: the entry of their last version
	endedAt    map[string]int64
	steps      []stepEntry // of this leadership
	schedulers []*scheduler
	left       map[string]bool // records that an entry held for history alone
	lost       int             // as the core counted before this step
}

type stepEntry struct{ index, step uint64 }

type scheduler struct {
	address string
	through uint64
	live    bool
	seenAt  int64 // by the core
}

func newArchive(t *testing.T, cfg Config, schedulers ...string) *archive {
	a := &archive{put: map[string]uint64{}, endedAt: map[string]int64{}, left: map[string]bool{}}
	cfg.History = true
	a.world = newWorld(t)
	a.cfg = cfg
	a.load()
	a.seen = a.check
	for _, s := range schedulers {
		a.schedulers = append(a.schedulers, &scheduler{address: s, live: true})
	}
	a.do("lead")
	return a
}

// check sees that no finished record goes before every history that counts has
// it, but for those that the core counts as lost.
func (a *archive) check(r Ready) {
	if len(r.Writes)+len(r.Events) > 0 {
		a.index++
		a.steps = append(a.steps, stepEntry{a.index, r.Step})
	}
	left := map[string]bool{}
	for _, m := range r.Finished {
		left[record.KeyOf(m)] = true
		a.left[record.KeyOf(m)] = true
	}
	unrecorded := 0
	for _, wr := range r.Writes {
		switch m := wr.Record.(type) {
		case *record.Task:
			if m.State.Terminal() {
				a.put[wr.Key], a.endedAt[wr.Key] = a.index, m.EndedAt
			}
		case *record.Run:
			if m.State.Terminal() {
				a.put[wr.Key], a.endedAt[wr.Key] = a.index, m.EndedAt
			}
		case nil:
			at, finished := a.put[wr.Key]
			if finished && !left[wr.Key] && !a.allHave(at) {
				unrecorded++
			}
			require.True(a.t, finished || left[wr.Key] || !isWork(wr.Key), "%s goes and never ended", wr.Key)
			delete(a.put, wr.Key)
			delete(a.endedAt, wr.Key)
		}
	}
	require.LessOrEqual(a.t, unrecorded, a.core.retention.lost-a.lost, "records went that a history lacks, and were not counted")
	a.lost = a.core.retention.lost
}

func isWork(key string) bool {
	return strings.HasPrefix(key, record.PrefixTask) || strings.HasPrefix(key, record.PrefixRun)
}

// allHave says whether the histories that count have an entry.
func (a *archive) allHave(index uint64) bool {
	for _, s := range a.schedulers {
		if s.through < index && (s.live || a.now-s.seenAt <= awaitHistory) {
			return false
		}
	}
	return true
}

// tell has the core know how far histories are.
func (a *archive) tell() {
	var e Histories
	for _, s := range a.schedulers {
		if s.live {
			at := HistoryAt{Address: s.address, Through: s.through}
			for _, st := range a.steps {
				if st.index <= s.through {
					at.Step = st.step
				}
			}
			s.seenAt = a.now
			e.Live = append(e.Live, at)
		}
	}
	a.step(e)
}

// catchUp has a scheduler's history take in everything so far.
func (a *archive) catchUp() {
	for _, s := range a.schedulers {
		if s.live {
			s.through = a.index
		}
	}
	a.tell()
}

func (a *archive) failOver() {
	a.lost = 0
	a.steps = []stepEntry{{a.index, HistoryLoaded}}
	a.do("fail over")
}

// runs has n runs of a batch job begin and end.
func (a *archive) runs(n int) {
	for range n {
		a.do("run ci/prod/build")
		for id, t := range a.core.tasks {
			if t.live() {
				a.do("offer a1 cpus=8 mem=8192")
				a.do("accepted " + id)
				a.do("update " + id + " RUNNING")
				a.do("update " + id + " FINISHED")
				break
			}
		}
	}
}

const build = `put {"job":"ci/prod/build","kind":"batch"}`

func TestFinished_StaysUntilEveryHistoryHasIt(t *testing.T) {
	t.Parallel()
	a := newArchive(t, Config{FinishedFor: 60_000}, "a", "b")
	a.do(build)
	a.runs(3)
	a.wait(10 * 60_000)
	require.Len(t, a.put, 6, "no history was heard of")
	a.schedulers[0].through = a.index
	a.tell()
	a.wait(10 * 60_000)
	require.Len(t, a.put, 6, "b lags")
	a.catchUp()
	require.Empty(t, a.put)
	require.Zero(t, a.core.Observe().Unrecorded)
	require.Zero(t, a.core.Observe().FinishedTasks)
}

func TestFinished_GoesOnceOldEnough(t *testing.T) {
	t.Parallel()
	a := newArchive(t, Config{FinishedFor: 60_000}, "a")
	a.do(build)
	a.runs(3)
	a.catchUp()
	require.Len(t, a.put, 6)
	a.wait(59_000)
	require.Len(t, a.put, 6)
	a.wait(2000)
	require.Empty(t, a.put)
}

func TestFinished_OfARemovedJobIsLeftToHistory(t *testing.T) {
	t.Parallel()
	a := newArchive(t, Config{FinishedFor: 60_000}, "a")
	a.do(build)
	a.runs(2)
	a.do("run ci/prod/build")
	a.do("remove ci/prod/build")
	require.Empty(t, a.put)
	require.Len(t, a.left, 7, "three runs, their tasks, and a deploy")
	require.Zero(t, a.core.Observe().Unrecorded)
}

// One that ends again and again keeps its latest tasks, once histories have the
// others.
func TestFinished_OfAnInstanceGoesFirst(t *testing.T) {
	t.Parallel()
	a := newArchive(t, Config{FinishedFor: 3_600_000}, "a")
	a.do(`put {"job":"web/prod/site","kind":"service","command":"./x"}`)
	for range instanceTasksKept + 5 {
		a.wait(400_000)
		a.do("offer a1 cpus=8 mem=8192")
		for id, tk := range a.core.tasks {
			if tk.live() {
				a.do("accepted " + id)
				a.do("update " + id + " FAILED")
			}
		}
	}
	require.Len(t, a.put, instanceTasksKept+5)
	a.catchUp()
	require.Less(t, len(a.put), instanceTasksKept+1)
	require.NotEmpty(t, a.put)
}

func TestFinished_AHistoryThatIsAwayIsWaitedForADay(t *testing.T) {
	t.Parallel()
	a := newArchive(t, Config{FinishedFor: 60_000}, "a", "b")
	a.do(build)
	a.catchUp()
	a.schedulers[1].live = false
	a.runs(1)
	a.catchUp()
	a.failOver() // which remembers that b was there
	a.catchUp()
	a.wait(awaitHistory - 120_000)
	a.catchUp()
	require.Len(t, a.put, 2, "b may come back")
	a.wait(4 * 60_000)
	a.tell()
	require.Empty(t, a.put)
	require.Nil(t, a.records[record.RecorderKey("b")])
}

func TestFinished_TooManyGoAnywayAndAreCounted(t *testing.T) {
	t.Parallel()
	a := newArchive(t, Config{FinishedFor: 60_000, FinishedKeep: 5}, "a")
	a.do(build)
	a.runs(8)
	require.Len(t, a.put, 10)
	require.Equal(t, 6, a.core.Observe().Unrecorded, "three runs and their tasks")
}

// What a history has moves with each entry: telling it must not make one.
func TestHistories_AreNotWrittenForTheirOwnSake(t *testing.T) {
	t.Parallel()
	a := newArchive(t, Config{FinishedFor: 60_000}, "a", "b")
	a.do(build)
	a.catchUp()
	at := a.index
	for range 100 {
		a.wait(1000)
		a.catchUp()
	}
	require.Equal(t, at, a.index)
	a.wait(seenEvery)
	a.catchUp()
	require.Equal(t, at+1, a.index, "that they live is written now and then")
}

func TestFinished_AtRandom(t *testing.T) {
	t.Parallel()
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 1))
			a := newArchive(t, Config{FinishedFor: 60_000, FinishedKeep: 20}, "a", "b", "c")
			a.do(build)
			a.do(`put {"job":"web/prod/site","kind":"service","command":"./x"}`)
			for range 120 {
				switch s := a.schedulers[r.IntN(3)]; r.IntN(9) {
				case 0, 1:
					a.do("run ci/prod/build")
				case 2, 3:
					a.do("offer a1 cpus=8 mem=8192")
				case 4:
					for _, id := range sortedTasks(a.core) {
						if r.IntN(2) == 0 {
							a.do("accepted " + id)
							a.do("update " + id + []string{" RUNNING", " FINISHED", " FAILED"}[r.IntN(3)])
						}
					}
				case 5:
					if s.live {
						s.through = max(s.through, a.index-min(a.index, uint64(r.IntN(4))))
					}
					a.tell()
				case 6:
					a.wait(int64(r.IntN(50_000)))
				case 7:
					if back := r.IntN(3) > 0; back != s.live {
						s.live, s.through = back, a.index // who comes takes in all that is there
					}
					if r.IntN(4) == 0 {
						a.failOver()
						a.tell()
					}
				case 8:
					if r.IntN(5) == 0 {
						a.do("remove ci/prod/build")
						a.do(build)
					}
				}
			}
			for _, s := range a.schedulers {
				s.live = true
			}
			a.catchUp()
			a.wait(10 * 60_000)
			a.catchUp()
			a.wait(120_000)
			for key, at := range a.endedAt {
				require.Less(t, a.now-at, int64(70_000), "%s is still there", key)
			}
		})
	}
}

func sortedTasks(c *Core) []string {
	var ids []string
	for id, t := range c.tasks {
		if t.live() && t.launched() {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}
