package fakeentra

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"syscall"
)

// Where an issuer that is in memory only seems to be.
const (
	memoryAddr     = "127.0.0.1:8443"
	memoryMetadata = "127.0.0.1:8444"
)

// WithInMemory opens no TCP port: the issuer is reached by Transport only. URL and
// MetadataURL are then names for it, and there is no ProxyURL; WithAddr,
// WithMetadataAddr and WithProxyAddr have no effect. It is for tests inside a
// testing/synctest bubble. Default off.
func WithInMemory() Option { return func(c *config) { c.inMemory = true } }

// Transport answers requests within the process, without a connection: those to
// URL, MetadataURL, Entra's own names (CloudHosts) and the address of the instance
// metadata service. Everything else is an error; nothing is passed on to anywhere.
// It works beside the TCP ports too. Client libraries take it in an http.Client,
// and the fake cache with its WithIssuerTransport.
//
// A request that is cut off, by an outage or a fault, fails with ECONNRESET. One
// that was answered has been read and written whole.
func (s *Server) Transport() http.RoundTripper { return transport{s} }

type transport struct{ s *Server }

// RoundTrip is for net/http.
func (t transport) RoundTrip(r *http.Request) (resp *http.Response, err error) {
	if r.Body != nil {
		defer r.Body.Close()
	}
	handler, err := t.handler(r.URL)
	if err != nil {
		return nil, err
	}
	in := r.Clone(r.Context())
	in.RequestURI, in.RemoteAddr = r.URL.RequestURI(), memoryAddr
	in.Proto, in.ProtoMajor, in.ProtoMinor = "HTTP/1.1", 1, 1
	if in.Host == "" {
		in.Host = r.URL.Host
	}
	if in.Body == nil {
		in.Body = http.NoBody
	}
	if r.URL.Scheme == "https" {
		in.TLS = &tls.ConnectionState{Version: tls.VersionTLS13, HandshakeComplete: true, ServerName: r.URL.Hostname()}
	}
	a := answer{header: http.Header{}}
	defer func() {
		switch p := recover(); {
		case p == nil:
		case p != http.ErrAbortHandler: // a panic's value, as package http compares it
			panic(p)
		case r.Context().Err() != nil:
			resp, err = nil, r.Context().Err()
		default:
			resp, err = nil, &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
		}
	}()
	handler.ServeHTTP(&a, in)
	return a.response(r), nil
}

// handler finds who answers for an address.
func (t transport) handler(u *url.URL) (http.Handler, error) {
	switch {
	case u.Scheme+"://"+u.Host == t.s.url, u.Scheme == "https" && (u.Port() == "" || u.Port() == "443") && isCloudHost(u.Hostname()):
		return t.s.Handler(), nil
	case u.Scheme+"://"+u.Host == t.s.metadataURL, u.Scheme == "http" && isIMDS(u.Host):
		return http.HandlerFunc(t.s.serveMetadata), nil
	}
	return nil, fmt.Errorf("fakeentra: this transport leads to the fake issuer only: expected %s, %s, https:// and one of Entra's own names, or http://%s; got %s",
		t.s.url, t.s.metadataURL, imdsHost, strconv.Quote(clip(u.Scheme+"://"+u.Host)))
}

// answer is what a handler has written.
type answer struct {
	header http.Header
	sent   http.Header // as it was when the status was written
	status int
	body   bytes.Buffer
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status, a.sent = status, a.header.Clone()
	}
}

func (a *answer) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(b)
}

func (a *answer) response(r *http.Request) *http.Response {
	a.WriteHeader(http.StatusOK)
	return &http.Response{
		Status: fmt.Sprintf("%d %s", a.status, http.StatusText(a.status)), StatusCode: a.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: a.sent, Body: io.NopCloser(&a.body), ContentLength: int64(a.body.Len()), Request: r,
	}
}
