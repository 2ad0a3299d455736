package fakeserver_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeentra"
	"github.com/entracache/entracache/fakeserver"
	"github.com/entracache/entracache/fakeserver/clock"
)

// TestPairOnOneClock changes the rate of the clock that both fakes run on: what
// was set before the change happens at its moment by the new rate.
func TestPairOnOneClock(t *testing.T) {
	t.Parallel()
	clk := clock.New()
	entra := fakeentra.RunT(t, fakeentra.WithClock(clk))
	app := entra.RegisterApp("orders")
	cache := fakeserver.RunT(t, fakeserver.WithClock(clk), fakeserver.WithIssuer(entra.Authority()), fakeserver.WithIssuerCA(entra.CAPEM()))
	require.NoError(t, cache.Assign(app.ObjectID, fakeserver.DataOwner))
	open := func() (*client, time.Time) {
		token, life, err := signIn(entra, app)
		require.NoError(t, err)
		c := dial(t, cache)
		require.Equal(t, "+OK", c.line("AUTH", app.ObjectID, token))
		return c, clk.Now().Add(life)
	}

	clk.Freeze()
	c, ends := open()
	require.Equal(t, "+OK", c.line("SET", "a", "b", "EX", "60"))
	c.quiet()
	clk.Advance(time.Minute)
	assert.Equal(t, "$-1", c.line("GET", "a"), "keys expire by it")
	clk.Resume()
	require.NoError(t, clk.SetRate(36_000)) // an hour in a tenth of a second
	c.closed()
	e, err := cache.WaitSignedOut(t.Context(), app.ObjectID)
	require.NoError(t, err)
	assert.Equal(t, fakeserver.ReasonTokenExpired, e.Reason)
	assert.False(t, e.Time.Before(ends.Truncate(time.Second)), "not before the token ended")

	// A command that waits does so by the clock as well.
	clk.Freeze()
	c, _ = open()
	c.send(array("BLPOP", "nothing", "600"))
	c.quiet()
	require.NoError(t, clk.SetRate(6000))
	assert.Equal(t, "*-1\r\n", c.read())
}

// TestValidationHoldsUpNobody: while the issuer does not answer, whoever signs in
// waits for it; commands, other sign-ins and management do not.
func TestValidationHoldsUpNobody(t *testing.T) {
	t.Parallel()
	entra := fakeentra.RunT(t)
	app := entra.RegisterApp("orders")
	cache := fakeserver.RunT(t, fakeserver.WithIssuer(entra.Authority()), fakeserver.WithIssuerCA(entra.CAPEM()),
		fakeserver.WithAccessKeys("key-one", "key-two"))
	require.NoError(t, cache.Assign(app.ObjectID, fakeserver.DataOwner))
	token, _, err := signIn(entra, app)
	require.NoError(t, err)
	hang := entra.Fail(fakeentra.Fault{Endpoint: fakeentra.EndpointDiscovery, Action: fakeentra.FaultHang, Times: 1})
	var waiting []*client
	for _, raw := range []string{
		array("AUTH", app.ObjectID, token),
		array("HELLO", "3", "AUTH", app.ObjectID, token),
		array("AUTH", "key-one") + array("MULTI") + array("AUTH", app.ObjectID, token) + array("EXEC"),
	} {
		c := dial(t, cache)
		c.send(raw)
		waiting = append(waiting, c)
	}
	require.Eventually(t, func() bool { return hang.Fired() == 1 }, patience, time.Millisecond)
	c := dial(t, cache)
	assert.Equal(t, "+OK", c.line("AUTH", "key-one"))
	assert.Equal(t, "+OK", c.line("SET", "a", "b"))
	assert.Equal(t, "*1\r\n$1\r\nb", c.line("MGET", "a"))
	require.NoError(t, cache.Assign("somebody", fakeserver.DataReader))
	assert.Len(t, cache.Connections(), 4)
	waiting[0].quiet()
	require.NoError(t, cache.Close(), "Close does not wait for the issuer either")
}
