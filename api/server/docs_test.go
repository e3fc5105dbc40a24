package server_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
	"github.com/perigee-sched/perigee/scheduler/record"
)

var update = flag.Bool("update", false, "write the answers in docs/api.md anew")

const docs = "../../docs/api.md"

var (
	example  = regexp.MustCompile("(?s)```console\n\\$ (curl .*?)\n((?:HTTP/|: heartbeat|event: ).*?)?```\n")
	secret   = regexp.MustCompile(`(whsec_|pgt_[a-z2-7]{10}_)[A-Za-z0-9+/=]+`)
	argument = regexp.MustCompile(`(?s)'[^']*'|"[^"]*"|[^'"\s]+`)
)

// The examples of docs/api.md are run in order. Each answer has the status that
// is shown, and everything that is shown has the type that it is shown with.
func TestDocs_ExamplesAreAnsweredAsShown(t *testing.T) {
	t.Parallel()
	w := begin(t, keeping, func(w *world) { w.options.InitCode = "the code of the log" })
	text, err := os.ReadFile(docs)
	require.NoError(t, err)
	consumer := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { fmt.Fprintln(rw, "thank you") }))
	t.Cleanup(consumer.Close)
	ids := map[string]string{documentedConsumer: consumer.URL}
	var whole bytes.Buffer
	rest, n := string(text), 0
	for at := example.FindStringSubmatchIndex(rest); at != nil; at = example.FindStringSubmatchIndex(rest) {
		command, shown := rest[at[2]:at[3]], ""
		if at[4] >= 0 {
			shown = rest[at[4]:at[5]]
		}
		n++
		w.prepare(command, ids)
		got := w.curl(command, ids)
		if *update && !strings.Contains(command, "curl -N") {
			fmt.Fprintf(&whole, "%s```console\n$ %s\n%s```\n", rest[:at[0]], command, got)
		} else {
			whole.WriteString(rest[:at[1]])
			alike(t, command, shown, got)
		}
		rest = rest[at[1]:]
	}
	require.Greater(t, n, 20)
	if *update {
		require.NoError(t, os.WriteFile(docs, []byte(whole.String()+rest), 0o644))
	}
}

// documentedConsumer stands for one that is there.
const documentedConsumer = "http://127.0.0.1:8080"

// prepare waits for what an example is about.
func (w *world) prepare(command string, ids map[string]string) {
	w.Helper()
	w.eventually("the scheduler leads, again after it was asked to step down", func() bool { return w.engine.View().Leads })
	if strings.Contains(command, "/pending") {
		w.running("web/devel/hello", 3)
	}
	if strings.Contains(command, "backfill") && !strings.Contains(command, "POST") {
		w.running("etl/devel/load", 2)
	}
	if strings.Contains(command, "/agents") {
		// Offers are held while something waits for another.
		w.put("web/devel/huge", `{"kind":"service","command":"./huge","resources":{"cpus":1024,"memory":"64MiB"}}`)
		w.eventually("the agent's tasks are counted, and it has something on offer", func() bool {
			agents, err := w.Agents(ctx)
			require.NoError(w, err)
			return agents[0].Tasks > 0 && agents[0].Offered.CPUs > 0
		})
	}
	w.prepareDeploy(command, ids)
	w.prepareHistory(command, ids)
	if strings.Contains(command, "tasks") {
		task := w.running("web/devel/hello", 3)[0].ID
		ids["$TASK"] = task
		w.mesos.write(task, "logs/stdout", "hello\nworld\n")
	}
	if strings.Contains(command, "$WEBHOOK") {
		page, err := w.Webhooks(ctx, client.WebhookFilter{})
		require.NoError(w, err)
		ids["$WEBHOOK"] = page.Items[0].ID
	}
	if strings.Contains(command, "$TOKEN") {
		w.engine.View().Tokens("", func(t *record.Token) bool { ids["$TOKEN"] = t.Id; return t.Team != "web" })
	}
	if strings.Contains(command, "$RUN") {
		page, err := w.Runs(ctx, "etl/devel/load", client.RunFilter{Group: "backfill"})
		require.NoError(w, err)
		ids["$RUN"] = page.Items[0].ID
	}
}

// prepareHistory waits until history has what examples show.
func (w *world) prepareHistory(command string, ids map[string]string) {
	w.Helper()
	if !strings.Contains(command, "/v1/history") {
		return
	}
	w.kept()
	ended, err := w.PastTasks(ctx, api.HistoryFilter{Job: "web/devel/hello", States: []string{"killed"}, Limit: 1})
	require.NoError(w, err)
	ids["$ENDED"] = ended.Items[0].ID
	events, err := w.PastEvents(ctx, api.HistoryFilter{Types: []string{"job.scaled"}, Limit: 1})
	require.NoError(w, err)
	ids["$EVENT"] = events.Items[0].ID
}

// prepareDeploy waits for how far deploys are in the examples.
func (w *world) prepareDeploy(command string, ids map[string]string) {
	w.Helper()
	const shop = "web/devel/shop"
	// Deploys whose answers are shown stand still until the next one.
	standStill := func(number uint32, state api.DeployState) {
		w.mesos.stick(false)
		w.over(shop, number, state)
		w.mesos.stick(true)
	}
	switch {
	case strings.Contains(command, "shop 1.0"):
		w.mesos.stick(true)
	case strings.Contains(command, "deploys/1?wait"):
		w.mesos.stick(false)
	case strings.Contains(command, "shop 1.1"):
		w.over(shop, 1, api.DeploySucceeded)
	case strings.HasSuffix(command, shop+"/deploys/current"):
		w.stands(shop, 2, api.PhasePromotion)
	case strings.Contains(command, "/promote"):
		w.mesos.stick(true)
	case strings.Contains(command, shop+"/rollback"):
		standStill(2, api.DeploySucceeded)
	case strings.Contains(command, shop+"/deploys/current/cancel"):
		w.mesos.stick(false)
		w.over(shop, 3, api.DeploySucceeded)
		w.deploy(shop, site(`"update": {"strategy": "canary", "steps": [{"instances": 1, "manual": true}]}`))
		w.stands(shop, 4, api.PhasePromotion)
		w.mesos.stick(true)
	case strings.Contains(command, shop+"/bounce"):
		standStill(4, api.DeployCancelled)
	case strings.Contains(command, shop+"/instances/0/restart"):
		w.mesos.stick(false)
		w.over(shop, 5, api.DeploySucceeded)
	case strings.Contains(command, shop+"/endpoints"), strings.Contains(command, shop+"/plan"):
		w.eventually("both instances serve", func() bool {
			list, err := w.Endpoints(ctx, shop)
			require.NoError(w, err)
			return len(list.Endpoints) == 2
		})
	case strings.Contains(command, "release 12"):
		w.deploy("web/devel/api", site(`"instances": 1`))
		w.over("web/devel/api", 1, api.DeploySucceeded)
		w.mesos.stick(true)
	case strings.Contains(command, "scale?for"):
		w.mesos.stick(false)
	case strings.Contains(command, "$GROUP"):
		page, err := w.Groups(ctx, 1, "")
		require.NoError(w, err)
		ids["$GROUP"] = page.Items[0].ID
	}
}

// curl does what curl would, and returns the answer as the page shows it.
func (w *world) curl(command string, ids map[string]string) string {
	w.Helper()
	method, address, body, headers := "GET", "", "", []string{}
	words := argument.FindAllString(command, -1)
	for i := 1; i < len(words); i++ {
		switch words[i] {
		case "-i", "-N":
			continue
		case "-X", "-H", "-d":
			i++
		default:
			address = strings.Trim(words[i], `'"`)
			continue
		}
		switch value := strings.Trim(words[i], "'"); words[i-1] {
		case "-X":
			method = value
		case "-H":
			headers = append(headers, value)
		case "-d":
			body = value
		}
	}
	for name, id := range ids {
		address, body = strings.ReplaceAll(address, name, id), strings.ReplaceAll(body, name, id)
	}
	path, ok := strings.CutPrefix(address, "127.0.0.1:7300")
	require.True(w, ok, command)
	if strings.Contains(command, "curl -N") { // a stream: that it opens is enough
		resp, err := http.Get(w.url + path)
		require.NoError(w, err)
		resp.Body.Close()
		require.Equal(w, http.StatusOK, resp.StatusCode, command)
		return ""
	}
	if body != "" {
		headers = append(headers, "Content-Type: application/x-www-form-urlencoded") // what curl -d says
	}
	a := w.do(method, path, body, headers...)
	var out bytes.Buffer
	fmt.Fprintf(&out, "HTTP/1.1 %d %s\n", a.status, http.StatusText(a.status))
	for _, name := range []string{"ETag", "Content-Type", api.HeaderOffset, api.HeaderSize} {
		if value := a.header.Get(name); value != "" {
			fmt.Fprintf(&out, "%s: %s\n", name, value)
		}
	}
	out.WriteByte('\n')
	if !strings.Contains(a.header.Get("Content-Type"), "json") {
		out.WriteString(a.body)
		return out.String()
	}
	require.NoError(w, json.Indent(&out, []byte(a.body), "", "  "), a.body)
	return secret.ReplaceAllString(out.String(), "$1…")
}

// alike compares an answer with the one that is shown.
func alike(t *testing.T, command, shown, got string) {
	t.Helper()
	if shown == "" || strings.Contains(command, "curl -N") {
		require.Contains(t, command, "curl -N", "the page shows no answer: run the test with -update")
		return
	}
	head, body, _ := strings.Cut(shown, "\n\n")
	gotHead, gotBody, _ := strings.Cut(got, "\n\n")
	status, _, _ := strings.Cut(head, "\n")
	gotStatus, _, _ := strings.Cut(gotHead, "\n")
	require.Equal(t, status, gotStatus, "%s\n%s", command, got)
	var want, have any
	if json.Unmarshal([]byte(body), &want) != nil {
		require.Equal(t, body, gotBody, command)
		return
	}
	require.NoError(t, json.Unmarshal([]byte(gotBody), &have), command)
	sameShape(t, command, want, have)
}

func sameShape(t *testing.T, at string, want, have any) {
	t.Helper()
	require.IsType(t, want, have, at)
	switch want := want.(type) {
	case map[string]any:
		for name, value := range want {
			require.Contains(t, have, name, at)
			sameShape(t, at+"."+name, value, have.(map[string]any)[name])
		}
	case []any:
		if len(want) > 0 {
			require.NotEmpty(t, have, at)
			sameShape(t, at+"[0]", want[0], have.([]any)[0])
		}
	}
}

// Every route is on the page.
func TestDocs_HaveEveryRoute(t *testing.T) {
	t.Parallel()
	w := begin(t)
	text, err := os.ReadFile(docs)
	require.NoError(t, err)
	var description struct {
		Paths map[string]map[string]any `json:"paths"`
	}
	require.NoError(t, json.Unmarshal([]byte(w.do("GET", "/openapi.json", "").body), &description))
	require.NotEmpty(t, description.Paths)
	placeholders := regexp.MustCompile(`\{[a-z]+\}`)
	commands := example.FindAllStringSubmatch(string(text), -1)
	for path, methods := range description.Paths {
		pattern := regexp.MustCompile(`^curl .*127\.0\.0\.1:7300` + placeholders.ReplaceAllString(path, `[^/?' ]+`) + `([?'" ]|$)`)
		for method := range methods {
			found := false
			for _, c := range commands {
				is := "get"
				if _, after, ok := strings.Cut(c[1], "-X "); ok {
					is = strings.ToLower(strings.Fields(after)[0])
				}
				found = found || is == method && pattern.MatchString(strings.ReplaceAll(c[1], "\n", " "))
			}
			if path == "/v1/events" {
				found = strings.Contains(string(text), "curl -N '127.0.0.1:7300/v1/events")
			}
			require.True(t, found, "docs/api.md has no example of %s %s", method, path)
		}
	}
}
