package fakeentra

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// FederatedAudience is the audience that Entra recommends for assertions of other
// issuers, and the default of a FederatedCredential (Entra documentation,
// "Workload identity federation").
const FederatedAudience = "api://AzureADTokenExchange"

// FederatedCredential lets whoever holds a token of another issuer sign in with
// it. The three values are compared with the assertion's iss, sub and aud letter
// by letter (Entra documentation, breaking changes of August 2024).
type FederatedCredential struct {
	// Name is by which the request log names the credential.
	Name string
	// Issuer is the other issuer's URL. Unless Keys is set, its keys are read from
	// {Issuer}/.well-known/openid-configuration, which must be on this machine: a
	// loopback address or "localhost". Nothing is ever fetched from elsewhere.
	Issuer string
	// Subject is such as "system:serviceaccount:default:orders".
	Subject string
	// Audience defaults to FederatedAudience.
	Audience string
	// Keys, if set, are the other issuer's keys, which are then not fetched.
	Keys *jose.JSONWebKeySet
}

// federation are the federated credentials of an application or of a
// user-assigned managed identity.
type federation struct {
	mu       sync.RWMutex
	federate []FederatedCredential
}

// maxFederated is a limit of Entra: "A maximum of 20 federated identity credentials
// can be added to an application or user-assigned managed identity" (Entra
// documentation, "Important considerations and restrictions for federated
// identity credentials").
const maxFederated = 20

// AddFederatedCredential lets tokens of another issuer be used to sign in. It
// returns an error for a credential without issuer or subject, for an issuer that
// is neither on this machine nor comes with its keys, for a pair of issuer and
// subject that is there already, and for the twenty-first.
func (f *federation) AddFederatedCredential(c FederatedCredential) error {
	if c.Audience == "" {
		c.Audience = FederatedAudience
	}
	what := fmt.Sprintf("fakeentra: federated credential %q", c.Name)
	issuer, err := url.Parse(c.Issuer)
	switch {
	case err != nil || issuer.Host == "" || issuer.Scheme != "https" && issuer.Scheme != "http":
		return fmt.Errorf("%s: expected the issuer's URL, got %q", what, c.Issuer)
	case c.Subject == "":
		return fmt.Errorf("%s: expected a subject, got none", what)
	case c.Keys == nil && !onThisMachine(issuer.Hostname()):
		return fmt.Errorf("%s: expected an issuer on a loopback address, got %q; give its keys along with the credential", what, c.Issuer)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.federate) == maxFederated {
		return fmt.Errorf("%s: expected at most %d, got one more", what, maxFederated)
	}
	for _, other := range f.federate {
		if other.Issuer == c.Issuer && other.Subject == c.Subject {
			return fmt.Errorf("%s: issuer and subject are those of credential %q; the pair must be unique", what, other.Name)
		}
	}
	f.federate = append(f.federate, c)
	return nil
}

// RemoveFederatedCredential takes a credential away, by its name. It reports
// whether there was one.
func (f *federation) RemoveFederatedCredential(name string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := len(f.federate)
	f.federate = slices.DeleteFunc(slices.Clone(f.federate), func(c FederatedCredential) bool { return c.Name == name })
	return len(f.federate) < before
}

// FederatedCredentials lists the federated credentials, oldest first.
func (f *federation) FederatedCredentials() []FederatedCredential {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return slices.Clone(f.federate)
}

// match finds the credential for an assertion, or the code to refuse it with: the
// first of issuer, subject and audience that no credential has.
func (f *federation) match(issuer, subject string, audiences []string) (FederatedCredential, int) {
	candidates := f.FederatedCredentials()
	if len(candidates) == 0 {
		return FederatedCredential{}, codeNoFederation
	}
	keep := func(code int, has func(FederatedCredential) bool) int {
		left := slices.DeleteFunc(slices.Clone(candidates), func(c FederatedCredential) bool { return !has(c) })
		if len(left) == 0 {
			return code
		}
		candidates = left
		return 0
	}
	if code := keep(codeFederatedIssuer, func(c FederatedCredential) bool { return c.Issuer == issuer }); code != 0 {
		return FederatedCredential{}, code
	}
	if code := keep(codeFederatedSubject, func(c FederatedCredential) bool { return c.Subject == subject }); code != 0 {
		if slices.ContainsFunc(candidates, func(c FederatedCredential) bool { return strings.EqualFold(c.Subject, subject) }) {
			code = codeFederatedCase
		}
		return FederatedCredential{}, code
	}
	if code := keep(codeFederatedAudience, func(c FederatedCredential) bool { return slices.Contains(audiences, c.Audience) }); code != 0 {
		return FederatedCredential{}, code
	}
	return candidates[0], 0
}

func onThisMachine(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

const (
	// federationTimeout bounds how long a sign-in waits for the other issuer.
	federationTimeout = 5 * time.Second
	// maxPublished bounds what is read of another issuer's document.
	maxPublished = 1 << 20
)

// WithFederationCA adds certificates, in PEM, that other issuers may be reached
// with. Default: those of the system, and the CA of this process's servers, so
// that one of them can federate with another.
func WithFederationCA(caPEM []byte) Option {
	return func(c *config) { c.federationCA = append(c.federationCA, caPEM...) }
}

// issuers reads and remembers the keys of other issuers.
type issuers struct {
	client *http.Client

	mu   sync.Mutex
	keys map[string]jose.JSONWebKeySet // by issuer
}

func newIssuers(ownCA, furtherCA []byte) (*issuers, error) {
	roots, err := x509.SystemCertPool()
	if err != nil { // a system without any: a loopback issuer has none of them anyway
		roots = x509.NewCertPool()
	}
	roots.AppendCertsFromPEM(ownCA)
	if len(furtherCA) > 0 && !roots.AppendCertsFromPEM(furtherCA) {
		return nil, errors.New("fakeentra: WithFederationCA: expected certificates in PEM, got none")
	}
	return &issuers{
		keys: map[string]jose.JSONWebKeySet{},
		client: &http.Client{
			Timeout: federationTimeout,
			Transport: &http.Transport{ // no proxy: what is asked for is on this machine
				TLSClientConfig:   &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
				ForceAttemptHTTP2: true,
			},
			CheckRedirect: func(r *http.Request, _ []*http.Request) error {
				return fmt.Errorf("redirected to %s, which is not followed", r.URL)
			},
		},
	}, nil
}

func (i *issuers) close() { i.client.CloseIdleConnections() }

// key finds the key with that ID, asking the issuer if it is not known yet.
func (i *issuers) key(ctx context.Context, c FederatedCredential, kid string) (any, error) {
	find := func(set jose.JSONWebKeySet) any {
		for _, k := range set.Keys {
			if k.KeyID == kid || kid == "" && len(set.Keys) == 1 {
				return k.Public().Key
			}
		}
		return nil
	}
	if c.Keys != nil {
		return find(*c.Keys), nil
	}
	// One at a time: a crowd that signs in at once asks the other issuer once.
	i.mu.Lock()
	defer i.mu.Unlock()
	if key := find(i.keys[c.Issuer]); key != nil {
		return key, nil
	}
	set, err := i.fetch(ctx, c.Issuer)
	if err != nil {
		return nil, err
	}
	i.keys[c.Issuer] = set
	return find(set), nil
}

func (i *issuers) fetch(ctx context.Context, issuer string) (jose.JSONWebKeySet, error) {
	var document struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	var set jose.JSONWebKeySet
	if err := i.get(ctx, strings.TrimSuffix(issuer, "/")+"/.well-known/openid-configuration", &document); err != nil {
		return set, err
	}
	if document.Issuer != issuer {
		return set, fmt.Errorf("the document of %s: expected this issuer in it, got %q", issuer, document.Issuer)
	}
	return set, i.get(ctx, document.JWKSURI, &set)
}

func (i *issuers) get(ctx context.Context, address string, into any) error {
	u, err := url.Parse(address)
	if err != nil || !onThisMachine(u.Hostname()) {
		return fmt.Errorf("%q: expected a loopback address", address)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	resp, err := i.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: expected status 200, got %s", address, resp.Status)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxPublished)).Decode(into); err != nil {
		return fmt.Errorf("%s: %w", address, err)
	}
	return nil
}
