package api

const exampleAgent = "1c7e3f0e-6f0e-4b7b-a0a1-2f6c0f7d9a51-S17"

var taskEvents = kindTable{
	name: "task",
	about: "A task is one attempt to execute an instance of a service, or a run: exactly one Mesos task. It has " +
		"`instance` or `run`; `agent` and `host` once it has a place. Those named for a state are told when it enters " +
		"that, and are its timeline; `exit_code` comes with its end, where its main process had one.",
	always:    "job task deploy attempt state",
	sometimes: "instance run agent host ports reason message exit_code",
	example: EventData{Job: "web/prod/hello", Task: "yqly-000001", Deploy: 3, Instance: new(uint32), Attempt: 1, State: "running",
		Agent: exampleAgent, Host: "agent17.example.com", Ports: []uint32{31000}},
	types: []typeRow{
		{name: "pending", means: "It waits for a place, or for its backoff to end, which `message` says.", example: func(d *EventData) {
			d.State, d.Agent, d.Host, d.Ports, d.Attempt = "pending", "", "", nil, 2
			d.Message = "waits 1s: attempts before it ended soon after their start"
		}},
		{name: "launching", means: "It has a place. Mesos is asked to launch it once this is durable.", always: "agent host", example: exampleState("launching")},
		{name: "staging", means: "Mesos has it, and its executor does not run yet.", always: "agent host", example: exampleState("staging")},
		{name: "starting", means: "Its executor fetches artifacts and prepares.", always: "agent host", example: exampleState("starting")},
		{name: "running", means: "Its main process runs.", always: "agent host"},
		{name: "healthy", means: "A health check succeeds for the first time, or again.", always: "agent host"},
		{name: "unhealthy", means: "A health check fails for the first time, or again, as `message` says.", always: "agent host", example: func(d *EventData) {
			d.Message = "GET http://127.0.0.1:31000/health: 503 Service Unavailable"
		}},
		{name: "ready", means: "It serves: it is in the job's endpoints.", always: "agent host"},
		{name: "unready", means: "It serves no longer, and goes on.", always: "agent host"},
		{name: "restart_asked", means: "Somebody asked for its instance to be restarted: a replacement starts first, and one in its backoff at once.", example: func(d *EventData) {
			d.Message, d.Actor = "asked by ann: leaks memory", "ann"
		}},
		{name: "stopping", means: "It is to end, as `message` says: it is out of the endpoints, and is killed after its drain delay.", always: "agent host", example: func(d *EventData) {
			d.Message = "replaced by yqly-000009 of deploy 4"
		}},
		{name: "killing", means: "Its executor stops it.", always: "agent host", example: exampleState("killing")},
		{name: "unreachable", means: "Its agent does not answer. It may come back, or is replaced when its job says so.", always: "agent host", example: func(d *EventData) {
			d.State, d.Reason, d.Message = "unreachable", "AGENT_REMOVED", "health check timed out"
		}},
		{name: "finished", means: "It ended with status 0.", always: "agent host exit_code", example: func(d *EventData) {
			d.State, d.Instance, d.Run, d.Job, d.Ports, d.ExitCode = "finished", nil, "20261121T031136Z-000003", "etl/prod/load", nil, new(int32)
		}},
		{name: "failed", means: "It ended by itself: with another status, by a signal, unhealthy, or since it could not be prepared.", always: "agent host", example: func(d *EventData) {
			code := int32(137)
			d.State, d.ExitCode, d.Message = "failed", &code, "killed by SIGKILL (out of memory?) after 4.6s"
		}},
		{name: "killed", means: "It ended as asked. One that had no place yet ends at once.", example: func(d *EventData) {
			d.State, d.Message = "killed", "replaced by yqly-000009 of deploy 4"
		}},
		{name: "lost", means: "The cluster ended it: its agent is gone, its launch was dropped, or its executor never came. That does not count against the job.", always: "agent host", example: func(d *EventData) {
			d.State, d.Message = "lost", "unreachable for 5m; killed should it return"
		}},
	},
}

var runEvents = kindTable{
	name: "run",
	about: "A run is one execution of a cron or batch job, by one task after the other. `actor` is who asked for it; " +
		"nobody did for one on schedule. `attempt` is how many tasks it has had, `task` the last of them.",
	always:    "job run deploy state",
	sometimes: "task attempt reason",
	example: EventData{Job: "etl/prod/load", Run: "20261121T031136Z-000003", Deploy: 1, State: "active", Task: "yqly-000004",
		Attempt: 1, Actor: "ann"},
	types: []typeRow{
		{name: "waiting", means: "It begins once an earlier run of its job is over.", example: func(d *EventData) { d.State, d.Task, d.Attempt = "waiting", "", 0 }},
		{name: "active", means: "It is taken up: a task of it is about to be placed.", example: func(d *EventData) { d.Task, d.Attempt = "", 0 }},
		{name: "started", means: "A task of it runs, for the first time.", always: "task attempt"},
		{name: "cancelling", means: "It is to end, as `reason` says, and is cancelled once its task is over.", always: "task attempt reason",
			example: exampleReason("cancelled by ann")},
		{name: "succeeded", means: "A task of it finished.", always: "task attempt", example: exampleState("succeeded")},
		{name: "failed", means: "Its tasks failed more often than it may be retried.", always: "task attempt", example: func(d *EventData) {
			d.State, d.Attempt, d.Reason = "failed", 3, "failed 3 times, the last time: exited with status 1 after 2s"
		}},
		{name: "cancelled", means: "It was cancelled, replaced, or went with its job, as `reason` says.", always: "reason", example: exampleEnd("cancelled", "cancelled by ann")},
		{name: "skipped", means: "A cron's instant was decided against, as `reason` says: runs were in progress, or waited.", always: "reason", example: func(d *EventData) {
			*d = EventData{Job: "ops/prod/tick", Run: "20261121T031100Z", Deploy: 1, State: "skipped", Reason: "run 20261121T031000Z was in progress"}
		}},
		{name: "missed", means: "Instants of a cron fell into an outage and were not caught up, as `reason` says; its name is the last of them.", always: "reason", example: func(d *EventData) {
			*d = EventData{Job: "ops/prod/tick", Run: "20261121T030500Z", Deploy: 1, State: "missed", Reason: "no scheduler decided it in time"}
		}},
	},
}

var deployEvents = kindTable{
	name: "deploy",
	about: "A deploy is one attempt to move a job to a new spec. Those named for a state are told when it enters that. " +
		"`message` is what was said when it was begun. `actor` is its author; of what somebody did to it since, who did.",
	always:    "job deploy state",
	sometimes: "reason message",
	example:   EventData{Job: "web/prod/hello", Deploy: 4, State: "in_progress", Message: "more memory", Actor: "ann"},
	types: []typeRow{
		{name: "started", means: "It began: its spec is the wanted one."},
		{name: "step", means: "A step is complete, and the next one begins, as `reason` says.", always: "reason", example: exampleReason("batch 2: 2 of 2 instances")},
		{name: "progressed", means: "More instances than before serve on its spec, or are back on the one before.", always: "reason", example: exampleReason("1 of 2 instances moved")},
		{name: "gate_waits", means: "The gate of a step said to wait, or did not answer.", example: exampleReason("error rate is measured until 03:20")},
		{name: "gate_passed", means: "The gate of a step said to go on.", example: exampleReason("error rate 0.1%")},
		{name: "awaits_promotion", means: "A step is complete but for somebody who promotes it.", always: "reason", example: exampleReason("canary")},
		{name: "promoted", means: "Somebody let it go on past its step, or all that follow.", always: "reason", example: exampleReason("by ann")},
		{name: "paused", means: "It stands still, because somebody said so, or since it failed and its job is to pause then.", always: "reason", example: exampleReason("by ann: looks slow")},
		{name: "resumed", means: "Somebody had it go on; what failed before is forgiven.", always: "reason", example: exampleReason("by ann")},
		{name: "held", means: "It stands still since its pulse is missing.", always: "reason", example: exampleReason("no pulse for 5m")},
		{name: "goes_on", means: "Its pulse is back.", always: "reason", example: exampleReason("its pulse is back")},
		{name: "switched", means: "The endpoints are those of the other set of a blue-green deploy, as `reason` says.", always: "reason", example: exampleReason("the endpoints are deploy 4's; deploy 3 is kept for 10m")},
		{name: "old_set_stopped", means: "The old set of a blue-green deploy is kept no longer.", example: exampleState("succeeded")},
		{name: "succeeded", means: "All instances serve on its spec, and every step's conditions were met.", example: exampleState("succeeded")},
		{name: "rolling_back", means: "It failed, or somebody ended it, as `reason` says: its instances return to the deploy before.", always: "reason",
			example: exampleEnd("rolling_back", "instance 1 failed once (none tolerated): exited with status 2 after 907ms")},
		{name: "rolled_back", means: "All instances are back on the deploy before.", always: "reason",
			example: exampleEnd("rolled_back", "instance 1 failed once (none tolerated): exited with status 2 after 907ms; the instances are back on deploy 3")},
		{name: "failed", means: "It failed, and its instances stay on what they run, as `reason` says.", always: "reason",
			example: exampleEnd("failed", "no instance became ready for 10m; there is no earlier deploy to return to, so its instances go on as they are")},
		{name: "cancelled", means: "Somebody ended it, or removed its job.", always: "reason", example: exampleEnd("cancelled", "cancelled by ann; the instances are back on deploy 3")},
		{name: "superseded", means: "Another deploy of its job took its place.", always: "reason", example: exampleEnd("superseded", "superseded by deploy 5")},
	},
}

var groupEvents = kindTable{
	name:      "deploy_group",
	about:     "A group deploys several jobs, one after the other; all return if one fails. `object` is its id. Each member's deploy is told of by events of its own.",
	always:    "object state",
	sometimes: "reason message",
	example:   EventData{Object: "yqly-00000k", State: "in_progress", Message: "release 12", Actor: "ann"},
	types: []typeRow{
		{name: "started", means: "It began."},
		{name: "rolling_back", means: "A member failed, or somebody cancelled it: the members return.", always: "reason",
			example: exampleEnd("rolling_back", "deploy 4 of web/prod/hello was rolled back: no instance became ready for 10m")},
		{name: "succeeded", means: "All members' deploys succeeded.", example: exampleState("succeeded")},
		{name: "rolled_back", means: "All members are back.", always: "reason",
			example: exampleEnd("rolled_back", "deploy 4 of web/prod/hello was rolled back: no instance became ready for 10m")},
		{name: "failed", means: "Some member could not return, as `reason` says.", always: "reason",
			example: exampleEnd("failed", "cancelled by ann; web/prod/db is left as it is: deploy 3 is no longer kept")},
	},
}

var jobEvents = kindTable{
	name:      "job",
	about:     "What users do to a job, its deploys apart. `actor` is who did it; `perigee` where it does so by itself.",
	always:    "job",
	sometimes: "reason message",
	example:   EventData{Job: "web/prod/hello", Actor: "ann"},
	types: []typeRow{
		{name: "created", means: "It is new. Its first deploy follows."},
		{name: "scaled", means: "Another number of instances is wanted, or the same for longer: by itself, with a deploy, or with its return.", always: "message", example: func(d *EventData) { d.Message = "from 2 to 3 instances" }},
		{name: "paused", means: "Its tasks stop, and nothing of it starts.", example: exampleReason("maintenance of the database")},
		{name: "resumed", means: "Its pause is over."},
		{name: "health_skipped", means: "Its health checks count for nothing for a while."},
		{name: "health_checked", means: "Its health checks count again."},
		{name: "reverted", means: "A change that was made for a while is taken back: `message` says which, `scale`, `pause` or `skip-health`.", always: "message reason actor", example: func(d *EventData) {
			d.Message, d.Reason, d.Actor = "scale", "what ann asked for is over", "perigee"
		}},
		{name: "removing", means: "Its tasks stop, and then it is gone."},
		{name: "removed", means: "It is gone. Another may take its name."},
	},
}

var agentEvents = kindTable{
	name: "agent",
	about: "Agents of Mesos, as its master knows them: each joins once, and is lost once. What an agent that is lost " +
		"runs becomes unreachable, which its tasks' events say. The first subscription of a new cluster tells of all there are.",
	always:    "agent host",
	sometimes: "message",
	example:   EventData{Agent: exampleAgent, Host: "agent17.example.com"},
	types: []typeRow{
		{name: "joined", means: "The master has it: it is new, or is back after it was lost."},
		{name: "lost", means: "The master gave it up, or knows it no longer, as `message` says: it did not answer for too long, was shut down, or was marked gone. " +
			"One that the master expects back after its own failover is not lost.", always: "message", example: func(d *EventData) { d.Message = "the master gave it up" }},
	},
}

var schedulerEvents = kindTable{
	name:      "scheduler",
	about:     "The scheduler that leads, and its subscription at Mesos's master. `object` is the scheduler: its host and process.",
	always:    "object",
	sometimes: "reason message",
	example:   EventData{Object: "scheduler2.example.com/4711"},
	types: []typeRow{
		{name: "elected", means: "It leads from now on; `message` is the address of its API.", example: func(d *EventData) { d.Message = "http://scheduler2.example.com:7300" }},
		{name: "subscribed", means: "The master, whose address `message` is, has it subscribed.", always: "message", example: func(d *EventData) { d.Message = "10.0.0.7:5050" }},
		{name: "disconnected", means: "It is subscribed no longer, as `reason` says: nothing is launched until it is again. Tasks go on. A leader that dies tells nothing.", always: "message",
			example: func(d *EventData) {
				d.Message, d.Reason = "10.0.0.7:5050", "the master was silent for too long: no heartbeat, no event"
			}},
		{name: "restored", means: "The state came from a backup, which `message` tells of, and begins a new incarnation, which `object` is here: the first event of it.", always: "message actor",
			example: func(d *EventData) {
				d.Object, d.Message, d.Actor = "yqly", "from a backup of 2026-11-20T03:00:00Z, entry 871 of incarnation k3f9", "ann"
			}},
		{name: "settled", means: "After a restore, it is known what runs: tasks are launched again. `message` says what became of those that the backup did not know.", always: "message",
			example: func(d *EventData) { d.Message = "3 tasks that the backup did not know were killed" }},
		{name: "stepping_down", means: "Somebody asked it to hand over, which it does now.", example: func(d *EventData) { d.Actor = "ann" }},
	},
}

var webhookEvents = kindTable{
	name:      "webhook",
	about:     "What is done to a webhook. `object` is its id.",
	always:    "object",
	sometimes: "reason message",
	example:   EventData{Object: "yqly-00000r", Actor: "ann"},
	types: []typeRow{
		{name: "created", means: "It is new."},
		{name: "updated", means: "It tells other events, or to another URL."},
		{name: "secret_rotated", means: "It is signed with another secret; those before stay valid for a while."},
		{name: "enabled", means: "It delivers again."},
		{name: "disabled", means: "It delivers nothing, because somebody said so, or since its consumer is gone, as `reason` says.", example: exampleReason("the consumer answered 410 Gone")},
		{name: "redelivery_requested", means: "Dead letters of it are delivered again; `message` says how many.", always: "message", example: func(d *EventData) { d.Message = "3 dead letters" }},
		{name: "dead_letters_dropped", means: "Dead letters of it are forgotten; `message` says how many.", always: "message", example: func(d *EventData) { d.Message = "3 dead letters" }},
		{name: "removed", means: "It is gone."},
		{name: "test", means: "Somebody tries it: nothing has happened. It is sent to that webhook alone, is in no stream and no history, and its id is of another form.",
			always: "message", example: func(d *EventData) { d.Message = "a test: nothing has happened" }},
	},
}

var auditEvents = kindTable{
	name: "audit",
	about: "The audit trail: one event for each write that changed something, whatever else that told. `audit` says how it was asked for, and what it " +
		"changed. They are told to whoever may read the trail, and asks for them by a pattern that begins with `audit.`.",
	always:    "actor audit",
	sometimes: "job task run object",
	example: EventData{Job: "web/prod/site", Actor: "CI of web (435namd367) for ann", Audit: &Audit{Operation: "scale-job", Token: "435namd367", From: "10.0.0.7",
		Key: "build-41", Before: []byte(`{"instances":2}`), After: []byte(`{"instances":3}`)}},
	types: []typeRow{
		{name: "write", means: "Somebody changed something. `before` and `after` have what differs: no secrets, and of a spec its deploy's number and digest."},
	},
}
