package core

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/perigee-sched/perigee/api"
)

// BenchmarkPlacement places 10,000 tasks of 500 services, a fifth of them with
// ports, a limit per host or a spread over racks. Reported is how many
// placements a second come out of Step, with their records, events and
// definitions: in "backlog" all tasks wait and the agents' offers come at once,
// so the time to take the offers in counts; in "held" the offers are there and
// the services come one by one.
func BenchmarkPlacement(b *testing.B) {
	for _, agents := range []int{1_000, 10_000, 100_000} {
		b.Run(fmt.Sprintf("backlog/agents=%d", agents), func(b *testing.B) { benchmarkPlacement(b, agents, true) })
		if agents > 1_000 { // an agent's offer is used up by the first service that is put on it
			b.Run(fmt.Sprintf("held/agents=%d", agents), func(b *testing.B) { benchmarkPlacement(b, agents, false) })
		}
	}
}

func benchmarkPlacement(b *testing.B, agents int, backlog bool) {
	const services, instances = 500, 20
	offers := benchmarkOffers(b, agents)
	var jobs []Event
	for i := range services {
		jobs = append(jobs, Request{ID: uint64(i), Actor: "bench", Op: benchmarkJob(b, i, instances)})
	}
	placed := 0
	for b.Loop() {
		b.StopTimer()
		w := newWorld(b)
		w.do("lead")
		var first, then []Event
		if first, then = []Event{offers}, jobs; backlog {
			first, then = jobs, []Event{offers}
		}
		w.core.Step(w.now, first)
		runtime.GC()
		b.StartTimer()
		for _, e := range then {
			for _, call := range w.core.Step(w.now, []Event{e}).Calls {
				if a, ok := call.(Accept); ok {
					placed += len(a.Launches)
				}
			}
		}
	}
	b.StopTimer()
	if want := b.N * services * instances; placed != want {
		b.Fatalf("placed %d of %d", placed, want)
	}
	b.ReportMetric(float64(placed)/b.Elapsed().Seconds(), "placements/s")
	b.ReportMetric(0, "ns/op")
}

func benchmarkOffers(b *testing.B, agents int) Offers {
	offers, w := Offers{}, newWorld(b)
	for i := range agents {
		offers.Offers = append(offers.Offers, w.offer(strings.Fields(fmt.Sprintf(
			"a%d cpus=32 mem=131072 disk=100000 ports=31000-31999 rack=r%d zone=z%d", i, i%40, i%3))))
	}
	return offers
}

func benchmarkJob(b *testing.B, i, instances int) PutJob {
	spec := &api.Spec{
		Job: fmt.Sprintf("team%d/prod/service-%d", i%20, i), Kind: api.KindService, Instances: &instances, Command: "./server.pex",
		Resources: api.Resources{CPUs: 0.1 * float64(1+i%20), Memory: api.Bytes(64*(1+i%16)) * api.MiB, Disk: 64 * api.MiB},
		Priority:  i % 3,
	}
	switch i % 15 {
	case 0:
		spec.Ports = []string{"http", "admin"}
	case 5:
		spec.Limits = map[string]int{"host": 1}
	case 10:
		spec.Spread = "rack"
	}
	if i%10 == 1 {
		spec.Constraints = []string{"zone in (z0, z1)"}
	}
	canonical, err := spec.Canonical()
	if err != nil {
		b.Fatal(err)
	}
	return PutJob{Spec: spec, Canonical: canonical}
}
