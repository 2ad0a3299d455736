package fakeserver_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeserver"
)

func TestMetricsCountFailoversAndLosses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	require.NoError(t, w.Failover())
	require.NoError(t, w.Reboot())
	m := w.Metrics()
	assert.Equal(t, int64(1), m.Errors[fakeserver.ErrorFailover])
	assert.Zero(t, m.Errors[fakeserver.ErrorDataloss], "a replica kept the data, and a reboot keeps it unless told otherwise")
	require.NoError(t, w.Reboot(fakeserver.RebootLosesData()))
	assert.Equal(t, int64(1), w.Metrics().Errors[fakeserver.ErrorDataloss])
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	none := fakeserver.Metrics{Errors: map[fakeserver.ErrorKind]int64{
		fakeserver.ErrorEntraAuthenticationFailure: 0, fakeserver.ErrorEntraTokenExpired: 0, fakeserver.ErrorAADAuthenticationFailure: 0,
		fakeserver.ErrorAADTokenExpired: 0, fakeserver.ErrorUnresponsiveClients: 0, fakeserver.ErrorFailover: 0, fakeserver.ErrorDataloss: 0,
	}}
	assert.Equal(t, none, w.Metrics())
	byKey, byToken, switched, stranger := w.withKey(), w.signedIn(fakeserver.DataOwner), w.withKey(), dial(t, w.Server)
	require.Equal(t, "+OK", switched.line("AUTH", oid, w.token(time.Hour)))
	require.Equal(t, wrongPass, stranger.line("AUTH", oid, "no token"))
	require.Equal(t, wrongPass, stranger.line("AUTH", "no key"))
	require.Equal(t, wrongPass, stranger.line("AUTH", otherOID, w.token(time.Hour)))
	m := w.Metrics()
	assert.Equal(t, 4, m.ConnectedClients)
	assert.Equal(t, 2, m.ConnectedClientsUsingMicrosoftEntraToken, "what counts is the present identity")
	assert.Equal(t, int64(4), m.ConnectionsCreated)
	assert.Equal(t, int64(1), m.Errors[fakeserver.ErrorEntraAuthenticationFailure], "only a token's failure is one")
	assert.Equal(t, int64(1), m.Errors[fakeserver.ErrorAADAuthenticationFailure])

	require.Equal(t, "+OK", switched.line("AUTH", "key-one"))
	w.clock.Advance(time.Hour)
	byToken.closed()
	w.eventKind(fakeserver.EventConnectionClosed)
	require.Equal(t, "+PONG", byKey.line("PING"))
	require.Equal(t, "+PONG", switched.line("PING"))
	m = w.Metrics()
	assert.Equal(t, 3, m.ConnectedClients)
	assert.Zero(t, m.ConnectedClientsUsingMicrosoftEntraToken)
	assert.Equal(t, int64(1), m.ConnectionsClosed)
	assert.Equal(t, int64(1), m.Errors[fakeserver.ErrorEntraTokenExpired])
	assert.Equal(t, int64(1), m.Errors[fakeserver.ErrorAADTokenExpired])
}
