package cloudevent_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/scheduler/cloudevent"
	"github.com/perigee-sched/perigee/scheduler/record"
)

func told(t *testing.T, e *record.Event) string {
	t.Helper()
	b, err := json.Marshal(cloudevent.Of("c1", "i1-7-2", e))
	require.NoError(t, err)
	return string(b)
}

func TestOf_TellsWhatTheEventIsAbout(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		event *record.Event
		want  string
	}{
		{&record.Event{Type: "task.running", Job: "a/b/c", Task: "i1-000001", Agent: "S1"}, "a/b/c"},
		{&record.Event{Type: "agent.joined", Agent: "S1"}, "S1"},
		{&record.Event{Type: "token.created", Object: "t1"}, "t1"},
		{&record.Event{Type: "webhook.created", Object: "w1", Job: "a/b/c"}, "a/b/c"},
	} {
		require.Equal(t, c.want, cloudevent.Of("c1", "i1-7-2", c.event).Subject)
	}
	require.NotContains(t, told(t, &record.Event{Type: "x.y"}), "subject", "CloudEvents have no empty subject")
}

func TestOf_TellsAuditAsItWasWritten(t *testing.T) {
	t.Parallel()
	require.JSONEq(t, `{"specversion":"1.0","id":"i1-7-2","source":"/perigee/c1","type":"dev.perigee.job.scaled","subject":"a/b/c",
		"time":"1970-01-01T00:00:01Z","datacontenttype":"application/json","data":{"job":"a/b/c","actor":"ada","audit":{
		"operation":"scale-job","token":"t1","from":"10.0.0.7","key":"k1","before":{"instances":2},"after":{"instances":3}}}}`,
		told(t, &record.Event{Type: "job.scaled", At: 1000, Job: "a/b/c", Actor: "ada", Audit: &record.Audit{Operation: "scale-job",
			Token: "t1", From: "10.0.0.7", Key: "k1", Before: []byte(`{"instances":2}`), After: []byte(`{"instances":3}`)}}))
	require.JSONEq(t, `{"operation":"put-job","after":"<no JSON>"}`, func() string {
		a, err := json.Marshal(cloudevent.Of("c1", "i1-7-2", &record.Event{Type: "x.y",
			Audit: &record.Audit{Operation: "put-job", After: []byte("<no JSON>")}}).Data.Audit)
		require.NoError(t, err)
		return string(a)
	}())
}
