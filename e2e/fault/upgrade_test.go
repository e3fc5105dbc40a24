package fault

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/e2e/program"
	"github.com/perigee-sched/perigee/scheduler/record"
	"github.com/perigee-sched/perigee/scheduler/zookeeper/zktest"
)

// TestUpgrade rolls three schedulers to the next version, one by one, and back,
// while work runs and jobs are edited. Either version leads over standbys of the
// other. What the next one wrote, and this one does not know, stays as it was,
// whatever this one rewrites and compacts; tasks do not notice.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	needsCluster(t)
	server, err := zktest.Start(filepath.Join(built.dir, program.Again("zookeeper-upgrade")), zktest.Options{})
	zktest.Require(t, err)
	t.Cleanup(server.Close)
	begun := time.Now()
	next := nextVersion(t)
	t.Logf("%v to build the next version", time.Since(begun).Round(time.Millisecond))
	w := newWorld(t, []*zktest.Server{server}, "/fault/upgrade")
	before, pids := w.living(web)

	a, b, c := w.schedulers[0], w.schedulers[1], w.schedulers[2]
	w.leadBy(a)
	w.rollTo(next, b, c)
	w.requireVersion(a, "dev")
	w.edit("this version leads over standbys of the next")
	w.rollTo(next, a)
	leader := w.leader()
	w.requireVersion(leader, "next")
	w.edit("all are of the next version")
	ends := w.holdRun("upgrade") // whose records this version will rewrite
	eventually(t, "the next version has written what this one does not know", func() error {
		return w.journal.read(func() error { return w.rewritten("next") })
	})

	w.rollTo(built.perigee, w.others(leader)...)
	w.edit("the next version leads over standbys of this one")
	w.rollTo(built.perigee, leader)
	old := w.leader()
	w.requireVersion(old, "dev")
	w.edit("all are of this version again")
	ends()
	w.awaitSucceeded("upgrade")
	w.compact()
	require.NoError(t, w.journal.read(func() error { return w.rewritten("dev") }))

	again := w.others(old)[0]
	w.rollTo(next, again)
	w.leadBy(again)
	w.edit("the next version leads again, and has read what this one compacted")
	w.audit()
	require.NoError(t, w.journal.read(w.carried))
	after, _ := w.living(web)
	require.Equal(t, before, after, "tasks were replaced")
	require.NoError(t, pids())
}

// rollTo ends schedulers and starts them as those of a version.
func (w *world) rollTo(binary string, schedulers ...*scheduler) {
	w.Helper()
	for _, s := range schedulers {
		s.binary = binary
		w.roll(s)
	}
}

func (w *world) requireVersion(s *scheduler, version string) {
	w.Helper()
	ctx, cancel := quickly()
	defer cancel()
	part, err := s.Scheduler(ctx)
	require.NoError(w, err)
	require.Equal(w, version, part.Version)
	require.Same(w, s, w.leader())
}

// leadBy has leaders step down until it is this scheduler's turn.
func (w *world) leadBy(s *scheduler) {
	w.Helper()
	for range w.schedulers {
		leader := w.leader()
		if leader == s {
			return
		}
		w.stepDown(leader)
	}
	require.Same(w, s, w.leader())
}

// edit deploys a new spec of a job, and waits until the cron has fired and a run
// of the users' has ended since.
func (w *world) edit(why string) {
	w.Helper()
	deploy := w.put(&api.Spec{Job: idle, Kind: api.KindBatch, Command: "true # " + why, Resources: small()}).Deploy
	w.awaitDeployed(idle, deploy)
	w.awaitEvents(tick, "run.succeeded", 1)
	w.awaitEvents(sums, "run.succeeded", 2)
}

// awaitEvents waits until some more events of a type were told of a job.
func (w *world) awaitEvents(job, typ string, more int) {
	w.Helper()
	count := func() (n int, err error) {
		return n, w.journal.read(func() error {
			for _, e := range w.journal.events {
				if e.Job == job && e.Type == typ {
					n++
				}
			}
			return nil
		})
	}
	before, err := count()
	require.NoError(w, err)
	eventually(w.T, fmt.Sprintf("%d more of %s are told of %s", more, typ, job), func() error {
		n, err := count()
		if err == nil && n < before+more {
			err = fmt.Errorf("there were %d, and are %d", before, n)
		}
		return err
	})
}

// compact writes so much that the journal is compacted.
func (w *world) compact() {
	w.Helper()
	compacted := func() bool {
		manifest, _, err := w.journal.conn.Get(w.journal.chroot + "/manifest")
		require.NoError(w, err)
		return strings.Contains(string(manifest), `"index"`)
	}
	require.False(w, compacted(), "there is a snapshot already")
	filling := map[string]string{}
	for n := range 50 {
		filling[fmt.Sprintf("filling-%d", n)] = strings.Repeat("x", 1000)
	}
	for n := 0; !compacted(); n++ {
		require.Less(w, n, 400, "the journal is not compacted")
		w.put(&api.Spec{Job: idle, Kind: api.KindBatch, Command: fmt.Sprint("true # ", n, strings.Repeat("x", 60_000)), Labels: filling, Resources: small()})
	}
}

// rewritten says whether a leader of a version has written each kind of record
// with the field that the next version has added, nil when so.
func (w *world) rewritten(version string) error {
	missing := map[string]bool{record.PrefixJob: true, record.PrefixRun: true, record.PrefixTask: true, record.KeyCluster: true, record.PrefixDeploy: true}
	if version == "dev" {
		delete(missing, record.PrefixDeploy) // those that are over are not written any more
	}
	for key, versions := range w.journal.history {
		for _, v := range versions {
			if v.record != nil && v.epoch.version == version && unknownText(v) != "" {
				prefix, _, some := strings.Cut(key, "/")
				if some {
					prefix += "/"
				}
				delete(missing, prefix)
			}
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("no leader of version %s has written %v with the new field", version, missing)
	}
	return nil
}

// carried: the new field of a record, once it is there, stays what it was; and
// so does a record of a type that this version does not know.
func (w *world) carried() error {
	for key, versions := range w.journal.history {
		had := ""
		for _, v := range versions {
			if v.value == nil || key == noveltyKey {
				continue
			}
			has := unknownText(v)
			if had != "" && has != had {
				return violated("%s: entry %d, by version %s, has %q in the field that had %q", key, v.index, v.epoch.version, has, had)
			}
			had = has
		}
	}
	elections := uint64(0)
	for _, e := range w.journal.epochs {
		if e.version == "next" {
			elections++
		}
	}
	versions := w.journal.history[noveltyKey]
	if len(versions) == 0 {
		return errors.New("the next version has written no record of its own")
	}
	_, _, n := protowire.ConsumeTag(versions[len(versions)-1].value)
	if counted, _ := protowire.ConsumeVarint(versions[len(versions)-1].value[n:]); counted != elections {
		return violated("the next version has counted %d of its elections, which were %d", counted, elections)
	}
	return nil
}

// unknownText is the text of the field that this version does not know.
func unknownText(v version) string {
	if v.record == nil {
		return ""
	}
	for rest := []byte(v.record.ProtoReflect().GetUnknown()); len(rest) > 0; {
		number, typ, n := protowire.ConsumeTag(rest)
		if n < 0 {
			return ""
		}
		size := protowire.ConsumeFieldValue(number, typ, rest[n:])
		if size < 0 {
			return ""
		}
		if number == novelty {
			text, _ := protowire.ConsumeBytes(rest[n:])
			return string(text)
		}
		rest = rest[n+size:]
	}
	return ""
}
