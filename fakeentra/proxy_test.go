package fakeentra_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/confidential"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/entracache/entracache/fakeentra"
)

// proxyClient sends everything through the proxy.
func proxyClient(t testing.TB, s *fakeentra.Server) *http.Client {
	t.Helper()
	client := newClient(t, s)
	proxy, err := url.Parse(s.ProxyURL())
	require.NoError(t, err)
	client.Transport.(*http.Transport).Proxy = http.ProxyURL(proxy)
	return client
}

// The libraries with all their defaults, in a process of their own so that nothing
// but the environment tells them about the proxy.
func TestLibrariesWithNothingButTheEnvironment(t *testing.T) {
	s := fakeentra.RunT(t)
	app := s.RegisterApp("orders")
	vm := s.RegisterManagedIdentity("vm", fakeentra.WithSystemAssigned())
	ca := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(ca, s.CAPEM(), 0o600))

	cmd := exec.CommandContext(boundedContext(t), os.Args[0], "-test.run=^TestChildOfTheEnvironment$", "-test.v")
	cmd.Env = []string{
		childTenant + "=" + app.TenantID, childClient + "=" + app.ClientID, childSecret + "=" + app.ClientSecret,
		childApp + "=" + app.ObjectID, childIdentity + "=" + vm.ObjectID,
		"SSL_CERT_FILE=" + ca, "SSL_CERT_DIR=" + t.TempDir(), "HOME=" + t.TempDir(),
	}
	for name, value := range s.ProxyEnv() {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "--- PASS: TestChildOfTheEnvironment", "it ran")
	// Nothing was asked for that is not ours; the one refusal is what
	// DefaultAzureCredential probes for IMDS with.
	for _, r := range s.Requests() {
		if r.Error != "bad_request_102" {
			require.Equal(t, fakeentra.OutcomeOK, r.Outcome, "%+v", r)
		}
	}
}

const (
	childTenant   = "FAKEENTRA_TEST_TENANT"
	childClient   = "FAKEENTRA_TEST_CLIENT"
	childSecret   = "FAKEENTRA_TEST_SECRET"
	childApp      = "FAKEENTRA_TEST_APP"
	childIdentity = "FAKEENTRA_TEST_IDENTITY"
)

func TestChildOfTheEnvironment(t *testing.T) {
	if os.Getenv(childTenant) == "" {
		t.Skip("this is the child process of TestLibrariesWithNothingButTheEnvironment")
	}
	defer http.DefaultClient.CloseIdleConnections()
	secret, err := azidentity.NewClientSecretCredential(os.Getenv(childTenant), os.Getenv(childClient), os.Getenv(childSecret), nil)
	require.NoError(t, err)
	token, err := secret.GetToken(boundedContext(t), redisToken)
	require.NoError(t, err)
	require.Equal(t, os.Getenv(childApp), decode(t, token.Token).claims["oid"])

	identity, err := azidentity.NewManagedIdentityCredential(nil)
	require.NoError(t, err)
	token, err = identity.GetToken(boundedContext(t), redisToken)
	require.NoError(t, err)
	require.Equal(t, os.Getenv(childIdentity), decode(t, token.Token).claims["oid"])

	byDefault, err := azidentity.NewDefaultAzureCredential(nil) // probes IMDS first
	require.NoError(t, err)
	token, err = byDefault.GetToken(boundedContext(t), redisToken)
	require.NoError(t, err)
	require.Equal(t, os.Getenv(childIdentity), decode(t, token.Token).claims["oid"])

	credential, err := confidential.NewCredFromSecret(os.Getenv(childSecret))
	require.NoError(t, err)
	client, err := confidential.New("https://login.microsoftonline.com/"+os.Getenv(childTenant), os.Getenv(childClient), credential)
	require.NoError(t, err)
	result, err := client.AcquireTokenByCredential(boundedContext(t), []string{fakeentra.RedisScope})
	require.NoError(t, err)
	require.Equal(t, os.Getenv(childApp), decode(t, result.AccessToken).claims["oid"])
}

func TestProxyServesEveryCloud(t *testing.T) {
	s := fakeentra.RunT(t)
	app := s.RegisterApp("orders")
	for name, config := range map[string]cloud.Configuration{
		"public": cloud.AzurePublic, "government": cloud.AzureGovernment, "China": cloud.AzureChina,
	} {
		cred, err := azidentity.NewClientSecretCredential(app.TenantID, app.ClientID, app.ClientSecret, &azidentity.ClientSecretCredentialOptions{
			ClientOptions: azcore.ClientOptions{Cloud: config, Transport: proxyClient(t, s)},
		})
		require.NoError(t, err)
		token, err := cred.GetToken(boundedContext(t), redisToken)
		require.NoError(t, err, name)
		require.Equal(t, app.ObjectID, verify(t, s, token.Token)["oid"], name)
	}
	client := proxyClient(t, s)
	for _, host := range []string{"login.windows.net", "sts.windows.net", "login.microsoft.com", "westeurope.login.microsoft.com", "LOGIN.microsoftonline.com"} {
		a := get(t, client, "https://"+host+"/"+app.TenantID+"/v2.0/.well-known/openid-configuration")
		require.Equal(t, http.StatusOK, a.status, host)
		require.Equal(t, "https://"+host+"/"+app.TenantID+"/v2.0", a.decode(t)["issuer"], "as it was reached")
	}
}

func TestProxyAnswersForIMDSOverATunnelToo(t *testing.T) {
	s := fakeentra.RunT(t)
	s.RegisterManagedIdentity("vm", fakeentra.WithSystemAssigned())
	c, in := connectThroughProxy(t, s, "169.254.169.254:80")
	require.Equal(t, http.StatusOK, in.status)
	_, err := fmt.Fprint(c, "GET /metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fredis.azure.com HTTP/1.1\r\n"+
		"Host: 169.254.169.254\r\nMetadata: true\r\nConnection: close\r\n\r\n")
	require.NoError(t, err)
	resp, err := http.ReadResponse(in.Reader, nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.NoError(t, resp.Body.Close())

	// There is nothing but IMDS at that address.
	proxied := proxyClient(t, s)
	require.Equal(t, http.StatusNotFound, get(t, proxied, "http://169.254.169.254/msi/token").status)
}

type proxyAnswer struct {
	*bufio.Reader
	status int
	body   string
}

// connectThroughProxy asks for a tunnel and reads the answer.
func connectThroughProxy(t *testing.T, s *fakeentra.Server, target string) (net.Conn, proxyAnswer) {
	t.Helper()
	c, err := (&net.Dialer{}).DialContext(boundedContext(t), "tcp", strings.TrimPrefix(s.ProxyURL(), "http://"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	_, err = fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", target, target)
	require.NoError(t, err)
	in := bufio.NewReader(c)
	resp, err := http.ReadResponse(in, &http.Request{Method: http.MethodConnect})
	require.NoError(t, err)
	a := proxyAnswer{Reader: in, status: resp.StatusCode}
	if a.status != http.StatusOK {
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		a.body = string(body)
		require.NoError(t, resp.Body.Close())
	}
	return c, a
}

// Whatever it is asked for, the proxy passes nothing on: not to a host that there
// is, not to this machine, not to Entra on another port.
func TestProxyRefusesEverythingElse(t *testing.T) {
	there := make(chan net.Conn, 1)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	go func() {
		if c, err := l.Accept(); err == nil {
			there <- c
		}
		close(there)
	}()

	s := fakeentra.RunT(t)
	for _, target := range []string{
		l.Addr().String(), "example.com:443", "login.microsoftonline.com:80", "login.microsoftonline.com:8443", "login.microsoftonline.com.example:443",
		"a.b.login.microsoft.com:443", ".login.microsoft.com:443", "169.254.169.254:443", "169.254.169.253:80", "graph.microsoft.com:443",
	} {
		_, a := connectThroughProxy(t, s, target)
		assert.Equal(t, http.StatusForbidden, a.status, target)
		assert.Contains(t, a.body, "a tunnel to "+target)
		assert.Contains(t, a.body, "login.microsoftonline.us")
		assert.Contains(t, a.body, "NO_PROXY")
		log := s.Requests()
		logged := log[len(log)-1]
		assert.Equal(t, fakeentra.EndpointProxy, logged.Endpoint)
		assert.Equal(t, fakeentra.OutcomeRefused, logged.Outcome)
		assert.Equal(t, target, logged.Path)
	}
	client := proxyClient(t, s)
	for _, target := range []string{"http://" + l.Addr().String() + "/", "http://example.com/", "http://login.microsoftonline.com/", "http://169.254.169.254:81/metadata/identity/oauth2/token"} {
		a := get(t, client, target)
		assert.Equal(t, http.StatusForbidden, a.status, target)
		assert.Contains(t, a.body, strings.TrimSuffix(target, "/metadata/identity/oauth2/token")[:12])
	}
	a := get(t, newClient(t, s), s.ProxyURL()+"/")
	assert.Equal(t, http.StatusForbidden, a.status)
	assert.Contains(t, a.body, "not for a proxy")

	require.NoError(t, l.Close())
	_, connected := <-there
	require.False(t, connected, "something was passed on")
}

func TestProxyTunnelsBreakInAnOutage(t *testing.T) {
	s := fakeentra.RunT(t)
	app := s.RegisterApp("orders")
	client := proxyClient(t, s)
	tokens := "https://login.microsoftonline.com/" + app.TenantID + "/oauth2/v2.0/token"
	require.Equal(t, http.StatusOK, post(t, client, tokens, tokenForm(app)).status)
	c, in := connectThroughProxy(t, s, "login.microsoftonline.com:443")
	require.Equal(t, http.StatusOK, in.status)

	s.SetOutage(true)
	_, err := in.ReadByte()
	require.Error(t, err, "an open tunnel")
	_ = c.Close()
	resp, err := client.PostForm(tokens, tokenForm(app))
	if err == nil {
		_ = resp.Body.Close()
	}
	require.Error(t, err)
	s.SetOutage(false)
	require.Equal(t, http.StatusOK, post(t, client, tokens, tokenForm(app)).status)
}

func TestProxyPassesOnBytesThatCameTooEarly(t *testing.T) {
	s := fakeentra.RunT(t)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(s.CAPEM())
	c, err := (&net.Dialer{}).DialContext(boundedContext(t), "tcp", strings.TrimPrefix(s.ProxyURL(), "http://"))
	require.NoError(t, err)
	defer func() { _ = c.Close() }()
	const host = "login.microsoftonline.com"
	// The client does not wait for the tunnel: its TLS greeting is in the same packet.
	eager := &eagerConn{Conn: c, prefix: []byte("CONNECT " + host + ":443 HTTP/1.1\r\nHost: " + host + ":443\r\n\r\n")}
	secured := tls.Client(eager, &tls.Config{RootCAs: pool, ServerName: host})
	require.NoError(t, secured.HandshakeContext(boundedContext(t)))
}

// eagerConn puts a prefix in front of what is first written, and takes the answer
// to it off what is first read.
type eagerConn struct {
	net.Conn
	prefix []byte
	in     *bufio.Reader
}

func (c *eagerConn) Write(p []byte) (int, error) {
	if c.prefix != nil {
		_, err := c.Conn.Write(append(c.prefix, p...))
		c.prefix = nil
		return len(p), err
	}
	return c.Conn.Write(p)
}

func (c *eagerConn) Read(p []byte) (int, error) {
	if c.in == nil {
		c.in = bufio.NewReader(c.Conn)
		if _, err := http.ReadResponse(c.in, &http.Request{Method: http.MethodConnect}); err != nil {
			return 0, err
		}
	}
	return c.in.Read(p)
}

func TestProxyCanBeTurnedOff(t *testing.T) {
	s := fakeentra.RunT(t, fakeentra.WithProxyAddr(""))
	require.Empty(t, s.ProxyURL())
	require.Empty(t, s.ProxyEnv())
}

func TestAllListenersAreOnLoopbackAndClosed(t *testing.T) {
	others := goleak.IgnoreCurrent()
	s, err := fakeentra.Start()
	require.NoError(t, err)
	s.RegisterManagedIdentity("vm", fakeentra.WithSystemAssigned())
	addrs := []string{s.Addr(), strings.TrimPrefix(s.MetadataURL(), "http://"), strings.TrimPrefix(s.ProxyURL(), "http://")}
	tunnel, _ := connectThroughProxy(t, s, "login.microsoftonline.com:443")
	for _, addr := range addrs {
		host, _, err := net.SplitHostPort(addr)
		require.NoError(t, err)
		require.True(t, net.ParseIP(host).IsLoopback(), addr)
		idle, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", addr)
		require.NoError(t, err)
		defer func() { _ = idle.Close() }()
	}
	require.NoError(t, s.Close())
	for _, addr := range addrs {
		_, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", addr)
		require.Error(t, err, "%s is free", addr)
	}
	_, err = tunnel.Read(make([]byte, 1))
	require.Error(t, err, "the tunnel is closed")
	goleak.VerifyNone(t, others)
}

func TestStartGivesBackTheAddressesWhenOneIsTaken(t *testing.T) {
	taken := fakeentra.RunT(t)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := free.Addr().String()
	require.NoError(t, free.Close())
	for _, option := range []fakeentra.Option{fakeentra.WithProxyAddr(taken.Addr()), fakeentra.WithMetadataAddr(taken.Addr())} {
		_, err = fakeentra.Start(fakeentra.WithAddr(addr), option)
		require.ErrorContains(t, err, "listen on \""+taken.Addr())
		again, err := net.Listen("tcp", addr)
		require.NoError(t, err, "given back")
		require.NoError(t, again.Close())
	}
}
