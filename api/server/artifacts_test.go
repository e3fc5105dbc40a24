package server

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
)

// silent is a network whose hosts never answer.
type silent struct{ asked chan struct{} }

func (s silent) RoundTrip(r *http.Request) (*http.Response, error) {
	s.asked <- struct{}{}
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// However many stores do not answer, a rollback is refused in time, and few are
// asked at a time.
func TestStoresThatDoNotAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		asked := make(chan struct{}, 100)
		artifacts := make([]api.Artifact, 30)
		for i := range artifacts {
			artifacts[i].URI = "https://store.example.com/a"
		}
		over := make(chan struct{})
		var problems []api.ProblemField
		go func() {
			defer close(over)
			problems, _ = newStores(silent{asked}).missing(t.Context(), artifacts, 7)
		}()
		synctest.Wait()
		require.Len(t, asked, looksMost)
		<-over
		require.Equal(t, looksTimeout, time.Since(began))
		require.Len(t, problems, 30)
		require.Equal(t, "artifact https://store.example.com/a cannot be looked for: its store did not answer in 5s", problems[0].Message)
	})
}
