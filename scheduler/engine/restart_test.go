package engine_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/core"
	"github.com/perigee-sched/perigee/scheduler/engine"
	"github.com/perigee-sched/perigee/scheduler/journal"
	"github.com/perigee-sched/perigee/scheduler/journal/file"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// onDisk begins a leadership on a journal in a directory.
func (w *world) onDisk(dir string, change ...func(*engine.Options)) {
	w.Helper()
	w.launch(w.openDisk(dir), change...)
	w.settle()
}

func (w *world) openDisk(dir string) journal.Journal {
	w.Helper()
	j, err := file.Open(dir, file.Options{})
	require.NoError(w, err)
	w.disk = j
	return j
}

// restart ends a leadership, begins the next on the same directory, and holds
// back what that writes first: its view is what the journal held.
func (w *world) restart(dir string, change ...func(*engine.Options)) {
	w.Helper()
	require.NoError(w, w.stop())
	require.NoError(w, w.disk.Close())
	w.launch(w.openDisk(dir), append(change, func(*engine.Options) { w.journal.close() })...)
	w.settle()
}

// history does a bit of everything.
func (w *world) history() {
	w.Helper()
	w.subscribe()
	w.do(service(w, "web/prod/shop", 3))
	w.do(batch(w, "etl/prod/load"))
	w.do(batch(w, "etl/prod/gone"))
	w.do(put(w, api.Spec{Job: "etl/prod/tick", Kind: api.KindCron, Schedule: &api.Schedule{Cron: "* * * * *"}}))
	w.deliver(offer("a1"))
	w.askWith(w.Context(), core.Request{IdempotencyKey: "key 1", Digest: "d", Op: runs("etl/prod/load", 5)})
	w.do(runs("etl/prod/gone", 2))
	w.deliver(offer("a1"))
	for i, task := range w.mesos.launched() {
		w.deliver(update(task, "a1", core.MesosRunning))
		switch i % 3 {
		case 1:
			w.deliver(update(task, "a1", core.MesosFinished))
		case 2:
			w.deliver(update(task, "a1", core.MesosFailed))
		}
	}
	w.do(core.RemoveJob{Job: "etl/prod/gone"})
	w.do(core.ScaleJob{Job: "web/prod/shop", Instances: 2})
	w.pass(3 * time.Minute)
	w.deliver(offer("a1"))
	w.do(service(w, "web/prod/other", 1))
}

func TestRestart(t *testing.T) {
	inBubble(t, func(w *world) {
		dir := w.TempDir()
		w.onDisk(dir)
		f, err := w.engine.Follow("i1-0-0")
		require.NoError(w, err)
		w.history()
		before, index := state(w, w.engine.View()), w.engine.View().Index
		events := w.read(f)
		require.Greater(w, len(before), 20)
		require.Greater(w, len(events), 50)
		for range 3 {
			w.restart(dir)
			require.Equal(w, before, state(w, w.engine.View()))
			require.Equal(w, index, w.engine.View().Index)
			require.False(w, w.engine.View().Leads)
			requireSameEvents(w, events, w.follow("i1-0-0"))
			w.journal.open()
			w.settle()
			require.True(w, w.engine.View().Leads)
			again := w.askWith(w.Context(), core.Request{IdempotencyKey: "key 1", Digest: "d", Op: runs("etl/prod/load", 5)})
			require.NoError(w, again.err)
			require.True(w, again.result.Repeated)
			before, index = state(w, w.engine.View()), w.engine.View().Index
			events = append(events, w.follow(events[len(events)-1].ID.String())...)
		}
	})
}

func requireSameEvents(w *world, want, got []engine.Published) {
	w.Helper()
	require.Equal(w, told(want), told(got))
	for i := range want {
		require.True(w, proto.Equal(want[i].Event, got[i].Event))
	}
}

// A consumer that resumes after any event gets exactly those that came after
// it; after one that is no longer kept, it is told where all that is begins.
func TestEventsResume(t *testing.T) {
	inBubble(t, func(w *world) {
		dir := w.TempDir()
		w.onDisk(dir)
		f, err := w.engine.Follow("i1-0-0")
		require.NoError(w, err)
		w.history()
		w.compactNow()
		for range 3 {
			w.do(runs("etl/prod/load", 2))
		}
		w.compactNow()
		w.do(runs("etl/prod/load", 2))
		all := w.read(f)
		w.restart(dir)
		_, err = w.engine.Follow(all[0].ID.String())
		var gone *engine.GoneError
		require.ErrorAs(w, err, &gone)
		kept := w.follow(gone.Oldest)
		require.Greater(w, len(kept), 8, "what came after the older of two snapshots is kept")
		require.Less(w, len(kept), len(all)-30)
		requireSameEvents(w, all[len(all)-len(kept):], kept)
		w.resumes(all)
	})
}

// resumes checks each place to resume after, where all is every event there
// ever was.
func (w *world) resumes(all []engine.Published) {
	w.Helper()
	var last engine.EventID
	for i, e := range all {
		require.True(w, e.ID.Index > last.Index || e.ID.Index == last.Index && e.ID.Ordinal > last.Ordinal, "%s after %s", e.ID, last)
		last = e.ID
		f, err := w.engine.Follow(e.ID.String())
		if err != nil {
			var gone *engine.GoneError
			require.ErrorAs(w, err, &gone)
			f, err = w.engine.Follow(gone.Oldest)
			require.NoError(w, err)
			rest := w.read(f)
			// Not less: whether the entry had events after this one is not known any more.
			require.LessOrEqual(w, len(rest), len(all)-i-1, "what was asked for is indeed no longer there")
			requireSameEvents(w, all[len(all)-len(rest):], rest)
			continue
		}
		requireSameEvents(w, all[i+1:], w.read(f))
	}
	if _, err := w.engine.Follow("i2-1-0"); true {
		require.ErrorAs(w, err, new(*engine.GoneError), "of another life of the journal")
	}
}

// The events of a step that is too big for one entry are named by the entries
// that hold them, before a restart and after it.
func TestEventsOfASplitStep(t *testing.T) {
	inBubble(t, func(w *world) {
		dir := w.TempDir()
		w.onDisk(dir)
		f, err := w.engine.Follow("i1-0-0")
		require.NoError(w, err)
		w.do(batch(w, "etl/prod/load"))
		op := runs("etl/prod/load", 3000)
		value := strings.Repeat("x", 300)
		for i := range op.Runs {
			op.Runs[i].Parameters = map[string]string{"n": value}
		}
		w.do(op)
		groups := w.journal.written()
		group := groups[len(groups)-1]
		require.Greater(w, len(group), 3, "more than 500 KB are a group of entries")
		w.do(runs("etl/prod/load", 1))
		all := w.read(f)
		require.Greater(w, len(all), 6000)
		byEntry := map[uint64]int{}
		for _, e := range all {
			require.Equal(w, byEntry[e.ID.Index], e.ID.Ordinal)
			byEntry[e.ID.Index]++
		}
		held := 0
		for _, entry := range group {
			require.Equal(w, len(entry.Events), byEntry[entry.Index])
			if len(entry.Events) > 0 {
				held++
			}
		}
		require.Greater(w, held, 1, "the events are in several entries")
		before := state(w, w.engine.View())
		w.restart(dir)
		require.Equal(w, before, state(w, w.engine.View()))
		requireSameEvents(w, all, w.follow("i1-0-0"))
		for i := 0; i < len(all); i += 1501 {
			requireSameEvents(w, all[i+1:], w.follow(all[i].ID.String()))
		}
	})
}

func TestFollowerThatIsTooSlow(t *testing.T) {
	inBubble(t, func(w *world) {
		w.start(func(o *engine.Options) { o.EventsKeep = 100 })
		w.do(batch(w, "etl/prod/load"))
		f, err := w.engine.Follow("")
		require.NoError(w, err)
		w.do(runs("etl/prod/load", 200))
		_, err = f.Next(w.Context())
		var gone *engine.GoneError
		require.ErrorAs(w, err, &gone)
		kept := w.follow(gone.Oldest)
		require.GreaterOrEqual(w, len(kept), 100)
		require.LessOrEqual(w, len(kept), 125)
		f, err = w.engine.Follow(gone.Oldest)
		require.NoError(w, err)
		require.Equal(w, gone.Oldest, f.At().String())
		events, err := f.Next(w.Context())
		require.NoError(w, err)
		require.Equal(w, events[len(events)-1].ID, f.At())
	})
}

// Who follows "from now on" before the journal is loaded gets what comes after.
func TestFollowBeforeTheJournalIsLoaded(t *testing.T) {
	inBubble(t, func(w *world) {
		w.start()
		w.do(batch(w, "etl/prod/load"))
		require.NoError(w, w.stop())
		var early *engine.Follower
		e := engine.New(engine.Options{})
		early, err := e.Follow("")
		require.NoError(w, err)
		require.Empty(w, w.read(early))
		w.launch(w.storage.Open(), func(o *engine.Options) { w.journal.close() })
		early, err = w.engine.Follow("")
		require.NoError(w, err)
		w.settle()
		require.Empty(w, w.read(early))
		w.journal.open()
		w.settle()
		events := w.read(early)
		require.Len(w, events, 1)
		require.Equal(w, "scheduler.elected", events[0].Event.Type)
	})
}

// What a newer version wrote survives what this one does: records of types it
// does not know, and fields of those that it rewrites.
func TestWhatANewerVersionWroteSurvives(t *testing.T) {
	inBubble(t, func(w *world) {
		dir := w.TempDir()
		w.onDisk(dir)
		w.subscribe()
		w.do(service(w, "web/prod/shop", 1))
		w.do(batch(w, "etl/prod/load"))
		w.do(runs("etl/prod/load", 1))
		w.deliver(offer("a1"))
		v := w.engine.View()
		keys := map[string]bool{"cluster": true, "leader": true, "job/web/prod/shop": true,
			"deploy/web/prod/shop/00000001": true, "job/etl/prod/load": true}
		v.Tasks("", func(t *record.Task) bool { keys[record.TaskKey(t.Id)] = true; return true })
		v.Runs("etl/prod/load", "", func(r *record.Run) bool { keys[record.RunKey(r.Job, r.Id)] = true; return true })
		require.Len(w, keys, 8)
		require.NoError(w, w.stop())
		require.NoError(w, w.disk.Close())
		newer := protowire.AppendBytes(protowire.AppendTag(nil, 4000, protowire.BytesType), []byte("from the future"))
		j := w.openDisk(dir)
		held := new(holding)
		at, err := j.Lead(w.Context(), held)
		require.NoError(w, err)
		entry := &record.Entry{Index: at.Index, Epoch: at.Epoch, Puts: []*record.Put{
			{Key: "workflow/a", Value: []byte("not even protobuf")}, {Key: "a", Value: nil}, {Key: "zebra/1", Value: newer}}}
		for key := range keys {
			require.Contains(w, held.records, key)
			entry.Puts = append(entry.Puts, &record.Put{Key: key, Value: append(held.records[key], newer...)})
		}
		require.NoError(w, j.Append(w.Context(), []*record.Entry{entry}))
		require.NoError(w, j.Close())

		w.onDisk(dir)
		w.subscribe()
		w.do(core.ScaleJob{Job: "web/prod/shop", Instances: 2})
		w.engine.View().Tasks("", func(t *record.Task) bool {
			if t.Agent != "" {
				w.deliver(update(t.Id, "a1", core.MesosRunning))
			}
			return true
		})
		w.do(core.PauseJob{Job: "etl/prod/load"})
		for range 3 {
			w.compactNow() // so that only snapshots hold them
		}
		require.NoError(w, w.stop())
		require.NoError(w, w.disk.Close())
		held = new(holding)
		_, err = w.openDisk(dir).Lead(w.Context(), held)
		require.NoError(w, err)
		require.NoError(w, w.disk.Close())
		require.Equal(w, "not even protobuf", string(held.records["workflow/a"]))
		require.Contains(w, held.records, "a")
		require.Equal(w, newer, held.records["zebra/1"])
		for key := range keys {
			if key == record.KeyLeader {
				continue // each leader writes its own
			}
			require.Contains(w, string(held.records[key]), "from the future", key)
		}
	})
}

// holding is the records of a journal.
type holding struct{ records map[string][]byte }

func (h *holding) Record(key string, value []byte) error {
	h.put(key, append([]byte(nil), value...))
	return nil
}

func (h *holding) put(key string, value []byte) {
	if h.records == nil {
		h.records = map[string][]byte{}
	}
	h.records[key] = value
}

func (h *holding) Past([]*record.Entry) error { return nil }

func (h *holding) Apply(group []*record.Entry) error {
	for _, entry := range group {
		for _, p := range entry.GetPuts() {
			h.put(p.GetKey(), p.GetValue())
		}
		for _, key := range entry.GetDeletes() {
			delete(h.records, key)
		}
	}
	return nil
}

// A compaction that fails is not repeated with every write.
func TestCompactionThatFails(t *testing.T) {
	inBubble(t, func(w *world) {
		w.start()
		w.do(batch(w, "etl/prod/load"))
		w.journal.failCompactions(errors.New("no space left"))
		for range 100 {
			w.do(runs("etl/prod/load", 1))
		}
		require.Len(w, w.journal.compactions(), 1)
		w.journal.failCompactions(nil)
		w.pass(time.Minute)
		w.do(runs("etl/prod/load", 1))
		require.Len(w, w.journal.compactions(), 2)
		require.NoError(w, w.journal.compactions()[1])
	})
}

// A journal that cannot be read ends Run before anything is served.
func TestJournalThatCannotBeRead(t *testing.T) {
	inBubble(t, func(w *world) {
		dir := w.TempDir()
		w.onDisk(dir)
		w.do(batch(w, "etl/prod/load"))
		require.NoError(w, w.stop())
		require.NoError(w, w.disk.Close())
		j := w.openDisk(dir)
		at, err := j.Lead(w.Context(), nobody{})
		require.NoError(w, err)
		require.NoError(w, j.Append(w.Context(), []*record.Entry{{Index: at.Index, Epoch: at.Epoch,
			Puts: []*record.Put{{Key: "job/etl/prod/load", Value: []byte{0xff}}}}}))
		require.NoError(w, j.Close())
		w.onDisk(dir)
		err = w.wait()
		require.ErrorContains(w, err, `decode record "job/etl/prod/load"`)
		require.False(w, w.engine.View().Leads)
		_, _, err = w.engine.Do(w.Context(), core.Request{Op: runs("etl/prod/load", 1)})
		require.ErrorIs(w, err, engine.ErrUnavailable)
		require.NoError(w, w.disk.Close())
		_, err = os.Stat(dir)
		require.NoError(w, err)
	})
}

func FuzzParseEventID(f *testing.F) {
	f.Add("i1-12-3")
	f.Add("i1-0-2147483647")
	f.Add("--")
	f.Fuzz(func(t *testing.T, text string) {
		id, err := engine.ParseEventID(text)
		if err != nil {
			require.ErrorContains(t, err, "is not an event id")
			return
		}
		again, err := engine.ParseEventID(id.String())
		require.NoError(t, err, fmt.Sprint(id))
		require.Equal(t, id, again)
	})
}
