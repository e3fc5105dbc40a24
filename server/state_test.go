package server_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
	"github.com/perigee-sched/perigee/scheduler/backup"
	"github.com/perigee-sched/perigee/scheduler/journal/file"
	"github.com/perigee-sched/perigee/server"
)

// backUp makes a backup through a scheduler, of an index at least.
func (p *process) backUp(minIndex uint64) (*backup.State, backup.Header) {
	p.Helper()
	body, err := p.BackupState(context.Background(), minIndex)
	require.NoError(p, err)
	defer body.Close()
	state, h, _, err := backup.Read(body)
	require.NoError(p, err)
	require.NoError(p, backup.Verify(state))
	return state, h
}

// asText are the records of a state.
func asText(s *backup.State) map[string]string {
	all := map[string]string{}
	for key, value := range s.Records("") {
		all[key] = string(value)
	}
	return all
}

// The leader, a standby and the journal itself give the same backup of the same
// entry, and nobody notices.
func TestBackup_IsTheSameFromAnywhere(t *testing.T) {
	t.Parallel()
	s := beginSeveral(t, 2)
	leader, standbys := s.leader(s.all...)
	ctx := context.Background()
	spec, err := api.DecodeSpec([]byte(`{"job":"etl/prod/load","kind":"batch","command":"./work","resources":{"cpus":0.1,"memory":"64MiB"}}`))
	require.NoError(t, err)
	_, err = leader.PutJob(ctx, spec, client.PutOptions{})
	require.NoError(t, err)
	leader.succeed(leader.run(300))

	var fromLeader, fromStandby *backup.State
	var h backup.Header
	s.eventually("nothing is written between the two", func() bool {
		fromLeader, h = leader.backUp(0)
		var of backup.Header
		fromStandby, of = standbys[0].backUp(h.Index)
		return of.Index == h.Index
	})
	require.Equal(t, asText(fromLeader), asText(fromStandby))
	require.Equal(t, "three", h.Cluster)
	require.NotEmpty(t, h.Framework)
	require.Equal(t, uint64(300), h.Records["run"])
	require.Equal(t, server.Version, h.Program)

	state, cluster, err := server.ReadState(ctx, s.config(zooKeeper.Server(t).Address), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	require.Equal(t, "three", cluster)
	s.eventually("the leader is as far", func() bool {
		fromLeader, h = leader.backUp(0)
		return h.Index >= state.Index
	})
	if h.Index == state.Index {
		require.Equal(t, asText(fromLeader), asText(state))
	}
	require.NoError(t, backup.Verify(state))
	epoch := leader.shows().Epoch
	leader.succeed(leader.run(1))
	require.Equal(t, epoch, leader.shows().Epoch, "who reads a journal takes nothing from who leads")

	summary, err := backup.Summarize(h, fromLeader)
	require.NoError(t, err)
	require.Equal(t, []backup.Job{{Job: "etl/prod/load", Kind: api.KindBatch, Deploy: 1}}, summary.Jobs)
	require.Empty(t, summary.Tasks)
	require.WithinDuration(t, time.Now(), *summary.Newest, time.Hour)

	_, err = standbys[0].BackupState(ctx, h.Index+1_000_000)
	var p *api.Problem
	require.ErrorAs(t, err, &p)
	require.Equal(t, 504, p.Status)
	require.Contains(t, p.Detail, "is not here yet")
}

func TestReadState_ThatIsNotThere(t *testing.T) {
	t.Parallel()
	s := beginSeveral(t, 0)
	c := s.config(zooKeeper.Server(t).Address)
	quiet := slog.New(slog.DiscardHandler)
	_, _, err := server.ReadState(t.Context(), c, quiet)
	require.ErrorContains(t, err, "holds nothing")
	c.Journal.URL = "file://" + filepath.Join(t.TempDir(), "absent")
	_, _, err = server.ReadState(t.Context(), c, quiet)
	require.ErrorContains(t, err, "no such file or directory")
	require.NoDirExists(t, c.Journal.Dir(), "nothing is made")
	c.Journal.URL = "file://" + t.TempDir()
	_, _, err = server.ReadState(t.Context(), c, quiet)
	require.ErrorIs(t, err, file.ErrNoJournal)
	j, err := file.Open(c.Journal.Dir(), file.Options{})
	require.NoError(t, err)
	_, _, err = server.ReadState(t.Context(), c, quiet)
	require.ErrorContains(t, err, "is in use by process")
	require.ErrorContains(t, err, "without --journal")
	require.NoError(t, j.Close())
	_, _, err = server.ReadState(t.Context(), c, quiet)
	require.ErrorContains(t, err, "the journal is empty")
}

// A reader that goes away, and one that is slow, cost nobody else anything.
func TestBackup_ThatIsNotTakenToItsEnd(t *testing.T) {
	t.Parallel()
	s := beginSeveral(t, 1)
	leader, _ := s.leader(s.all...)
	for range 10 {
		body, err := leader.BackupState(context.Background(), 0)
		require.NoError(t, err)
		_, err = io.CopyN(io.Discard, body, 20)
		require.NoError(t, err)
		require.NoError(t, body.Close())
		s.eventually("another can be made", func() bool {
			again, err := leader.BackupState(context.Background(), 0)
			if err != nil {
				return false
			}
			defer again.Close()
			var b bytes.Buffer
			_, err = io.Copy(&b, again)
			require.NoError(t, err)
			_, _, _, err = backup.Read(&b)
			return err == nil
		})
	}
}
