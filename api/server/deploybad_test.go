package server_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
)

// Bad requests about deploys change nothing and say what is wrong, and where.
func TestDeploy_BadInput(t *testing.T) {
	t.Parallel()
	w := begin(t)
	w.deploy(shop, site(""))
	w.over(shop, 1, api.DeploySucceeded)
	w.put("etl/prod/load", batch)
	links := func(n int) string {
		var all []string
		for i := range n {
			all = append(all, fmt.Sprintf(`"l%d": "https://ci/%d"`, i, i))
		}
		return `{"spec": ` + site("") + `, "links": {` + strings.Join(all, ",") + `}}`
	}
	with := func(more string) string { return `{"spec": ` + site(`"command": "./new"`) + `, ` + more + `}` }
	update := func(update string) string {
		return `{"spec": ` + site(`"command": "./new", "update": `+update) + `}`
	}
	path := "/v1/jobs/" + shop
	for _, c := range []struct {
		name, request, body string
		status              int
		where, says         string // of the first error; of the detail where ""
	}{
		{"no body", "POST " + path + "/deploys", ``, 400, "", "the body is missing"},
		{"no JSON", "POST " + path + "/deploys", `spec`, 400, "", "not what is expected"},
		{"a list", "POST " + path + "/deploys", `[]`, 422, "body", "wants a map"},
		{"no spec", "POST " + path + "/deploys", `{}`, 422, "body.spec", "is missing"},
		{"null spec", "POST " + path + "/deploys", `{"spec": null}`, 422, "body.spec", "is missing"},
		{"spec that is none", "POST " + path + "/deploys", `{"spec": 3}`, 422, "body.spec", "wants a map"},
		{"bare spec", "POST " + path + "/deploys", site(""), 422, "body.spec", "a spec itself"},
		{"wrong field in the spec", "POST " + path + "/deploys", `{"spec": ` + site(`"comand": 1`) + `}`, 422, "body.spec.comand", "command"},
		{"another job's spec", "POST " + path + "/deploys", `{"spec": ` + site(`"job": "web/prod/other"`) + `}`, 422, "body.spec.job", "is not the job of the path"},
		{"another kind", "POST " + path + "/deploys", `{"spec": ` + batch + `}`, 409, "", "cannot become"},
		{"job that cannot be", "POST /v1/jobs/Web/prod/x/deploys", `{"spec": ` + site("") + `}`, 422, "path", "Web"},
		{"batch of 0", "POST " + path + "/deploys", update(`{"batch": 0}`), 422, "body.spec.update.batch[0]", "1"},
		{"over 100%", "POST " + path + "/deploys", update(`{"batch": ["101%"]}`), 422, "body.spec.update.batch[0]", "100%"},
		{"no portion", "POST " + path + "/deploys", update(`{"batch": ["%"]}`), 422, "body.spec.update.batch[0]", "portion"},
		{"gate that is no URL", "POST " + path + "/deploys", update(`{"strategy": "canary", "steps": [{"instances": 1, "checks": {"gate": {"url": "gate"}}}]}`), 422, "body.spec.update.steps[0].checks.gate.url", "URL"},
		{"link that is no URL", "POST " + path + "/deploys", with(`"links": {"build": "javascript:alert(1)"}`), 422, "body.links.build", "is not a link"},
		{"link without a host", "POST " + path + "/deploys", with(`"links": {"build": "https:///x"}`), 422, "body.links.build", "is not a link"},
		{"link without a name", "POST " + path + "/deploys", with(`"links": {"": "https://ci/1"}`), 422, `body.links[""]`, "missing or blank"},
		{"too many links", "POST " + path + "/deploys", links(21), 422, "body.links", "at most 20"},
		{"long message", "POST " + path + "/deploys", with(`"message": "` + strings.Repeat("x", 4097) + `"`), 422, "body.message", "at most 4096"},
		{"long author", "POST " + path + "/deploys", with(`"author": "` + strings.Repeat("x", 256) + `"`), 422, "body.author", "at most 255"},
		{"message with NUL", "POST " + path + "/deploys", with(`"message": "a\u0000"`), 422, "body.message", "NUL"},
		{"long body", "POST " + path + "/deploys", with(`"message": "` + strings.Repeat("x", 400<<10) + `"`), 413, "", "longer"},
		{"deploy 0", "GET " + path + "/deploys/0", ``, 422, "path.number", "number of a deploy"},
		{"deploy -1", "GET " + path + "/deploys/-1", ``, 422, "path.number", "number of a deploy"},
		{"deploy that is too large", "GET " + path + "/deploys/4294967296", ``, 422, "path.number", "number of a deploy"},
		{"no such deploy", "GET " + path + "/deploys/9", ``, 404, "", "no deploy 9"},
		{"no such deploy awaited", "GET " + path + "/deploys/9?wait=1m", ``, 404, "", "no deploy 9"},
		{"no such deploy followed", "GET " + path + "/deploys/9/events", ``, 404, "", "no deploy 9"},
		{"no such deploy paused", "POST " + path + "/deploys/9/pause", ``, 404, "", "no deploy 9"},
		{"deploy that is over", "POST " + path + "/deploys/1/cancel", ``, 409, "", "is over"},
		{"nothing in progress", "POST " + path + "/deploys/current/promote", ``, 409, "", "no deploy in progress"},
		{"unknown action", "POST " + path + "/deploys/1/stop", ``, 404, "", "there is nothing at"},
		{"wrong field", "POST " + path + "/deploys/1/pause", `{"reson": "x"}`, 422, "body.reson", "reason"},
		{"long reason", "POST " + path + "/deploys/1/pause", `{"reason": "` + strings.Repeat("x", 5000) + `"}`, 422, "body.reason", "at most 4096"},
		{"full that is none", "POST " + path + "/deploys/1/promote", `{"full": "yes"}`, 422, "body.full", "true or false"},
		{"wait beyond the bound", "GET " + path + "/deploys/1?wait=5m1s", ``, 422, "query.wait", "from 0s to 5m"},
		{"wait below 0", "GET " + path + "/deploys/1?wait=-1s", ``, 422, "query.wait", "from 0s to 5m"},
		{"wait that is no time", "GET " + path + "/deploys/1?wait=50%25", ``, 422, "query.wait", "not a duration"},
		{"query that is none", "GET " + path + "/deploys/1?wait=%zz", ``, 400, "", "cannot be read"},
		{"bounce of a batch job", "POST /v1/jobs/etl/prod/load/bounce", ``, 409, "", "only services"},
		{"bounce of nothing", "POST /v1/jobs/a/b/c/bounce", ``, 404, "", "a/b/c"},
		{"endpoints of nothing", "GET /v1/jobs/a/b/c/endpoints", ``, 404, "", "a/b/c"},
		{"watch of nothing", "GET /v1/jobs/a/b/c/endpoints/watch", ``, 404, "", "a/b/c"},
		{"group without specs", "POST /v1/deploy-groups", `{}`, 422, "body.specs", "missing"},
		{"empty group", "POST /v1/deploy-groups", `{"specs": []}`, 422, "body.specs", "missing"},
		{"group that is none", "POST /v1/deploy-groups", `{"specs": {}}`, 422, "body.specs", "missing"},
		{"large group", "POST /v1/deploy-groups", `{"specs": [` + strings.Repeat("{},", 50) + `{}]}`, 422, "body.specs", "at most 50"},
		{"spec without a job", "POST /v1/deploy-groups", `{"specs": [` + site("") + `]}`, 422, "body.specs[0].job", "missing"},
		{"job twice", "POST /v1/deploy-groups", `{"specs": [` + site(`"job": "a/b/c"`) + `,` + site(`"job": "a/b/c"`) + `]}`, 422, "body.specs[1].job", "twice"},
		{"no such group", "GET /v1/deploy-groups/x", ``, 404, "", "no deploy group x"},
		{"no such group awaited", "GET /v1/deploy-groups/x?wait=1m", ``, 404, "", "no deploy group x"},
		{"no such group cancelled", "POST /v1/deploy-groups/x/cancel", ``, 404, "", "no deploy group x"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := w.engine.View().Index
			method, path, _ := strings.Cut(c.request, " ")
			p := w.do(method, path, c.body).problem(c.status)
			if c.where == "" {
				require.Contains(t, p.Detail, c.says)
			} else {
				require.NotEmpty(t, p.Errors, "%+v", p)
				require.Equal(t, c.where, p.Errors[0].Location, "%+v", p)
				require.Contains(t, p.Errors[0].Message, c.says)
			}
			require.Empty(t, w.events(before), "a bad request changed something")
		})
	}
}
