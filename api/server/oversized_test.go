package server_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// bigSpec has an environment of about so many bytes.
func bigSpec(job string, env int) string {
	var vars []string
	for i := range env>>10 + 1 {
		vars = append(vars, fmt.Sprintf(`"E%d":%q`, i, strings.Repeat("x", min(env-i<<10, 1<<10))))
	}
	return fmt.Sprintf(`{"job":%q,"kind":"batch","command":"./work","resources":{"cpus":0.1,"memory":"64MiB"},"env":{%s}}`, job, strings.Join(vars, ","))
}

// A spec that is too big is refused with its size, what is allowed and what is big,
// and changes nothing.
func TestOversized_Spec(t *testing.T) {
	t.Parallel()
	w := begin(t)
	at := w.engine.View().Index
	p := w.do("PUT", "/v1/jobs/etl/prod/big", bigSpec("etl/prod/big", 140<<10)).problem(http.StatusUnprocessableEntity)
	require.Len(t, p.Errors, 1)
	require.Regexp(t, `^the spec is 14\d\d\d\d bytes as canonical JSON: at most 131072 are allowed; the most of it is env \(14\d{4} bytes\)`, p.Errors[0].Message)
	p = w.do("PUT", "/v1/jobs/etl/prod/big", bigSpec("etl/prod/big", 300<<10)).problem(http.StatusRequestEntityTooLarge)
	require.Regexp(t, `^the body of 3\d{5} bytes is longer than the 262144 bytes`, p.Detail)
	require.Equal(t, at, w.engine.View().Index)
	w.do("GET", "/v1/jobs/etl/prod/big", "").problem(http.StatusNotFound)
	w.put("etl/prod/big", bigSpec("etl/prod/big", 120<<10))
}

// So is a group of specs that are too big together, each of which would do.
func TestOversized_Group(t *testing.T) {
	t.Parallel()
	w := begin(t)
	group := func(n int) answer {
		var specs []string
		for i := range n {
			specs = append(specs, bigSpec(fmt.Sprintf("etl/prod/big-%d", i), 100<<10))
		}
		return w.do("POST", "/v1/deploy-groups", `{"specs":[`+strings.Join(specs, ",")+`]}`)
	}
	at := w.engine.View().Index
	p := group(4).problem(http.StatusUnprocessableEntity)
	require.Len(t, p.Errors, 1)
	require.Equal(t, "body.specs", p.Errors[0].Location)
	require.Regexp(t, `^are 4\d{5} bytes as canonical JSON: at most 327680 together`, p.Errors[0].Message)
	require.Equal(t, at, w.engine.View().Index)
	a := group(3)
	require.Less(t, a.status, 300, a.body)
}
