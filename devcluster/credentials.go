package devcluster

import (
	"crypto/subtle"
	"net/http"
	"strings"
)

// authenticated has callers show credentials, where the cluster wants them. Of
// what a path belongs to, realm tells the realm; "" is open to all.
func (c *Cluster) authenticated(realm func(path string) string, serve http.HandlerFunc) http.Handler {
	if c.opts.Credentials == nil {
		return serve
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		in := realm(r.URL.Path)
		if in != "" && !c.knows(r) {
			w.Header().Set("WWW-Authenticate", `Basic realm="`+in+`"`)
			answerText(w, http.StatusUnauthorized, "401 Unauthorized.")
			return
		}
		serve(w, r)
	})
}

func (c *Cluster) knows(r *http.Request) bool {
	principal, secret, ok := r.BasicAuth()
	known, is := c.opts.Credentials[principal]
	return ok && is && subtle.ConstantTimeCompare([]byte(known), []byte(secret)) == 1
}

// masterRealm and agentRealm are Mesos's (src/master/constants.hpp,
// src/slave/constants.hpp). Health and version are told to everybody.
func masterRealm(path string) string {
	switch route(path, "/master", "/api/v1/scheduler", "/api/v1", "/health", "/version", "/redirect") {
	case "/api/v1/scheduler":
		return "mesos-master-scheduler"
	case "/api/v1":
		return "mesos-master-readwrite"
	}
	return ""
}

// agentRealm leaves out executors, which authenticate otherwise.
func agentRealm(path string) string {
	switch endpoint := route(path, "/slave(1)", "/api/v1/executor", "/api/v1", "/health", "/version", "/state", "/containers"); {
	case endpoint == "/api/v1":
		return "mesos-agent-readwrite"
	case endpoint == "/state", endpoint == "/containers", strings.HasPrefix(path, "/files/"):
		return "mesos-agent-readonly"
	}
	return ""
}
