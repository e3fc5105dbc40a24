package devcluster

import (
	"encoding/json"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	operator "github.com/mesos/mesos-go/api/v1/lib/master"

	"github.com/perigee-sched/perigee/devcluster/model"
	"github.com/perigee-sched/perigee/devcluster/wire"
)

// encodeEvent is an event as one record of a stream.
func encodeEvent(event any, format string) []byte {
	var b []byte
	var err error
	if m, ok := event.(message); format == typeProtobuf && ok {
		b, err = m.Marshal()
	} else if e, ok := event.(*operator.Event); ok {
		b, err = json.Marshal(completeAgents(wire.Encode(e)))
	} else {
		b, err = wire.Marshal(event)
	}
	if err != nil {
		panic(err) // messages that the model made
	}
	return b
}

// operatorJSON is an answer of the master's operator API as JSON, with what
// mesos-go has no field for and what Mesos writes though it is empty.
func operatorJSON(r *operator.Response) wire.Object {
	o := completeAgents(wire.Encode(r))
	for _, part := range []wire.Object{o, child(o, "get_state")} {
		if agents := child(part, "get_agents"); agents != nil {
			for _, list := range []string{"agents", "recovered_agents"} {
				if agents[list] == nil {
					agents[list] = []any{}
				}
			}
		}
		frameworks, _ := child(part, "get_frameworks")["frameworks"].([]any)
		for _, f := range frameworks {
			f.(wire.Object)["offer_constraints"] = wire.Object{}
		}
	}
	return o
}

// completeAgents adds the field checkpoint to every agent_info there is:
// mesos-go's message lacks it.
func completeAgents(o wire.Object) wire.Object {
	for key, value := range o {
		switch v := value.(type) {
		case wire.Object:
			if completeAgents(v); key == "agent_info" {
				v["checkpoint"] = true
			}
		case []any:
			for _, e := range v {
				if e, ok := e.(wire.Object); ok {
					completeAgents(e)
				}
			}
		}
	}
	return o
}

func child(o wire.Object, name string) wire.Object {
	c, _ := o[name].(wire.Object)
	return c
}

func versionInfo() mesos.VersionInfo {
	v := version()
	date, at, user, sha := v["build_date"].(string), v["build_time"].(float64), v["build_user"].(string), v["git_sha"].(string)
	return mesos.VersionInfo{Version: model.Version, BuildDate: &date, BuildTime: &at, BuildUser: &user, GitSHA: &sha}
}
