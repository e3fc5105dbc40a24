package api

// Definition is what the scheduler hands to perigee-executor with a task, as
// JSON in Mesos's TaskInfo.data.
type Definition struct {
	Task     string `json:"task"`
	Job      string `json:"job"`
	Deploy   uint32 `json:"deploy"`
	Instance uint32 `json:"instance"` // of a service
	Run      string `json:"run,omitempty"`
	Attempt  uint32 `json:"attempt"`
	Host     string `json:"host"`
	// Ports assigned, by name.
	Ports map[string]uint32 `json:"ports,omitempty"`
	// Parameters of the run, by name, defaults filled in.
	Parameters map[string]string `json:"parameters,omitempty"`
	// Spec is the deploy's, with defaults filled in.
	Spec Spec `json:"spec"`
}

// Report is what perigee-executor says about its task, as JSON in the data of
// a Mesos status update. Mesos's own healthy field carries the health.
type Report struct {
	// Phase the task is in.
	Phase Phase `json:"phase"`
	// Successes of the health check in a row, counted up to what ready asks.
	Successes int `json:"successes,omitempty"`
	// Failures of the health check in a row.
	Failures int `json:"failures,omitempty"`
	// ExitCode of the main process, 128+signal when a signal ended it; only
	// when Exited.
	ExitCode int  `json:"exit_code,omitempty"`
	Exited   bool `json:"exited,omitempty"`
	// Sandbox is the task's directory on its agent.
	Sandbox string `json:"sandbox,omitempty"`
}

// Phase of a task in its executor.
type Phase string

// The phases, in order.
const (
	PhaseFetch   Phase = "fetch"   // artifacts, verified and unpacked
	PhasePrepare Phase = "prepare" // setup commands
	PhaseRun     Phase = "run"     // the main process
	PhaseStop    Phase = "stop"    // being stopped
	PhaseEnd     Phase = "end"     // over
)
