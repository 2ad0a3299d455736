package fakeentra

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// imdsHost is the address of the instance metadata service, built into libraries.
const imdsHost = "169.254.169.254"

// cloudHosts are the names under which Entra is known, built into libraries. The
// certificate that the server shows there has them all. Source: the hosts that MSAL
// for Go trusts (authority.go).
var cloudHosts = []string{
	"login.microsoftonline.com", "login.windows.net", "login.microsoft.com", "sts.windows.net",
	"login.microsoftonline.us", "login.usgovcloudapi.net", "login-us.microsoftonline.com",
	"login.partner.microsoftonline.cn", "login.chinacloudapi.cn",
	"login.microsoftonline.de",
	"login.sovcloud-identity.fr", "login.sovcloud-identity.de", "login.sovcloud-identity.sg",
}

// regionalSuffix ends the names of the regional endpoints, such as
// westeurope.login.microsoft.com, which MSAL uses when it is told a region.
const regionalSuffix = ".login.microsoft.com"

// CloudHosts are the names for which the forward proxy answers. A certificate given
// with WithCertificate must be made out to them for the proxy to be of use.
func CloudHosts() []string { return append(slices.Clone(cloudHosts), "*"+regionalSuffix) }

func isCloudHost(host string) bool {
	host = strings.ToLower(host)
	if region, ok := strings.CutSuffix(host, regionalSuffix); ok {
		return region != "" && !strings.Contains(region, ".")
	}
	return slices.Contains(cloudHosts, host)
}

// WithProxyAddr sets the TCP address on which the forward proxy listens; see
// ProxyURL. Default "127.0.0.1:0": loopback only, any free port. "" turns it off.
func WithProxyAddr(addr string) Option { return func(c *config) { c.proxyAddr = addr } }

// ProxyURL is the address of a forward proxy that leads only here, or "" if it is
// turned off. With it in HTTPS_PROXY and HTTP_PROXY, libraries with a built-in
// authority or metadata address work unmodified: tunnels to port 443 of
// login.microsoftonline.com and Entra's other names, the sovereign clouds' too,
// end at this server, which shows a certificate for the name, and requests for
// http://169.254.169.254 are answered by its metadata endpoint. Everything else is
// refused with status 403: nothing is ever passed on to anywhere.
//
// With WithCertificate the certificate for the names is the one given.
func (s *Server) ProxyURL() string { return s.proxyURL }

// ProxyEnv returns the environment variables that make a program use the proxy
// for everything but this machine, in both spellings because programs differ in
// which they read (curl takes http_proxy in lower case only). It is empty if the
// proxy is turned off.
//
// Go, Python, .NET and @azure/identity obey them; Node's own fetch, which
// msal-node uses, does from Node 22.21 on, by NODE_USE_ENV_PROXY; Java does not,
// and takes -Dhttps.proxyHost, -Dhttps.proxyPort, -Dhttp.proxyHost and
// -Dhttp.proxyPort instead; azure-identity also needs
// -Dhttp.nonProxyHosts='localhost|127.*', or it asks even this machine through the
// proxy. That the program trusts CAPEM is another matter.
func (s *Server) ProxyEnv() map[string]string {
	if s.proxyURL == "" {
		return map[string]string{}
	}
	const here = "localhost,127.0.0.1,::1"
	return map[string]string{
		"HTTPS_PROXY": s.proxyURL, "https_proxy": s.proxyURL,
		"HTTP_PROXY": s.proxyURL, "http_proxy": s.proxyURL,
		"NO_PROXY": here, "no_proxy": here,
		"NODE_USE_ENV_PROXY": "1",
	}
}

// serveProxy answers one request to the proxy.
func (s *Server) serveProxy(w http.ResponseWriter, r *http.Request) {
	if !s.handlers.enter() {
		panic(http.ErrAbortHandler)
	}
	defer s.handlers.leave()
	switch {
	case r.Method == http.MethodConnect:
		s.tunnel(w, r)
	case r.URL.Host == "":
		s.refuseProxying(w, r, "a request that is meant for a server, not for a proxy")
	case r.URL.Scheme == "http" && isIMDS(r.URL.Host):
		s.serveMetadata(w, r)
	default:
		s.refuseProxying(w, r, r.URL.Scheme+"://"+r.URL.Host)
	}
}

// isIMDS takes the host of a URL, with or without port 80.
func isIMDS(host string) bool { return host == imdsHost || host == imdsHost+":80" }

// tunnel makes the client's connection one of the server's own.
func (s *Server) tunnel(w http.ResponseWriter, r *http.Request) {
	host, port, err := net.SplitHostPort(r.Host)
	var to *tunnels
	switch {
	case err != nil:
	case port == "443" && isCloudHost(host):
		to = s.issuerTunnels
	case isIMDS(r.Host): // Node's agents make a tunnel for plain HTTP too
		to = s.metadataTunnels
	}
	if to == nil {
		s.refuseProxying(w, r, "a tunnel to "+r.Host)
		return
	}
	s.log.add(Request{Endpoint: EndpointProxy, Path: r.Host, Outcome: OutcomeOK, Status: http.StatusOK})
	hijacker, ok := w.(http.Hijacker)
	if !ok { // HTTP/2, which this front does not speak
		panic(http.ErrAbortHandler)
	}
	c, buffered, err := hijacker.Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if _, err := c.Write([]byte("HTTP/1.1 200 Connection established\r\n\r\n")); err != nil || !to.hand(tunnelConn{c, buffered.Reader}) {
		_ = c.Close()
	}
}

func (s *Server) refuseProxying(w http.ResponseWriter, r *http.Request, what string) {
	s.log.add(Request{Endpoint: EndpointProxy, Path: r.Host, Outcome: OutcomeRefused, Status: http.StatusForbidden})
	http.Error(w, fmt.Sprintf("fakeentra: this proxy leads to the fake issuer only and passes nothing on. "+
		"Expected a tunnel to port 443 of one of %s or of a name under %s, or a request for http://%s; got %s. "+
		"Put hosts that are to be reached without the proxy into NO_PROXY.",
		strings.Join(cloudHosts, ", "), strings.TrimPrefix(regionalSuffix, "."), imdsHost, strconv.Quote(clip(what))), http.StatusForbidden)
}

// tunnels is a listener whose connections are handed to it.
type tunnels struct {
	addr   net.Addr
	handed chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newTunnels(addr net.Addr) *tunnels {
	return &tunnels{addr: addr, handed: make(chan net.Conn), closed: make(chan struct{})}
}

// hand reports false when the listener is closed; the connection is still the
// caller's then.
func (t *tunnels) hand(c net.Conn) bool {
	select {
	case t.handed <- c:
		return true
	case <-t.closed:
		return false
	}
}

func (t *tunnels) Accept() (net.Conn, error) {
	select {
	case c := <-t.handed:
		return c, nil
	case <-t.closed:
		return nil, net.ErrClosed
	}
}

func (t *tunnels) Close() error {
	t.once.Do(func() { close(t.closed) })
	return nil
}

func (t *tunnels) Addr() net.Addr { return t.addr }

// tunnelConn begins with what the proxy has read ahead.
type tunnelConn struct {
	net.Conn
	in *bufio.Reader
}

func (c tunnelConn) Read(p []byte) (int, error) { return c.in.Read(p) }

// NetConn is what reset looks through.
func (c tunnelConn) NetConn() net.Conn { return c.Conn }
