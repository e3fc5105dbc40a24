package core

import "github.com/perigee-sched/perigee/scheduler/record"

// deployTransitions is the life of a deploy: from a state, the states it may go
// to, and when it does. The phases of a deploy in progress are its rollout's.
var deployTransitions = map[record.DeployState]map[record.DeployState]string{
	deployInProgress: {
		deploySucceeded:   "all instances serve on its spec, and every step's conditions were met",
		deployRollingBack: "it failed, or was cancelled or rolled back by hand, and there is a deploy to return to",
		deployFailed:      "it failed, and there is none, or its job's policy is to stop",
		deployCancelled:   "somebody cancelled it, and there is none; or its job is removed",
		deploySuperseded:  "somebody asked for another",
	},
	deployRollingBack: {
		deployRolledBack: "all instances serve on the deploy before again",
		deployCancelled:  "likewise, as somebody asked",
		deployFailed:     "returning made no progress: instances stay on what they run",
		deploySuperseded: "somebody asked for another",
	},
	deploySucceeded: {
		deployRollingBack: "a blue-green deploy, while its old set is kept: the endpoints switch back at once",
	},
}

// mayDeployGo says whether the table has a transition.
func mayDeployGo(from, to record.DeployState) bool {
	_, ok := deployTransitions[from][to]
	return ok
}
