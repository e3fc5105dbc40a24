package server

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics of the API itself. Streams are left out of the latencies: they last
// as long as their readers like.
type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	streams  *prometheus.GaugeVec
	refusals *prometheus.CounterVec
	limited  *prometheus.CounterVec
}

func newMetrics(registry *prometheus.Registry) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "perigee_http_requests_total", Help: "Requests answered by the API."}, []string{"method", "route", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "perigee_http_request_seconds", Help: "Time to answer a request of the API, streams excepted.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10},
		}, []string{"method", "route"}),
		streams: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "perigee_http_streams", Help: "Streams that are open: events, files."}, []string{"kind"}),
		limited: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "perigee_http_limited_total", Help: "Requests answered 429, by what there were too many of: requests of one caller, of strangers at one address, failures to show a token."},
			[]string{"limit"}),
	}
	m.refusals = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "perigee_http_refused_total", Help: "Requests refused for who they were from: 401, 403, and 429 for too many."}, []string{"status"})
	for _, l := range []string{"requests", "strangers", "failures"} {
		m.limited.WithLabelValues(l)
	}
	for _, c := range []prometheus.Collector{m.requests, m.seconds, m.streams, m.refusals, m.limited} {
		if err := registry.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) observe(method string, w *response, took time.Duration) {
	switch method {
	case "GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS":
	default:
		method = "other" // the client's to invent
	}
	m.requests.WithLabelValues(method, w.route, strconv.Itoa(w.status)).Inc()
	if !w.stream {
		m.seconds.WithLabelValues(method, w.route).Observe(took.Seconds())
	}
}

// refused counts a request that was refused for who it was from.
func (m *metrics) refused(status int) { m.refusals.WithLabelValues(strconv.Itoa(status)).Inc() }

// streaming counts an open stream until done is called.
func (m *metrics) streaming(w *response, kind string) (done func()) {
	w.stream = true
	g := m.streams.WithLabelValues(kind)
	g.Inc()
	return g.Dec
}
