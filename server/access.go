package server

import (
	"github.com/perigee-sched/perigee/api/access"
	apiserver "github.com/perigee-sched/perigee/api/server"
	"github.com/perigee-sched/perigee/scheduler/oidc"
)

// executorKey is what lets agents download the executor from schedulers, nil
// where everybody may. It is made of the cluster's secret, which is known when
// Mesos is subscribed to, and not before.
func (p *process) executorKey(sum string) func() string {
	if !p.Config.Access.Tokens() || !p.Config.Executor.Ours() {
		return nil
	}
	return func() string { return apiserver.ExecutorKey(p.engine.View(), sum) }
}

// limits are of requests.
func (p *process) limits() apiserver.Limits {
	c := p.Config.Limits
	return apiserver.Limits{Requests: c.Requests, Strangers: c.Strangers, Failures: c.Failures, Now: p.Now}
}

// access is how callers are known, nil when everybody may do everything.
func (p *process) access() *apiserver.Access {
	c := p.Config.Access
	if !c.Tokens() {
		return nil
	}
	proxies, _ := c.ProxyNetworks() // was checked
	a := &apiserver.Access{Reads: c.Reads, Proxies: proxies, InitCodeKnown: c.InitCode != ""}
	if c.OIDC.Issuer != "" {
		rules, _ := access.ParseRules(c.OIDC.Grants) // was checked
		a.OIDC = oidc.New(oidc.Options{Issuer: c.OIDC.Issuer, Audience: c.OIDC.Audience, UserClaim: c.OIDC.UserClaim,
			Claim: c.OIDC.Claim, TeamClaim: c.OIDC.TeamClaim, Rules: rules, Logger: p.Log.With("part", "oidc")})
	}
	return a
}
