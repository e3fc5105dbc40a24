package server

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"

	"github.com/perigee-sched/perigee/scheduler/engine"
)

// ExecutorKey is the key of the URL that agents download the executor of a
// checksum from: the same from all schedulers, so that Mesos caches by it and a
// URL outlives the leader that gave it. It is "" while the cluster has no
// secret to make it of.
func ExecutorKey(v *engine.View, sha256sum string) string {
	key := derived(v, "executor")
	if key == nil {
		return ""
	}
	h := hmac.New(sha256.New, key)
	h.Write([]byte(strings.ToLower(sha256sum)))
	return hex.EncodeToString(h.Sum(nil))
}

// mayDownload says whether a request for the executor has a URL that a scheduler
// of this cluster gave to Mesos. It need not be of the executor that is here: in
// the midst of an upgrade, what is downloaded is told from its checksum. A cluster
// that has no secret yet was led by no scheduler that knows of keys.
func (s *Server) mayDownload(r *http.Request) bool {
	q := r.URL.Query()
	key := ExecutorKey(s.Scheduler.View(), q.Get("sha256"))
	return key == "" || hmac.Equal([]byte(key), []byte(q.Get("key")))
}
