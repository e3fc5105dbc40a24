package e2e

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
)

// shop is the job file of a PEX that serves HTTP behind a load balancer: it is
// told to end only when the balancer has had time to know.
const shop = `
job: JOB
kind: service
instances: 4
artifacts:
  - uri: WITNESS/app.pex
    sha256: SHA256
command: exec ./app.pex shop
env: {VERSION: v1}
resources: {cpus: 0.05, memory: 48MiB, disk: 32MiB}
ports: [http]
health:
  http: {port: http, path: /healthz, fail_at_once: [500]}
  interval: 200ms
  startup: 60s
restart: {min: 200ms, max: 1s}
stop: {drain: 8s, grace: 5s}
update: {batch: 2, deadline: 60s, retries: 0}
`

// version is shop with another version, or one that does not work.
func version(env string) string { return strings.Replace(shop, "{VERSION: v1}", env, 1) }

// A PEX behind HAProxy, asked all the time: a new version takes over, and one
// that fails its health check and one that crashes are taken back. No request is
// lost.
func TestDeploy_RollingLosesNoRequest(t *testing.T) {
	w := begin(t)
	job := w.job("shop")
	w.must("deploy", w.file("shop", shop))
	users := w.startLoad(w.balance(job))
	users.awaitOnly("v1")

	out := w.must("deploy", w.file("shop", version("{VERSION: v2}")))
	require.Contains(t, out, "Deploy 2 of "+job+" succeeded")
	users.awaitOnly("v2")

	before := users.count()
	unhealthy := w.cli("deploy", w.file("shop", version("{VERSION: v3, BAD: health}")))
	require.Equal(t, 11, unhealthy.code, unhealthy.out+unhealthy.errors)
	require.Contains(t, unhealthy.out+unhealthy.errors, "500", "why it was rolled back")
	crashed := w.cli("deploy", w.file("shop", version("{VERSION: v4, BAD: crash}")))
	require.Equal(t, 11, crashed.code, crashed.out+crashed.errors)
	require.Contains(t, crashed.out+crashed.errors, "there is no database", "the last words of what crashed")
	users.awaitOnly("v2")
	require.Len(t, users.since(before), 1, "versions that answered while bad ones were deployed")

	for n, state := range map[uint32]api.DeployState{2: api.DeploySucceeded, 3: api.DeployRolledBack, 4: api.DeployRolledBack} {
		d, err := w.Deploy(w.ctx, job, n)
		require.NoError(t, err)
		require.Equal(t, state, d.State, "deploy %d: %s", n, d.Reason)
	}
	w.awaitReady(job, 4)
	users.lostNone()
}
