package server

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/engine"
)

// Headers by which schedulers know each other. Both are told to no log.
const (
	// headerPeer proves that a request is another scheduler's: when it was made,
	// and a signature of that and of what is asked.
	headerPeer = "X-Perigee-Peer"
	// headerClient of such a request is the address that it came from first.
	headerClient = "X-Perigee-Client"
)

// peerLife is how long such a proof is believed, and how much clocks may differ.
// Who overhears one may repeat that request for as long: it tells what part a
// scheduler has, or passes on what somebody else's token allows.
const peerLife = 2 * time.Minute

// derived is a key that the cluster's secret makes for one purpose, nil while
// there is no secret. Schedulers have the same secret, and nobody else.
func derived(v *engine.View, purpose string) []byte {
	secret := v.Cluster().GetSecret()
	if len(secret) == 0 {
		return nil
	}
	h := hmac.New(sha256.New, secret)
	h.Write([]byte("perigee " + purpose))
	return h.Sum(nil)
}

// prove has r, which goes to another scheduler, say that it comes from one, and
// from whom before.
func (s *Server) prove(r *http.Request, client string) {
	r.Header.Del(headerPeer)
	r.Header.Del(headerClient)
	key := derived(s.Scheduler.View(), "peer")
	if key == nil {
		return
	}
	if client != "" {
		r.Header.Set(headerClient, client)
	}
	at := strconv.FormatInt(time.Now().Unix(), 10)
	r.Header.Set(headerPeer, at+" "+hex.EncodeToString(proof(key, r, at)))
}

// proof signs all of a request by which more is allowed to another scheduler.
func proof(key []byte, r *http.Request, at string) []byte {
	h := hmac.New(sha256.New, key)
	for _, part := range []string{at, r.Method, r.URL.RequestURI(), r.Header.Get(headerClient), r.Header.Get(api.HeaderForwardedBy), r.Header.Get("Authorization")} {
		h.Write([]byte(strconv.Itoa(len(part)) + ":" + part))
	}
	return h.Sum(nil)
}

// fromPeer says whether a request comes from another scheduler.
func (s *Server) fromPeer(r *http.Request) bool {
	at, signature, _ := strings.Cut(r.Header.Get(headerPeer), " ")
	if signature == "" {
		return false
	}
	seconds, err := strconv.ParseInt(at, 10, 64)
	if err != nil || time.Since(time.Unix(seconds, 0)).Abs() > peerLife {
		return false
	}
	given, err := hex.DecodeString(signature)
	key := derived(s.Scheduler.View(), "peer")
	if err != nil || key == nil {
		return false
	}
	asked := *r
	if w := responseOf(r.Context()); w != nil && w.head {
		asked.Method = http.MethodHead // what around has made a GET of
	}
	return hmac.Equal(given, proof(key, &asked, at))
}

// clientOf is the address that a request comes from: that of who connects, or
// what a scheduler or a proxy that is configured says of it.
func (s *Server) clientOf(r *http.Request, peer bool) string {
	if client := r.Header.Get(headerClient); peer && client != "" {
		return client
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	if s.Access == nil || !s.Access.isProxy(host) {
		return host
	}
	// Each proxy appends whom it was asked by: what is before one that is not ours
	// may be anybody's words.
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		hop = strings.TrimSpace(hop)
		if addr, err := netip.ParseAddr(hop); err != nil {
			break
		} else if host = addr.Unmap().String(); !s.Access.isProxy(host) {
			break
		}
	}
	return host
}

func (a *Access) isProxy(host string) bool {
	addr, err := netip.ParseAddr(host)
	return err == nil && slices.ContainsFunc(a.Proxies, func(p netip.Prefix) bool { return p.Contains(addr.Unmap()) })
}
