// Package metrics serves the metrics of a fake cache in Prometheus' text form.
// It is a package of its own so that only those who want it link Prometheus'
// library.
package metrics

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/entracache/entracache/fakeserver"
)

// Handler serves the present metrics of the cache, see fakeserver.Metrics:
//
//	entracache_connected_clients
//	entracache_connected_clients_using_microsoft_entra_token
//	entracache_connections_created_total
//	entracache_connections_closed_total
//	entracache_errors_total{error_type="MicrosoftEntraTokenExpired"}, and so on
//
// The label's values are the service's names. Nothing else is served: neither
// the process nor the Go runtime is what is looked at.
func Handler(s *fakeserver.Server) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collector{s})
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
}

var (
	connected = prometheus.NewDesc("entracache_connected_clients", "Clients that are connected.", nil, nil)
	withToken = prometheus.NewDesc("entracache_connected_clients_using_microsoft_entra_token",
		"Connected clients that are signed in with a Microsoft Entra token.", nil, nil)
	created = prometheus.NewDesc("entracache_connections_created_total", "Connections that were opened.", nil, nil)
	closed  = prometheus.NewDesc("entracache_connections_closed_total", "Connections that have ended.", nil, nil)
	errors  = prometheus.NewDesc("entracache_errors_total", "Errors by kind, under the service's names; the AAD ones are earlier names of the Microsoft Entra ones.",
		[]string{"error_type"}, nil)
)

type collector struct{ s *fakeserver.Server }

func (collector) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{connected, withToken, created, closed, errors} {
		descs <- d
	}
}

func (c collector) Collect(out chan<- prometheus.Metric) {
	m := c.s.Metrics()
	out <- prometheus.MustNewConstMetric(connected, prometheus.GaugeValue, float64(m.ConnectedClients))
	out <- prometheus.MustNewConstMetric(withToken, prometheus.GaugeValue, float64(m.ConnectedClientsUsingMicrosoftEntraToken))
	out <- prometheus.MustNewConstMetric(created, prometheus.CounterValue, float64(m.ConnectionsCreated))
	out <- prometheus.MustNewConstMetric(closed, prometheus.CounterValue, float64(m.ConnectionsClosed))
	for kind, n := range m.Errors {
		out <- prometheus.MustNewConstMetric(errors, prometheus.CounterValue, float64(n), string(kind))
	}
}
