package journaltest

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/perigee-sched/perigee/scheduler/journal"
	"github.com/perigee-sched/perigee/scheduler/record"
)

const (
	childVariable = "PERIGEE_JOURNALTEST_CHILD" // the storage's location
	killRounds    = 15
)

// Child is called first by TestMain of a package that gives a Location. In the process that the kill
// test starts it leads the journal, appends and compacts until it is killed, and never returns; in
// any other process it does nothing.
func Child(open func(location string) (journal.Journal, error)) {
	location := os.Getenv(childVariable)
	if location == "" {
		return
	}
	err := appendForEver(location, open)
	fmt.Fprintln(os.Stderr, "child:", err)
	os.Exit(1)
}

// killGroup is the group at a position; parent and child make the same.
func killGroup(index, epoch uint64) []*record.Entry {
	group := randomGroup(rand.New(rand.NewPCG(index, epoch)), journal.Position{Epoch: epoch, Index: index})
	if index%11 == 0 {
		group[0].Puts = append(group[0].Puts, &record.Put{Key: "big", Value: make([]byte, 100<<10)})
	}
	return group
}

func appendForEver(location string, open func(string) (journal.Journal, error)) error {
	j, err := open(location)
	if err != nil {
		return err
	}
	r := new(replayed)
	ctx := context.Background()
	at, err := j.Lead(ctx, r)
	if err != nil {
		return err
	}
	fmt.Printf("lead %d\n", at.Epoch)
	state := r.state()
	views := make(chan *view)
	var compactor errgroup.Group
	compactor.Go(func() error {
		for v := range views {
			if err := j.Compact(ctx, v); err != nil {
				return fmt.Errorf("compact: %w", err)
			}
		}
		return nil
	})
	for {
		group := killGroup(at.Index, at.Epoch)
		if err := j.Append(ctx, group); err != nil {
			return err
		}
		fmt.Printf("ack %d\n", lastIndex(group)) // os.Stdout has no buffer
		at.Index = lastIndex(group) + 1
		applyTo(state, group)
		view := &view{index: lastIndex(group), records: map[string][]byte{}}
		for k, v := range state {
			view.records[k] = v
		}
		select {
		case views <- view:
		default:
		}
	}
}

// testKill kills a process that appends, again and again, and compares what is found with what it
// acknowledged: all of that, and at most one group more.
func testKill(t *testing.T, s *Storage) {
	need(t, s.Location != "", "name it to another process")
	var m model
	rng := rand.New(rand.NewPCG(16, 1))
	for round := range killRounds {
		epoch, acked := runAndKill(t, s.Location, rng)
		context := fmt.Sprintf("round %d, killed after acknowledging entry %d", round, acked)
		for m.last() < acked {
			m.groups = append(m.groups, killGroup(m.last()+1, epoch))
		}
		j, at, r := open(t, s)
		if groups := r.groups(); len(groups) > 0 && lastIndex(groups[len(groups)-1]) > m.last() {
			m.groups = append(m.groups, killGroup(m.last()+1, epoch)) // was not acknowledged, may be there
		}
		m.snapshots = nil // the child's; what was kept is checked by its indices
		require.NoError(t, r.problem, context)
		kept := m.groups
		for len(kept) > 0 && len(r.groups()) > 0 && kept[0][0].GetIndex() < r.groups()[0][0].GetIndex() {
			kept = kept[1:]
		}
		requireGroups(t, kept, r.groups(), context)
		requireState(t, m.state(m.last()), r.state(), context)
		require.Equal(t, m.last()+1, at.Index, context)
		require.Greater(t, at.Epoch, epoch, context)
		require.NoError(t, j.Close())
	}
	require.Greater(t, m.last(), uint64(killRounds), "the children got to append")
}

// runAndKill runs the child until a random moment and returns its epoch and the last entry it
// acknowledged.
func runAndKill(t *testing.T, location string, rng *rand.Rand) (epoch, acked uint64) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), childVariable+"="+location)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	acks := rng.IntN(60)
	later := time.Duration(rng.IntN(3000)) * time.Microsecond
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var word, number string
		_, err := fmt.Sscan(lines.Text(), &word, &number)
		require.NoError(t, err)
		n, err := strconv.ParseUint(number, 10, 64)
		require.NoError(t, err)
		if word == "lead" {
			epoch = n
		} else {
			acked = n
		}
		if acks--; acks == 0 || word == "lead" && acks < 0 {
			time.AfterFunc(later, func() { _ = cmd.Process.Kill() })
		}
	}
	require.Error(t, cmd.Wait(), "the child was killed")
	require.NotZero(t, epoch, "the child led")
	return epoch, acked
}
