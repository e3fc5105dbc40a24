package model

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/maintenance"
)

// The registry is what outlives the master's process: which agents there are
// and what operators want of them. Frameworks and tasks are not in it; they
// come back with the agents, as in Mesos. One record per agent:
//
//	agent/ID        registryAgent
//	maintenance     maintenance.Schedule
type registryAgent struct {
	Info        []byte    `json:"info,omitempty"` // mesos.AgentInfo
	Unreachable time.Time `json:"unreachable,omitzero"`
	Gone        bool      `json:"gone,omitempty"`
	Deactivated bool      `json:"deactivated,omitempty"`
	Drain       []byte    `json:"drain,omitempty"` // mesos.DrainInfo
}

const (
	agentRecord       = "agent/"
	maintenanceRecord = "maintenance"
)

// encoder is a generated message.
type encoder interface{ Marshal() ([]byte, error) }

// encode cannot fail for messages that the model made or has decoded.
func encode(e encoder) []byte {
	b, err := e.Marshal()
	if err != nil {
		panic(err)
	}
	return b
}

func encodeJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // only plain structs get here
	}
	return b
}

func (ma *master) storeAgent(info *mesos.AgentInfo)                  { ma.store(info, time.Time{}) }
func (ma *master) storeUnreachable(i *mesos.AgentInfo, at time.Time) { ma.store(i, at) }

func (ma *master) store(info *mesos.AgentInfo, unreachable time.Time) {
	id := info.ID.Value
	r := registryAgent{Info: encode(info), Unreachable: unreachable, Deactivated: ma.deactivated[id]}
	if d := ma.draining[id]; d != nil {
		r.Drain = encode(d)
	}
	ma.m.emit(Store{Key: agentRecord + id, Value: encodeJSON(r)})
}

func (ma *master) storeGone(id string) {
	ma.m.emit(Store{Key: agentRecord + id, Value: encodeJSON(registryAgent{Gone: true})})
}

// storeKnown stores an agent anew after what operators want of it changed.
func (ma *master) storeKnown(id string) {
	if s := ma.slaves.get(id); s != nil {
		ma.storeAgent(s.info)
	} else if u := ma.unreachable.get(id); u != nil {
		ma.storeUnreachable(u.info, u.at)
	} else if info := ma.recovered.get(id); info != nil {
		ma.storeAgent(info)
	}
}

// recover reads the registry of an earlier master. A record that cannot be
// read is as good as none: its agent is then unknown when it registers.
func (ma *master) recover(registry map[string][]byte) {
	keys := make([]string, 0, len(registry))
	for key := range registry {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		if id, ok := strings.CutPrefix(key, agentRecord); ok {
			ma.recoverAgent(id, registry[key])
		} else if key == maintenanceRecord {
			var s maintenance.Schedule
			if s.Unmarshal(registry[key]) == nil {
				ma.setSchedule(s)
			}
		}
	}
	if ma.recovered.len() > 0 {
		ma.m.after(ma.m.opts.AgentReregisterTimeout, ma.giveUpRecovered)
	}
}

func (ma *master) recoverAgent(id string, record []byte) {
	var r registryAgent
	var info mesos.AgentInfo
	if json.Unmarshal(record, &r) != nil {
		return
	}
	if r.Gone {
		ma.gone[id] = true
		return
	}
	if info.Unmarshal(r.Info) != nil || info.ID == nil {
		return
	}
	if r.Deactivated {
		ma.deactivated[id] = true
	}
	var d mesos.DrainInfo
	if r.Drain != nil && d.Unmarshal(r.Drain) == nil {
		ma.draining[id] = &d
	}
	if r.Unreachable.IsZero() {
		ma.recovered.set(id, &info)
	} else {
		ma.unreachable.set(id, &unreachable{info: &info, at: r.Unreachable})
	}
}

// giveUpRecovered marks agents unreachable that did not come back after the
// master restarted. Nobody knows what ran on them, so nobody is told of tasks.
func (ma *master) giveUpRecovered() {
	if !ma.alive() {
		return
	}
	for id, info := range ma.recovered.all() {
		ma.recovered.delete(id)
		ma.unreachable.set(id, &unreachable{info: info, at: ma.m.now})
		ma.storeUnreachable(info, ma.m.now)
		ma.tellLost(id)
	}
}
