package fakeentra_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
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

	"github.com/entracache/entracache/fakeentra"
)

func TestFaultsAreCounted(t *testing.T) {
	s := fakeentra.RunT(t)
	app := s.RegisterApp("orders")
	client := newClient(t, s)
	ask := func() answer { return post(t, client, tokenURL(s), tokenForm(app)) }

	fault := s.Fail(fakeentra.Fault{Endpoint: fakeentra.EndpointToken, Status: 429, RetryAfter: 1500 * time.Millisecond, Times: 2})
	for i := range 2 {
		a := ask()
		assert.Equal(t, 429, a.status)
		assert.Equal(t, "2", a.header.Get("Retry-After"), "whole seconds, rounded up")
		assert.Equal(t, "temporarily_unavailable", a.decode(t)["error"])
		assert.Equal(t, i+1, fault.Fired())
		logged := s.Requests()[len(s.Requests())-1]
		assert.Equal(t, fakeentra.OutcomeFault, logged.Outcome)
		assert.Equal(t, "AADSTS90055", logged.Error)
		assert.Equal(t, app.ClientID, logged.ClientID)
	}
	assert.Equal(t, 200, ask().status, "the third is answered")
	assert.Equal(t, 2, fault.Fired())
	fault.Remove() // long gone: nothing happens
}

func TestFaultsLastUntilRemoved(t *testing.T) {
	s := fakeentra.RunT(t)
	client := newClient(t, s)
	fault := s.Fail(fakeentra.Fault{})
	for range 3 {
		assert.Equal(t, 503, get(t, client, s.URL()+"/common/discovery/keys").status)
	}
	fault.Remove()
	fault.Remove()
	assert.Equal(t, 200, get(t, client, s.URL()+"/common/discovery/keys").status)
	assert.Equal(t, 3, fault.Fired())
}

func TestFaultsHitTheirEndpointOldestFirst(t *testing.T) {
	s := fakeentra.RunT(t)
	app := s.RegisterApp("orders")
	client := newClient(t, s)
	urls := map[fakeentra.Endpoint]string{
		fakeentra.EndpointJWKS:      s.URL() + "/common/discovery/keys",
		fakeentra.EndpointDiscovery: s.Authority() + "/v2.0/.well-known/openid-configuration",
		fakeentra.EndpointInstance:  s.URL() + "/common/discovery/instance?authorization_endpoint=" + s.Authority(),
	}
	for endpoint := range urls {
		fault := s.Fail(fakeentra.Fault{Endpoint: endpoint, Status: 500, Times: 1})
		for other, url := range urls {
			if other != endpoint {
				assert.Equal(t, 200, get(t, client, url).status, "%s while %s fails", other, endpoint)
			}
		}
		assert.Equal(t, 200, post(t, client, tokenURL(s), tokenForm(app)).status)
		assert.Equal(t, 500, get(t, client, urls[endpoint]).status, endpoint)
		assert.Equal(t, 200, get(t, client, urls[endpoint]).status, endpoint)
		assert.Equal(t, 1, fault.Fired())
	}

	s.Fail(fakeentra.Fault{Endpoint: fakeentra.EndpointToken, Status: 500, Times: 1})
	s.Fail(fakeentra.Fault{Endpoint: fakeentra.EndpointAny, Status: 502, Times: 1})
	assert.Equal(t, 500, post(t, client, tokenURL(s), tokenForm(app)).status)
	assert.Equal(t, 502, post(t, client, tokenURL(s), tokenForm(app)).status)
	assert.Equal(t, 200, post(t, client, tokenURL(s), tokenForm(app)).status)
}

func TestFaultAnswers(t *testing.T) {
	tests := map[string]struct {
		fault  fakeentra.Fault
		status int
		kind   string
		codes  []any
	}{
		"nothing set":           {fakeentra.Fault{}, 503, "temporarily_unavailable", []any{90033.0}},
		"known code":            {fakeentra.Fault{Code: 7000215}, 401, "invalid_client", []any{7000215.0}},
		"known code, status":    {fakeentra.Fault{Code: 7000215, Status: 418}, 418, "invalid_client", []any{7000215.0}},
		"unknown code":          {fakeentra.Fault{Code: 53003, Status: 400}, 400, "invalid_request", []any{53003.0}},
		"unknown code, no more": {fakeentra.Fault{Code: 53003}, 503, "temporarily_unavailable", []any{53003.0}},
		"status 401":            {fakeentra.Fault{Status: 401}, 401, "invalid_client", []any{}},
		"status 504":            {fakeentra.Fault{Status: 504}, 504, "temporarily_unavailable", []any{90033.0}},
	}
	s := fakeentra.RunT(t)
	app := s.RegisterApp("orders")
	client := newClient(t, s)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tt.fault.Times = 1
			s.Fail(tt.fault)
			a := post(t, client, tokenURL(s), tokenForm(app))
			assert.Equal(t, tt.status, a.status)
			assert.Equal(t, tt.kind, a.decode(t)["error"])
			assert.Equal(t, tt.codes, a.decode(t)["error_codes"])
			assert.Empty(t, a.header.Get("Retry-After"))
		})
	}
}

// rawConnection is a kept-alive HTTP/1.1 connection without a client library
// that would hide a reset by dialling again.
type rawConnection struct {
	*tls.Conn
	in *bufio.Reader
}

func dial(t *testing.T, s *fakeentra.Server) (rawConnection, error) {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(s.CAPEM())
	dialer := tls.Dialer{Config: &tls.Config{RootCAs: pool, NextProtos: []string{"http/1.1"}}}
	c, err := dialer.DialContext(boundedContext(t), "tcp", s.Addr())
	if err != nil {
		return rawConnection{}, err
	}
	t.Cleanup(func() { _ = c.Close() })
	secured, ok := c.(*tls.Conn)
	require.True(t, ok)
	require.NoError(t, secured.SetDeadline(time.Now().Add(waitBound)))
	return rawConnection{Conn: secured, in: bufio.NewReader(secured)}, nil
}

func (c rawConnection) roundTrip(t *testing.T, path string) error {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+c.RemoteAddr().String()+path, nil)
	require.NoError(t, err)
	if err := req.Write(c); err != nil {
		return err
	}
	resp, err := http.ReadResponse(c.in, req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

func TestOutageResetsFreshAndKeptAliveConnections(t *testing.T) {
	s := fakeentra.RunT(t)
	kept, err := dial(t, s)
	require.NoError(t, err)
	require.NoError(t, kept.roundTrip(t, "/common/discovery/keys"))
	require.NoError(t, kept.roundTrip(t, "/common/discovery/keys"), "kept alive")
	before := len(s.Requests())

	s.SetOutage(true)
	_, err = kept.in.ReadByte() // idle: the reset comes without a request being made
	require.ErrorIs(t, err, syscall.ECONNRESET)

	_, err = dial(t, s)
	require.Error(t, err)
	require.True(t, errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, io.EOF), "%v", err)
	refused := s.Requests()[before:]
	require.Len(t, refused, 1, "the fresh connection; the idle one was no request")
	assert.Equal(t, fakeentra.EndpointConnection, refused[0].Endpoint)
	assert.Equal(t, fakeentra.OutcomeOutage, refused[0].Outcome)

	s.SetOutage(false)
	again, err := dial(t, s)
	require.NoError(t, err)
	require.NoError(t, again.roundTrip(t, "/common/discovery/keys"))
	require.Equal(t, fakeentra.OutcomeOK, s.Requests()[len(s.Requests())-1].Outcome)
}

// hookedClock runs a hook whenever it is read.
type hookedClock struct {
	clockwork.Clock
	hook func()
}

func (c *hookedClock) Now() time.Time {
	if hook := c.hook; hook != nil {
		c.hook = nil
		hook()
	}
	return c.Clock.Now()
}

// A token that is being made when the outage begins never arrives, and the log
// says so.
func TestOutageCutsOffWhatIsBeingAnswered(t *testing.T) {
	clock := &hookedClock{Clock: clockwork.NewFakeClock()}
	s := fakeentra.RunT(t, fakeentra.WithClock(clock))
	app := s.RegisterApp("orders")
	clock.hook = func() { s.SetOutage(true) } // read first to date the token
	req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/"+s.TenantID()+"/oauth2/v2.0/token", strings.NewReader(tokenForm(app).Encode()))
	w := httptest.NewRecorder()
	require.PanicsWithValue(t, http.ErrAbortHandler, func() { s.Handler().ServeHTTP(w, req) })
	assert.Empty(t, w.Body.String())
	log := s.Requests()
	require.Len(t, log, 1)
	assert.Equal(t, fakeentra.OutcomeOutage, log[0].Outcome)
	assert.Equal(t, app.ClientID, log[0].ClientID)
	assert.Nil(t, log[0].Token)
	assert.Zero(t, log[0].Status)
}

// An outage may begin in the middle of anything; nothing may hang or stay broken.
func TestOutageUnderLoad(t *testing.T) {
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
				resp, err := client.PostForm(tokenURL(s), tokenForm(app))
				if err == nil {
					_, _ = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
				}
			}
		})
	}
	isOutcome := func(o fakeentra.Outcome, after int64) func(fakeentra.Request) bool {
		return func(r fakeentra.Request) bool { return r.Seq > after && r.Outcome == o }
	}
	last := int64(0)
	for range 3 {
		for _, step := range []struct {
			outage bool
			want   fakeentra.Outcome
		}{{true, fakeentra.OutcomeOutage}, {false, fakeentra.OutcomeOK}} {
			s.SetOutage(step.outage)
			r, err := s.WaitRequest(boundedContext(t), isOutcome(step.want, last))
			require.NoError(t, err, "no request with outcome %s", step.want)
			last = r.Seq
		}
	}
	close(stop)
	clients.Wait()
	mustToken(t, s, client, app)
}
