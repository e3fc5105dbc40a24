package server

import (
	"net/http"
)

// refused notes that a request was refused for who it is from.
func (s *Server) refused(r *http.Request, c *caller, p *problem) {
	if p.Status != http.StatusUnauthorized && p.Status != http.StatusForbidden {
		return
	}
	s.Log.Debug("a request was refused", "status", p.Status, "method", r.Method, "path", r.URL.Path, "from", c.from, "caller", c.Name)
}
