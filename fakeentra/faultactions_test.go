package fakeentra_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/entracache/entracache/fakeentra"
)

const shortBound = 50 * time.Millisecond // how long a test waits for what must not happen

// http1Client speaks HTTP/1.1 only.
func http1Client(t testing.TB, s *fakeentra.Server) *http.Client {
	client := newClient(t, s)
	transport, ok := client.Transport.(*http.Transport)
	require.True(t, ok)
	transport.ForceAttemptHTTP2 = false
	return client
}

func TestFaultHitsTheNthRequest(t *testing.T) {
	s := fakeentra.RunT(t)
	client := newClient(t, s)
	third := s.Fail(fakeentra.Fault{Endpoint: fakeentra.EndpointJWKS, After: 2, Times: 1, Status: 500})
	later := s.Fail(fakeentra.Fault{Endpoint: fakeentra.EndpointJWKS, After: 3, Times: 2, Status: 502})
	var got []int
	for range 8 {
		get(t, client, s.Authority()+"/v2.0/.well-known/openid-configuration") // is not counted
		got = append(got, get(t, client, s.URL()+"/common/discovery/keys").status)
	}
	// The third is the older fault's, so that the younger counts 1, 2 and 4.
	require.Equal(t, []int{200, 200, 500, 200, 502, 502, 200, 200}, got)
	require.Equal(t, 1, third.Fired())
	require.Equal(t, 2, later.Fired())
}

func TestFaultOfOneClient(t *testing.T) {
	s := fakeentra.RunT(t)
	orders, billing := s.RegisterApp("orders"), s.RegisterApp("billing")
	client := newClient(t, s)
	s.Fail(fakeentra.Fault{ClientID: strings.ToUpper(orders.ClientID), Status: 500})
	assert.Equal(t, 500, post(t, client, tokenURL(s), tokenForm(orders)).status)
	assert.Equal(t, 200, post(t, client, tokenURL(s), tokenForm(billing)).status)
	assert.Equal(t, 200, get(t, client, s.URL()+"/common/discovery/keys").status)
}

func TestSlowAnswers(t *testing.T) {
	clock := clockwork.NewFakeClock()
	s := fakeentra.RunT(t, fakeentra.WithClock(clock))
	app := s.RegisterApp("orders")
	client := newClient(t, s)
	fault := s.Fail(fakeentra.Fault{Action: fakeentra.FaultSlow, Delay: time.Minute, Times: 1})
	answered := make(chan answer, 1)
	go func() { answered <- post(t, client, tokenURL(s), tokenForm(app)) }()
	require.NoError(t, clock.BlockUntilContext(boundedContext(t), 1))
	select {
	case <-answered:
		t.Fatal("answered at once")
	case <-time.After(shortBound):
	}
	clock.Advance(time.Minute)
	a := <-answered
	require.Equal(t, 200, a.status, "as usual")
	require.Equal(t, 3600.0, a.decode(t)["expires_in"], "made after the delay")
	require.Equal(t, 1, fault.Fired())
	require.Equal(t, fakeentra.OutcomeOK, s.Requests()[0].Outcome)
}

func TestRemoveEndsADelay(t *testing.T) {
	clock := clockwork.NewFakeClock()
	s := fakeentra.RunT(t, fakeentra.WithClock(clock))
	client := newClient(t, s)
	fault := s.Fail(fakeentra.Fault{Delay: time.Hour, Status: 503, Times: 1})
	answered := make(chan answer, 1)
	go func() { answered <- get(t, client, s.URL()+"/common/discovery/keys") }()
	require.NoError(t, clock.BlockUntilContext(boundedContext(t), 1))
	fault.Remove()
	require.Equal(t, 503, (<-answered).status, "what comes after the delay stays")
}

func hasOutcome(endpoint fakeentra.Endpoint, outcome fakeentra.Outcome) func(fakeentra.Request) bool {
	return func(r fakeentra.Request) bool { return r.Endpoint == endpoint && r.Outcome == outcome }
}

func TestHangingRequests(t *testing.T) {
	const url = "/common/discovery/keys"
	hang := fakeentra.Fault{Endpoint: fakeentra.EndpointJWKS, Action: fakeentra.FaultHang}
	for name, client := range map[string]func(testing.TB, *fakeentra.Server) *http.Client{"HTTP/2": newClient, "HTTP/1.1": http1Client} {
		start := func(t *testing.T, ctx context.Context, s *fakeentra.Server) <-chan error {
			t.Helper()
			failed := make(chan error, 1)
			c := client(t, s)
			go func() {
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL()+url, nil)
				if err == nil {
					var resp *http.Response
					if resp, err = c.Do(req); err == nil {
						err = resp.Body.Close()
					}
				}
				failed <- err
			}()
			// It is in the log as soon as it hangs.
			_, err := s.WaitRequest(boundedContext(t), hasOutcome(fakeentra.EndpointJWKS, fakeentra.OutcomeFault))
			require.NoError(t, err)
			select {
			case err := <-failed:
				t.Fatalf("did not hang: %v", err)
			case <-time.After(shortBound):
			}
			return failed
		}
		t.Run(name+" until removed", func(t *testing.T) {
			s := fakeentra.RunT(t)
			fault := s.Fail(hang)
			failed := start(t, boundedContext(t), s)
			fault.Remove()
			require.Error(t, <-failed)
			require.Equal(t, 200, get(t, newClient(t, s), s.URL()+url).status)
			require.Len(t, s.Requests(), 2, "one entry each")
		})
		t.Run(name+" until the client gives up", func(t *testing.T) {
			others := goleak.IgnoreCurrent()
			s, err := fakeentra.Start()
			require.NoError(t, err)
			s.Fail(hang)
			ctx, cancel := context.WithCancel(boundedContext(t))
			failed := start(t, ctx, s)
			cancel()
			require.ErrorIs(t, <-failed, context.Canceled)
			require.NoError(t, s.Close())
			goleak.VerifyNone(t, others, goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"))
		})
		t.Run(name+" until closed", func(t *testing.T) {
			s, err := fakeentra.Start()
			require.NoError(t, err)
			s.Fail(hang)
			failed := start(t, boundedContext(t), s)
			require.NoError(t, s.Close())
			require.Error(t, <-failed)
		})
		t.Run(name+" until an outage", func(t *testing.T) {
			s := fakeentra.RunT(t)
			s.Fail(hang)
			failed := start(t, boundedContext(t), s)
			s.SetOutage(true)
			require.Error(t, <-failed)
		})
	}
	t.Run("mounted elsewhere, until closed", func(t *testing.T) {
		s, err := fakeentra.Start()
		require.NoError(t, err)
		s.Fail(hang)
		done := make(chan any, 1)
		go func() {
			defer func() { done <- recover() }()
			s.Handler().ServeHTTP(httptest.NewRecorder(), keysRequest(t))
		}()
		_, err = s.WaitRequest(boundedContext(t), hasOutcome(fakeentra.EndpointJWKS, fakeentra.OutcomeFault))
		require.NoError(t, err)
		require.NoError(t, s.Close(), "lets go of it")
		require.Equal(t, http.ErrAbortHandler, <-done)
	})
}

func TestResetConnections(t *testing.T) {
	s := fakeentra.RunT(t)
	app := s.RegisterApp("orders")
	fault := s.Fail(fakeentra.Fault{Action: fakeentra.FaultReset, After: 1, Times: 1})
	c, err := dial(t, s)
	require.NoError(t, err)
	require.NoError(t, c.roundTrip(t, "/common/discovery/keys"))
	require.ErrorIs(t, c.roundTrip(t, "/common/discovery/keys"), syscall.ECONNRESET)
	require.Equal(t, 1, fault.Fired())
	require.Equal(t, fakeentra.OutcomeFault, s.Requests()[1].Outcome)
	require.Zero(t, s.Requests()[1].Status)

	// A request with a body is not sent again by net/http; over HTTP/2 the whole
	// connection goes too.
	for _, client := range []*http.Client{newClient(t, s), http1Client(t, s), proxyClient(t, s)} {
		url := tokenURL(s)
		if client.Transport.(*http.Transport).Proxy != nil {
			url = "https://login.microsoftonline.com/" + app.TenantID + "/oauth2/v2.0/token"
		}
		require.Equal(t, 200, post(t, client, url, tokenForm(app)).status)
		s.Fail(fakeentra.Fault{Endpoint: fakeentra.EndpointToken, Action: fakeentra.FaultReset, Times: 1})
		resp, err := client.PostForm(url, tokenForm(app))
		if err == nil {
			_ = resp.Body.Close()
		}
		require.Error(t, err)
		require.True(t, errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || strings.Contains(err.Error(), "connection"), "%v", err)
		require.Equal(t, 200, post(t, client, url, tokenForm(app)).status)
	}
}

func TestGarbage(t *testing.T) {
	s := fakeentra.RunT(t)
	app := s.RegisterApp("orders")
	client := newClient(t, s)
	s.Fail(fakeentra.Fault{Action: fakeentra.FaultGarbage, Times: 1})
	a := post(t, client, tokenURL(s), tokenForm(app))
	assert.Equal(t, 200, a.status)
	assert.Equal(t, "text/html", a.header.Get("Content-Type"))
	assert.False(t, json.Valid([]byte(a.body)))
	assert.Equal(t, fakeentra.OutcomeFault, s.Requests()[0].Outcome)
	assert.Nil(t, s.Requests()[0].Token)

	s.Fail(fakeentra.Fault{Action: fakeentra.FaultGarbage, Status: 502, Times: 1})
	assert.Equal(t, 502, post(t, client, tokenURL(s), tokenForm(app)).status)
	mustToken(t, s, client, app)
}

func TestTruncated(t *testing.T) {
	s := fakeentra.RunT(t)
	app := s.RegisterApp("orders")
	m := s.RegisterManagedIdentity("vm", fakeentra.WithSystemAssigned())
	client := newClient(t, s)
	for _, ask := range []func() answer{
		func() answer { return post(t, client, tokenURL(s), tokenForm(app)) },
		func() answer { return get(t, client, s.URL()+"/common/discovery/keys") },
		func() answer { return get(t, client, s.Authority()+"/v2.0/.well-known/openid-configuration") },
		func() answer { return do(t, client, identityRequest(t, s, fakeentra.SourceIMDS, m)) },
	} {
		whole := ask()
		s.Fail(fakeentra.Fault{Action: fakeentra.FaultTruncate, Times: 1})
		half := ask() // reading the body is no error: the message around it is whole
		assert.Equal(t, 200, half.status)
		assert.InDelta(t, len(whole.body)/2, len(half.body), 40)
		assert.True(t, strings.HasPrefix(half.body, `{"`))
		assert.False(t, json.Valid([]byte(half.body)))
		log := s.Requests()
		assert.Equal(t, fakeentra.OutcomeFault, log[len(log)-1].Outcome)
		assert.Nil(t, log[len(log)-1].Token)
	}
}

func TestFaultsThatMakeNoSense(t *testing.T) {
	s := fakeentra.RunT(t)
	for _, f := range []fakeentra.Fault{
		{Action: "explode"}, {Endpoint: "tokens"}, {Endpoint: fakeentra.EndpointProxy}, {After: -1}, {Times: -1}, {Delay: -1}, {RetryAfter: -1}, {Status: 99}, {Status: 600},
	} {
		_, err := s.AddFault(f)
		require.ErrorContains(t, err, "expected", "%+v", f)
		require.Panics(t, func() { s.Fail(f) }, "%+v", f)
	}
}

func TestFaultsUnderLoad(t *testing.T) {
	s := fakeentra.RunT(t)
	app := s.RegisterApp("orders")
	client := newClient(t, s)
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if resp, err := client.PostForm(tokenURL(s), tokenForm(app)); err == nil {
					_, _ = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
				}
			}
		})
	}
	for _, action := range []fakeentra.FaultAction{
		fakeentra.FaultAnswer, fakeentra.FaultSlow, fakeentra.FaultHang, fakeentra.FaultReset, fakeentra.FaultGarbage, fakeentra.FaultTruncate,
	} {
		fault := s.Fail(fakeentra.Fault{Action: action, Delay: time.Microsecond})
		last := s.Requests()
		_, err := s.WaitRequest(boundedContext(t), func(r fakeentra.Request) bool {
			return r.Seq > int64(len(last)) && (action == fakeentra.FaultSlow && fault.Fired() > 3 || r.Outcome == fakeentra.OutcomeFault)
		})
		require.NoError(t, err, action)
		fault.Remove()
	}
	close(stop)
	clients.Wait()
	mustToken(t, s, client, app)
}
