package memory_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/scheduler/journal"
	"github.com/perigee-sched/perigee/scheduler/journal/journaltest"
	"github.com/perigee-sched/perigee/scheduler/journal/memory"
	"github.com/perigee-sched/perigee/scheduler/record"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	journaltest.Run(t, func(t *testing.T) *journaltest.Storage {
		s := new(memory.Storage)
		return &journaltest.Storage{
			Open:           func() (journal.Journal, error) { return s.Open(), nil },
			Shared:         true,
			Crash:          func(j journal.Journal) {},
			Leave:          s.Leave,
			DamageSnapshot: s.DamageSnapshot,
			Fail:           failNth(s),
		}
	})
}

// failNth fails appends, alternately before and after they are durable.
func failNth(s *memory.Storage) func(n, times int) (heal func() bool) {
	return func(n, times int) func() bool {
		calls, failed := 0, false
		s.Inject(func([]*record.Entry) memory.Outcome {
			if calls++; calls < n || calls >= n+times {
				return memory.Commits
			}
			failed = true
			return memory.Outcome(1 + calls%2)
		})
		return func() bool {
			s.Inject(nil)
			return failed
		}
	}
}

func TestAnswerLostToAFencedWriterIsResolved(t *testing.T) {
	t.Parallel()
	for outcome, want := range map[memory.Outcome]error{memory.LosesAnswer: nil, memory.LosesWrite: journal.ErrFenced} {
		var s memory.Storage
		first, second := s.Open(), s.Open()
		at, err := first.Lead(t.Context(), nobody{})
		require.NoError(t, err)
		s.Inject(func([]*record.Entry) memory.Outcome { return outcome })
		require.ErrorIs(t, first.Append(t.Context(), []*record.Entry{{Index: at.Index, Epoch: at.Epoch}}), journal.ErrUnknown)
		_, err = second.Lead(t.Context(), nobody{})
		require.NoError(t, err)
		require.ErrorIs(t, first.Resolve(t.Context()), want)
	}
}

type nobody struct{}

func (nobody) Record(string, []byte) error { return nil }
func (nobody) Past([]*record.Entry) error  { return nil }
func (nobody) Apply([]*record.Entry) error { return nil }
