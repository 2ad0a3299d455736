package fakeentra_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/entracache/entracache/fakeentra"
)

func TestCloseLeavesNothingBehind(t *testing.T) {
	others := goleak.IgnoreCurrent()
	s, err := fakeentra.Start()
	require.NoError(t, err)
	app := s.RegisterApp("orders")

	client := newClient(t, s) // HTTP/2
	mustToken(t, s, client, app)
	idle, err := dial(t, s) // HTTP/1.1
	require.NoError(t, err)
	require.NoError(t, idle.roundTrip(t, "/common/discovery/keys"))
	silent, err := net.Dial("tcp", s.Addr()) // a TLS handshake that never comes
	require.NoError(t, err)
	defer func() { _ = silent.Close() }()

	require.NoError(t, s.Close())
	require.NoError(t, s.Close(), "closing again is fine")
	client.CloseIdleConnections()
	goleak.VerifyNone(t, others)

	_, err = net.Dial("tcp", s.Addr())
	require.Error(t, err, "the port is free")
	_, err = idle.in.ReadByte()
	require.Error(t, err, "the connection is closed")
}

// net/http's own Close would come back while these goroutines still wait.
func TestCloseWaitsForItsGoroutines(t *testing.T) {
	s, err := fakeentra.Start()
	require.NoError(t, err)
	for range 40 {
		c, err := dial(t, s)
		require.NoError(t, err)
		require.NoError(t, c.roundTrip(t, "/common/discovery/keys"))
	}
	require.NoError(t, s.Close())

	dump := make([]byte, 4<<20)
	dump = dump[:runtime.Stack(dump, true)]
	for goroutine := range strings.SplitSeq(string(dump), "\n\n") {
		waits := strings.Contains(goroutine, "net/http.(*conn).serve(") && strings.Contains(goroutine, ".Read(") ||
			strings.Contains(goroutine, "net/http.(*Server).Serve(") && strings.Contains(goroutine, ".Accept(")
		require.False(t, waits, "left behind: %s", goroutine)
	}
}

// watchedWriter calls a function when the answer is about to be written.
type watchedWriter struct {
	http.ResponseWriter
	beforeWrite func()
}

func (w watchedWriter) Write(p []byte) (int, error) {
	w.beforeWrite()
	return w.ResponseWriter.Write(p)
}

func keysRequest(t *testing.T) *http.Request {
	return httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/common/discovery/keys", nil)
}

func TestCloseWaitsForAnswers(t *testing.T) {
	s, err := fakeentra.Start()
	require.NoError(t, err)
	answering, goOn, answered, closed := make(chan struct{}), make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(answered)
		s.Handler().ServeHTTP(watchedWriter{httptest.NewRecorder(), func() { close(answering); <-goOn }}, keysRequest(t))
	}()
	<-answering
	go func() { defer close(closed); assert.NoError(t, s.Close()) }()
	select {
	case <-closed:
		t.Error("closed while a request was being answered")
	case <-time.After(50 * time.Millisecond):
	}
	close(goOn)
	<-answered
	select {
	case <-closed:
	case <-time.After(waitBound):
		t.Fatal("Close does not come back")
	}
	require.PanicsWithValue(t, http.ErrAbortHandler, func() { s.Handler().ServeHTTP(httptest.NewRecorder(), keysRequest(t)) },
		"what comes later is cut off")
}

func TestRequestIsLoggedBeforeItsAnswerIsSent(t *testing.T) {
	s := fakeentra.RunT(t)
	logged := -1
	s.Handler().ServeHTTP(watchedWriter{httptest.NewRecorder(), func() { logged = len(s.Requests()) }}, keysRequest(t))
	require.Equal(t, 1, logged)
}

func TestCloseDuringRequests(t *testing.T) {
	others := goleak.IgnoreCurrent()
	s, err := fakeentra.Start()
	require.NoError(t, err)
	app := s.RegisterApp("orders")
	client := newClient(t, s)
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for {
				resp, err := client.PostForm(tokenURL(s), tokenForm(app))
				if err != nil {
					return
				}
				_ = resp.Body.Close()
			}
		})
	}
	_, err = s.WaitRequest(boundedContext(t), func(r fakeentra.Request) bool { return r.Seq == 20 })
	require.NoError(t, err)
	require.NoError(t, s.Close())
	clients.Wait()
	served := len(s.Requests())
	client.CloseIdleConnections()
	goleak.VerifyNone(t, others)
	assert.Len(t, s.Requests(), served, "nothing is served any more")
}

func TestConcurrentUse(t *testing.T) {
	s := fakeentra.RunT(t)
	client := newClient(t, s)
	const workers, each = 8, 10
	var wg sync.WaitGroup
	for i := range workers {
		wg.Go(func() {
			tenant := s.AddTenant()
			for j := range each {
				app := tenant.RegisterApp(fmt.Sprint(i, j))
				app.SetDefect(fakeentra.DefectTampered)
				app.SetDefect(fakeentra.DefectNone)
				s.SetTokenLifetime(time.Duration(i+1) * time.Hour)
				fault := s.Fail(fakeentra.Fault{Endpoint: fakeentra.EndpointInstance})
				a := post(t, client, tenant.Authority()+"/oauth2/v2.0/token", tokenForm(app))
				fault.Remove()
				assert.Equal(t, http.StatusOK, a.status, a.body)
				_, err := s.WaitRequest(t.Context(), func(r fakeentra.Request) bool { return r.ClientID == app.ClientID && r.Token != nil })
				assert.NoError(t, err)
			}
		})
	}
	wg.Wait()
	log := s.Requests()
	require.Len(t, log, workers*each)
	for i, r := range log {
		require.Equal(t, int64(i+1), r.Seq)
		require.False(t, i > 0 && r.Time.Before(log[i-1].Time), "the log is in order of time")
	}
}

func TestRequestLogHoldsNoSecrets(t *testing.T) {
	s := fakeentra.RunT(t)
	app := s.RegisterApp("orders")
	client := newClient(t, s)
	require.True(t, strings.HasPrefix(app.ClientSecret, "fake-secret-"), "recognisable as worthless")

	token := mustToken(t, s, client, app)
	// A client that mixes its fields up, and one that signs in with an assertion.
	secret := app.ClientSecret
	post(t, client, s.URL()+"/"+secret+"/oauth2/v2.0/token", tokenForm(app, "client_id", secret, "scope", secret+"/.default", "grant_type", secret, "resource", secret))
	assertion := "eyJhbGciOiJSUzI1NiJ9." + strings.Repeat("s", 2000) + ".signature"
	post(t, client, tokenURL(s), tokenForm(app, "client_secret", "", "client_assertion", assertion, "scope", assertion))
	req, err := http.NewRequestWithContext(boundedContext(t), http.MethodPost, tokenURL(s), strings.NewReader(url.Values{"scope": {secret}}.Encode()))
	require.NoError(t, err)
	req.SetBasicAuth(app.ClientID, secret)
	do(t, client, req)

	log := s.Requests()
	require.Len(t, log, 4)
	for _, r := range log {
		raw, err := json.Marshal(r)
		require.NoError(t, err)
		for _, text := range []string{string(raw), fmt.Sprintf("%+v", r)} {
			assert.NotContains(t, text, secret)
			assert.NotContains(t, text, "ssssssss")
			assert.NotContains(t, text, token)
			assert.NotContains(t, text, strings.Split(token, ".")[2])
		}
	}
	assert.Equal(t, "[redacted]", log[1].ClientID)
	assert.Equal(t, "[redacted]/.default", log[1].Scope)
	assert.Equal(t, fakeentra.RedisScope, log[0].Scope, "what is no secret stays")

	post(t, client, tokenURL(s), tokenForm(app, "scope", strings.Repeat("x", 5000)))
	assert.Less(t, len(s.Requests()[4].Scope), 600, "a long field is cut")
}

func TestWaitRequestSeesPastAndComingRequests(t *testing.T) {
	s := fakeentra.RunT(t)
	client := newClient(t, s)
	get(t, client, s.URL()+"/common/discovery/keys")
	isKeys := func(r fakeentra.Request) bool { return r.Endpoint == fakeentra.EndpointJWKS }
	r, err := s.WaitRequest(boundedContext(t), isKeys)
	require.NoError(t, err)
	require.Equal(t, int64(1), r.Seq)

	found := make(chan fakeentra.Request, 1)
	looking := make(chan struct{})
	go func() {
		var once sync.Once
		r, _ := s.WaitRequest(t.Context(), func(r fakeentra.Request) bool {
			once.Do(func() { close(looking) })
			return r.Endpoint == fakeentra.EndpointDiscovery
		})
		found <- r
	}()
	<-looking
	get(t, client, s.Authority()+"/.well-known/openid-configuration")
	select {
	case r := <-found:
		require.Equal(t, int64(2), r.Seq)
	case <-time.After(waitBound):
		t.Fatal("the coming request was not seen")
	}
}

func TestRequestsIsACopy(t *testing.T) {
	s := fakeentra.RunT(t)
	get(t, newClient(t, s), s.URL()+"/common/discovery/keys")
	s.Requests()[0].Endpoint = "changed"
	require.Equal(t, fakeentra.EndpointJWKS, s.Requests()[0].Endpoint)
}

func TestFixedIdentities(t *testing.T) {
	const tenant, client, object = "6497C918-11ad-41e7-1b0f-7c518a87d0b0", "11111111-1111-1111-1111-11111111111A", "22222222-2222-2222-2222-222222222222"
	s := fakeentra.RunT(t, fakeentra.WithTenant(tenant))
	require.Equal(t, strings.ToLower(tenant), s.TenantID())
	require.Equal(t, s.URL()+"/"+s.TenantID(), s.Authority())
	app := s.RegisterApp("seed", fakeentra.WithClientID(client), fakeentra.WithObjectID(object), fakeentra.WithClientSecret("fake-secret-seed"))
	require.Equal(t, strings.ToLower(client), app.ClientID)
	require.Equal(t, object, app.ObjectID)
	require.Equal(t, s.TenantID(), app.TenantID)
	require.Equal(t, object, decode(t, mustToken(t, s, newClient(t, s), app)).claims["oid"])

	_, err := s.AddApp("twin", fakeentra.WithClientID(client))
	require.ErrorContains(t, err, `taken by app "seed"`)
	_, err = s.AddApp("twin", fakeentra.WithObjectID(object))
	require.ErrorContains(t, err, `taken by app "seed"`)
	_, err = s.AddApp("bad", fakeentra.WithClientID("{"+client+"}"))
	require.ErrorContains(t, err, "expected a GUID")
	_, err = s.AddApp("bad", fakeentra.WithObjectID("orders"))
	require.ErrorContains(t, err, `got "orders"`)
	_, err = s.AddApp("bad", fakeentra.WithClientSecret(""))
	require.ErrorContains(t, err, "client secret")
	require.Panics(t, func() { s.RegisterApp("bad", fakeentra.WithClientID("orders")) })

	random := s.RegisterApp("random")
	for _, id := range []string{random.ClientID, random.ObjectID} {
		require.NoError(t, uuid.Validate(id))
	}
	require.NotEqual(t, random.ClientID, random.ObjectID)
}

func TestStartRefusesNonsense(t *testing.T) {
	taken := fakeentra.RunT(t)
	tests := map[string]struct {
		option fakeentra.Option
		want   string
	}{
		"tenant":     {fakeentra.WithTenant("contoso"), `WithTenant: expected a GUID like`},
		"lifetime":   {fakeentra.WithTokenLifetime(time.Millisecond), "WithTokenLifetime: expected at least 1s, got 1ms"},
		"backdating": {fakeentra.WithBackdating(-time.Second), "WithBackdating"},
		"clock":      {fakeentra.WithClock(nil), "WithClock: expected a clock, got nil"},
		"audience":   {fakeentra.WithAudienceForm("guid"), `got "guid"`},
		"resource":   {fakeentra.WithResource("vault"), `got "vault"`},
		"no ID":      {fakeentra.WithResource(), "expected at least one identifier"},
		"address":    {fakeentra.WithAddr(taken.Addr()), "listen on \"" + taken.Addr()},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s, err := fakeentra.Start(tt.option)
			if err == nil {
				_ = s.Close()
			}
			require.ErrorContains(t, err, tt.want)
		})
	}
}

func TestListensOnLoopbackOnly(t *testing.T) {
	s := fakeentra.RunT(t)
	host, _, err := net.SplitHostPort(s.Addr())
	require.NoError(t, err)
	require.True(t, net.ParseIP(host).IsLoopback())

	everywhere := fakeentra.RunT(t, fakeentra.WithAddr(":0"))
	require.True(t, strings.HasPrefix(everywhere.URL(), "https://127.0.0.1:"), "%s can be connected to", everywhere.URL())
	get(t, newClient(t, everywhere), everywhere.Authority()+"/.well-known/openid-configuration")
}

// Python 3.13 and later refuse a chain that lacks any of these.
func TestCertificatesPleaseStrictVerifiers(t *testing.T) {
	s := fakeentra.RunT(t)
	block, rest := pem.Decode(s.CAPEM())
	require.Empty(t, rest)
	ca, err := x509.ParseCertificate(block.Bytes)
	require.NoError(t, err)
	assert.True(t, ca.IsCA && ca.BasicConstraintsValid)
	assert.Equal(t, x509.KeyUsageCertSign|x509.KeyUsageCRLSign, ca.KeyUsage)
	assert.NotEmpty(t, ca.SubjectKeyId)

	c, err := dial(t, s)
	require.NoError(t, err)
	leaf := c.ConnectionState().PeerCertificates[0]
	assert.Equal(t, ca.SubjectKeyId, leaf.AuthorityKeyId)
	assert.Equal(t, x509.KeyUsageDigitalSignature, leaf.KeyUsage)
	for _, name := range []string{"localhost", "127.0.0.1", "::1"} {
		assert.NoError(t, leaf.VerifyHostname(name))
	}
	for _, now := range []time.Time{time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2049, 1, 1, 0, 0, 0, 0, time.UTC)} {
		roots := x509.NewCertPool()
		roots.AddCert(ca)
		_, err = leaf.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now})
		assert.NoError(t, err, "with a clock that shows %s", now)
	}

	old := tls.Config{RootCAs: x509.NewCertPool(), MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10} // to be refused
	_, err = tls.Dial("tcp", s.Addr(), &old)
	require.Error(t, err)
}

func TestOwnCertificate(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	caPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	s := fakeentra.RunT(t, fakeentra.WithCertificate(tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, caPEM))
	require.Equal(t, caPEM, s.CAPEM())
	mustToken(t, s, newClient(t, s), s.RegisterApp("orders"))
}

// recordingTester is a test that can fail without failing this one.
type recordingTester struct {
	failures []string
	cleanups []func()
}

func (r *recordingTester) Helper()             {}
func (r *recordingTester) Cleanup(f func())    { r.cleanups = append(r.cleanups, f) }
func (r *recordingTester) Logf(string, ...any) {}
func (r *recordingTester) Fatalf(f string, a ...any) {
	r.failures = append(r.failures, fmt.Sprintf(f, a...))
}

func TestRunT(t *testing.T) {
	var r recordingTester
	s := fakeentra.RunT(&r)
	require.Empty(t, r.failures)
	require.Len(t, r.cleanups, 1)
	r.cleanups[0]()
	_, err := net.Dial("tcp", s.Addr())
	require.Error(t, err, "closed at the end of the test")

	fakeentra.RunT(&r, fakeentra.WithTenant("contoso"))
	require.Len(t, r.failures, 1)
	require.Contains(t, r.failures[0], "expected a GUID")
}

func Example() {
	entra, err := fakeentra.Start()
	if err != nil {
		panic(err)
	}
	defer func() { _ = entra.Close() }()
	app := entra.RegisterApp("orders")

	token, err := entra.IssueToken(app)
	fmt.Println(strings.Count(token, "."), err)
	// Output: 2 <nil>
}
