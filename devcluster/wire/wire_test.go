package wire

import (
	"encoding/json"
	"testing"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	operator "github.com/mesos/mesos-go/api/v1/lib/master"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"
	"github.com/stretchr/testify/require"
)

func TestUnmarshal_Errors(t *testing.T) {
	for _, tt := range []struct{ what, in, err string }{
		{"nothing", ``, "syntax error at line 1 near: "},
		{"cut off", `{"type": "REVIVE"`, "syntax error at line 1 near: "},
		{"on a later line", "{\n\"type\": x}\n", "syntax error at line 2 near: x}"},
		{"text behind", `{} tail`, "Parsed JSON included non-whitespace trailing characters:  tail"},
		{"no object", `[]`, "Expecting a JSON object"},
		{"string for a message", `{"framework_id": "x"}`, "Not expecting a JSON string for field 'framework_id'"},
		{"number for a message", `{"framework_id": 1}`, "Not expecting a JSON number for field 'framework_id'"},
		{"boolean for a string", `{"framework_id": {"value": true}}`, "Not expecting a JSON boolean for field 'value'"},
		{"array for a message", `{"framework_id": []}`, "Not expecting a JSON array for field 'framework_id'"},
		{"missing", `{"subscribe": {"framework_info": {}}}`,
			"Missing required fields: subscribe.framework_info.user, subscribe.framework_info.name"},
		{"missing in a list", `{"reconcile": {"tasks": [{"task_id": {"value": "a"}}, {}]}}`,
			"Missing required fields: reconcile.tasks[1].task_id"},
		{"no base64", `{"acknowledge": {"agent_id": {"value": "a"}, "task_id": {"value": "a"}, "uuid": "!"}}`,
			"Failed to base64 decode bytes field 'uuid': Invalid character '!'"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			require.EqualError(t, Unmarshal([]byte(tt.in), &scheduler.Call{}), tt.err)
		})
	}
}

func TestUnmarshal_IgnoresWhatNobodyKnows(t *testing.T) {
	call := &scheduler.Call{}
	require.NoError(t, Unmarshal([]byte(`{"type": "BOGUS", "bogus": {"x": []}, "framework_id": {"value": "f", "more": 1}}`), call))
	require.Equal(t, &scheduler.Call{FrameworkID: &mesos.FrameworkID{Value: "f"}}, call)
}

func TestMarshal_AsMesosDoes(t *testing.T) {
	role, pid := "r", uint32(0)
	message := &operator.Response{Type: operator.Response_GET_AGENTS, GetAgents: &operator.Response_GetAgents{
		Agents: []operator.Response_GetAgents_Agent{{
			AgentInfo:      mesos.AgentInfo{Hostname: "h", ID: &mesos.AgentID{Value: ""}},
			TotalResources: []mesos.Resource{{Name: "cpus", Role: &role, Type: mesos.SCALAR.Enum(), Scalar: &mesos.Value_Scalar{Value: 0.5}}},
		}}}}
	got, err := Marshal(message)
	require.NoError(t, err)
	require.JSONEq(t, `{"type": "GET_AGENTS", "get_agents": {"agents": [{"active": false, "version": "",
		"agent_info": {"hostname": "h", "id": {"value": ""}},
		"total_resources": [{"name": "cpus", "role": "r", "type": "SCALAR", "scalar": {"value": 0.5}}]}]}}`, string(got),
		"required fields always, optional ones when they are set, no empty lists")

	got, err = Marshal(&mesos.FrameworkInfo{User: "u", Name: "n", Capabilities: []mesos.FrameworkInfo_Capability{{Type: 99}}})
	require.NoError(t, err)
	require.JSONEq(t, `{"user": "u", "name": "n", "capabilities": [{}]}`, string(got), "a value that has no name is left out")

	got, err = Marshal(&mesos.MasterInfo{ID: "m", Capabilities: []mesos.MasterInfo_Capability{{Type: 3}}})
	require.NoError(t, err)
	require.Contains(t, string(got), `{"type":"QUOTA_V2"}`, "newer than mesos-go")

	got, err = Marshal(&mesos.ContainerStatus{ExecutorPID: &pid})
	require.NoError(t, err)
	require.JSONEq(t, `{"executor_pid": 0}`, string(got), "set to zero is set")
}

func TestAppendRecord(t *testing.T) {
	require.Equal(t, "5\nhello0\n3\nabc", string(AppendRecord(AppendRecord(AppendRecord(nil, []byte("hello")), nil), []byte("abc"))))
}

// FuzzUnmarshal: what can be read is written in a form that reads the same.
func FuzzUnmarshal(f *testing.F) {
	f.Add([]byte(`{"type":"ACCEPT","framework_id":{"value":"f"},"accept":{"offer_ids":[{"value":"o"}],"operations":[{"type":"LAUNCH","launch":{"task_infos":[{"name":"t","task_id":{"value":"t"},"agent_id":{"value":"a"},"resources":[{"name":"ports","type":"RANGES","ranges":{"range":[{"begin":1,"end":2}]}}],"data":"aGk="}]}}],"filters":{"refuse_seconds":1.5}}}`))
	f.Add([]byte(`{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"","name":"","offer_filters":{"r":{}}}}}`))
	f.Add([]byte(`{"kill":{"task_id":{"value":"t"},"kill_policy":{"grace_period":{"nanoseconds":"5"}}}}`))
	f.Add([]byte("{\n\"a\": [1, 2,, 3]}"))
	f.Fuzz(func(t *testing.T, in []byte) {
		var call, again scheduler.Call
		if Unmarshal(in, &call) != nil {
			return
		}
		text, err := json.Marshal(Encode(&call))
		if err != nil {
			return // NaN and its like
		}
		require.NoError(t, Unmarshal(text, &again), string(text))
		require.True(t, call.Equal(&again) || len(call.String()) > 0 && call.String() == again.String(), "%v\n%v", call, again)
	})
}
