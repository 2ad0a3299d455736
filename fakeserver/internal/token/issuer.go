package token

import (
	"context"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	// maxDocument bounds what is read of a discovery document or a key set;
	// Entra's own are below 20 KiB.
	maxDocument = 1 << 20

	// A token with an unknown kid sends the validator back to the issuer.
	// Anybody can invent a kid, so the way back is limited: refetchBurst
	// times per refetchWindow of wall-clock time (it protects a real server,
	// so it does not follow the test clock).
	refetchBurst  = 10
	refetchWindow = 10 * time.Second
)

// keySet is one immutable view of what the issuer published.
type keySet struct {
	issuers  []string // accepted iss values
	tenantID string   // "" when the issuer's name holds none
	keys     map[string]*rsa.PublicKey
}

// issuer reads and remembers one issuer's published documents.
type issuer struct {
	url    string
	client *http.Client
	now    func() time.Time // wall clock, for the rate limit only

	current atomic.Pointer[keySet]

	turn    chan struct{} // holds one element; whoever took it may fetch
	fetches []time.Time   // owned by whoever has the turn
}

func newIssuer(rawURL string, caPEM []byte, transport http.RoundTripper) (*issuer, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, fmt.Errorf("issuer URL %q: %w", rawURL, err)
	}
	if (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" {
		return nil, fmt.Errorf("issuer URL %q: expected https://HOST/TENANT", rawURL)
	}
	if transport == nil {
		if transport, err = overNetwork(caPEM); err != nil {
			return nil, err
		}
	}
	turn := make(chan struct{}, 1)
	turn <- struct{}{}
	return &issuer{
		url:    strings.TrimRight(rawURL, "/"),
		client: &http.Client{Transport: transport},
		now:    time.Now,
		turn:   turn,
	}, nil
}

// overNetwork asks the issuer over TLS, trusting the certificates given.
func overNetwork(caPEM []byte) (http.RoundTripper, error) {
	tr := http.DefaultTransport.(*http.Transport).Clone()
	if len(caPEM) > 0 {
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(caPEM) {
			return nil, errors.New("issuer CA: no certificate found; give one or more PEM blocks of type CERTIFICATE")
		}
		tr.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	// Discovery is asked for once in a while; kept-alive connections would
	// only outlive the server that they belong to.
	tr.DisableKeepAlives = true
	return tr, nil
}

// lookup gives the key that signed a token and the set it is part of. A kid
// that is not known makes it ask the issuer again, and
// that is waited for no longer than the timeout.
func (i *issuer) lookup(ctx context.Context, kid string, timeout time.Duration) (*keySet, *rsa.PublicKey, *Error) {
	seen := i.current.Load()
	if seen != nil {
		if k := seen.keys[kid]; k != nil {
			return seen, k, nil
		}
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	set, err := i.refresh(ctx, seen)
	if err != nil {
		return nil, nil, err
	}
	if k := set.keys[kid]; k != nil {
		return set, k, nil
	}
	return nil, nil, refuse(UnknownKey, "kid %q is not among the %d keys that %s publishes", clip(kid), len(set.keys), i.url)
}

// refresh replaces the set that the caller has seen. When somebody else did
// so in the meantime, that result is used.
func (i *issuer) refresh(ctx context.Context, seen *keySet) (*keySet, *Error) {
	select {
	case <-i.turn:
		defer func() { i.turn <- struct{}{} }()
	case <-ctx.Done():
		return nil, &Error{Reason: IssuerUnreachable, Detail: "no answer in time from " + i.url, Err: ctx.Err()}
	}
	if cur := i.current.Load(); cur != seen {
		return cur, nil
	}
	now := i.now()
	for len(i.fetches) > 0 && now.Sub(i.fetches[0]) >= refetchWindow {
		i.fetches = i.fetches[1:]
	}
	if seen != nil {
		if len(i.fetches) >= refetchBurst {
			return seen, nil // the caller reports the unknown key
		}
		i.fetches = append(i.fetches, now)
	}
	set, err := i.fetch(ctx)
	if err != nil {
		return nil, &Error{Reason: IssuerUnreachable, Detail: "cannot read the keys of " + i.url, Err: err}
	}
	i.current.Store(set)
	return set, nil
}

// discovery holds the fields of an OpenID configuration that matter here.
type discovery struct {
	Issuer  string `json:"issuer"`
	JWKSURI string `json:"jwks_uri"`
}

// fetch reads the v1.0 configuration, which every OpenID issuer has, and the
// v2.0 one, which Entra has beside it: a v1.0 token is checked with the first
// and a v2.0 token with the second.
func (i *issuer) fetch(ctx context.Context) (*keySet, error) {
	set := &keySet{keys: map[string]*rsa.PublicKey{}}
	var fetched []string
	for n, path := range []string{"/.well-known/openid-configuration", "/v2.0/.well-known/openid-configuration"} {
		var d discovery
		err := i.get(ctx, i.url+path, &d)
		if err == nil && (d.Issuer == "" || d.JWKSURI == "") {
			err = fmt.Errorf("%s%s: issuer or jwks_uri is missing", i.url, path)
		}
		if err != nil {
			var status statusError
			if n > 0 && errors.As(err, &status) && status.code/100 == 4 {
				continue // a plain OpenID issuer
			}
			return nil, err
		}
		set.issuers = append(set.issuers, d.Issuer)
		if set.tenantID == "" {
			set.tenantID = tenantIn(d.Issuer)
		}
		if len(fetched) > 0 && fetched[0] == d.JWKSURI {
			continue
		}
		fetched = append(fetched, d.JWKSURI)
		var jwks struct {
			Keys []json.RawMessage `json:"keys"`
		}
		if err := i.get(ctx, d.JWKSURI, &jwks); err != nil {
			return nil, err
		}
		for _, raw := range jwks.Keys {
			// One key that is not understood must not hide the others
			// (RFC 7517, section 5).
			var k jose.JSONWebKey
			if k.UnmarshalJSON(raw) != nil {
				continue
			}
			if pub, ok := k.Key.(*rsa.PublicKey); ok && k.KeyID != "" && k.Use != "enc" {
				set.keys[k.KeyID] = pub
			}
		}
	}
	if len(set.keys) == 0 {
		return nil, fmt.Errorf("%s publishes no RSA key", fetched[0])
	}
	return set, nil
}

type statusError struct {
	url  string
	code int
}

func (e statusError) Error() string { return fmt.Sprintf("GET %s: status %d", e.url, e.code) }

func (i *issuer) get(ctx context.Context, url string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := i.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return statusError{url, resp.StatusCode}
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxDocument)).Decode(into); err != nil {
		return fmt.Errorf("GET %s: %w", url, err)
	}
	return nil
}

// tenantIn finds the tenant's GUID in an Entra issuer name, such as
// https://sts.windows.net/GUID/ or https://login.microsoftonline.com/GUID/v2.0.
func tenantIn(issuer string) string {
	u, err := url.Parse(issuer)
	if err != nil {
		return ""
	}
	for _, part := range strings.Split(u.Path, "/") {
		if isGUID(part) {
			return part
		}
	}
	return ""
}

func isGUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, c := range s {
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
				return false
			}
		}
	}
	return true
}

// clip keeps a stranger's text short in an error.
func clip(s string) string {
	const most = 64
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
