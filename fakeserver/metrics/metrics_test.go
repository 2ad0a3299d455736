package metrics_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeserver"
	"github.com/entracache/entracache/fakeserver/internal/token/tokentest"
	"github.com/entracache/entracache/fakeserver/metrics"
)

const oid = "6497c918-11ad-4941-1b0f-7c518a87d0b8"

func TestHandler(t *testing.T) {
	iss := tokentest.New(t)
	cache := fakeserver.RunT(t, fakeserver.WithIssuer(iss.URL()), fakeserver.WithIssuerCA(iss.CAPEM()), fakeserver.WithAccessKeys("one", "two"))
	require.NoError(t, cache.Assign(oid, fakeserver.DataOwner))
	connect := func(user, password string) *redis.Client {
		pool := x509.NewCertPool()
		require.True(t, pool.AppendCertsFromPEM(cache.CAPEM()))
		client := redis.NewClient(&redis.Options{
			Addr: cache.Addr(), Username: user, Password: password, TLSConfig: &tls.Config{RootCAs: pool}, PoolSize: 1, MaxRetries: -1,
		})
		t.Cleanup(func() { _ = client.Close() })
		return client
	}
	byToken, byKey := connect(oid, iss.Token(t, oid, time.Now(), time.Hour)), connect("default", "one")
	require.NoError(t, byToken.Ping(t.Context()).Err())
	require.NoError(t, byKey.Ping(t.Context()).Err())
	expired := connect(oid, iss.Token(t, oid, time.Now().Add(-2*time.Hour), time.Hour))
	require.Error(t, expired.Ping(t.Context()).Err())
	require.NoError(t, expired.Close())
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, err := cache.Wait(ctx, func(e fakeserver.Event) bool { return e.Kind == fakeserver.EventConnectionClosed })
	require.NoError(t, err)

	recorder := httptest.NewRecorder()
	metrics.Handler(cache).ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	assert.Contains(t, recorder.Header().Get("Content-Type"), "text/plain")
	got := values(t, recorder.Body)
	assert.InDelta(t, 2, got["entracache_connected_clients"], 0)
	assert.InDelta(t, 1, got["entracache_connected_clients_using_microsoft_entra_token"], 0)
	assert.InDelta(t, 1, got["entracache_connections_closed_total"], 0)
	assert.InDelta(t, 3, got["entracache_connections_created_total"], 0)
	assert.Positive(t, got["entracache_errors_total MicrosoftEntraAuthenticationFailure"])
	assert.InDelta(t, got["entracache_errors_total MicrosoftEntraAuthenticationFailure"], got["entracache_errors_total AADAuthenticationFailure"], 0)
	zero, there := got["entracache_errors_total MicrosoftEntraTokenExpired"]
	assert.True(t, there, "what has not happened yet is shown as 0")
	assert.Zero(t, zero)
	assert.Len(t, got, 11)
}

// values reads the text form: the value of each metric, by its name and the
// value of its label.
func values(t *testing.T, text io.Reader) map[string]float64 {
	t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(text)
	require.NoError(t, err)
	got := map[string]float64{}
	for name, family := range families {
		for _, m := range family.GetMetric() {
			key := name
			for _, l := range m.GetLabel() {
				assert.Equal(t, "error_type", l.GetName())
				key += " " + l.GetValue()
			}
			got[key] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return got
}
