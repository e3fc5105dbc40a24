package server

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/config"
)

// Who may deploy has the scheduler ask nothing that tells this machine's secrets.
func TestOutward_NotToMetadata(t *testing.T) {
	t.Parallel()
	store := httptest.NewServer(http.RedirectHandler("http://169.254.169.254/latest/meta-data/", http.StatusTemporaryRedirect))
	t.Cleanup(store.Close)
	p := &process{Options: Options{Config: &config.Server{}}}
	client := &http.Client{Transport: p.outward()}
	for _, url := range []string{"http://169.254.169.254/", "http://[::ffff:169.254.169.254]/", "http://[fd00:ec2::254]/", "http://0.0.0.0:1/", store.URL} {
		_, err := client.Get(url)
		require.ErrorContains(t, err, "and not sent to (webhooks.allowed_networks in the scheduler's configuration names exceptions)", url)
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := client.Get(store.URL)
	require.NoError(t, err, "private addresses are asked")
	require.NoError(t, resp.Body.Close())

	p.Config.Webhooks.AllowedNetworks = "0.0.0.0/8"
	_, err = (&http.Client{Transport: p.outward()}).Get("http://0.0.0.0:1/")
	require.Error(t, err)
	require.NotContains(t, err.Error(), "not sent to")
}
