package record

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
)

// FuzzDecode reads records that may be damaged: an error, or a record that is
// written again as it was read.
func FuzzDecode(f *testing.F) {
	task := &Task{Id: "abcd-000001", Job: "web/prod/site", State: TaskState_TASK_STATE_RUNNING, Ports: []uint32{31000},
		PlacedOn: map[string]string{"rack": "r1"}}
	for key, m := range map[string]proto.Message{
		TaskKey(task.Id): task, JobKey("web/prod/site"): &Job{Key: "web/prod/site", Instances: 2},
		RunKey("ci/prod/build", "x"): &Run{Parameters: map[string]string{"a": "b"}}, KeyCluster: &Cluster{Incarnation: "abcd"},
		DeployKey("web/prod/site", 3): &Deploy{Spec: []byte("{}")}, IdempotencyKey("k"): &IdempotentReply{Body: []byte("x")},
	} {
		b, err := proto.Marshal(m)
		require.NoError(f, err)
		f.Add(key, b)
	}
	f.Add("future/thing", []byte("anything"))
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		m, err := Decode(key, value)
		if err != nil || m == nil {
			return
		}
		b, err := proto.Marshal(m)
		require.NoError(t, err)
		again, err := Decode(key, b)
		require.NoError(t, err)
		require.True(t, proto.Equal(m, again))
		if task, ok := m.(*Task); ok {
			task.Moments()
			require.True(t, proto.Equal(task, task.Copy()))
		}
	})
}
