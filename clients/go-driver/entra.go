package driver

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/golang-jwt/jwt/v5"
)

// Entra is an application's way to Microsoft Entra, for one client or for several that share it. It is safe for concurrent use.
type Entra struct {
	// Rate is how many times faster than the network this process's clock is; at least 1.
	Rate time.Duration

	credential func() (azcore.TokenCredential, error)
	scopes     []string
	username   string // "": the token's object ID
	http       *http.Transport

	life  context.Context
	end   context.CancelFunc
	users atomic.Int32
}

// NewEntra is Entra with the credential of a request. retry is azidentity's own policy, the zero value being its default. An unknown kind
// of credential is an [UnsupportedError].
func NewEntra(r Request, retry policy.RetryOptions) (*Entra, error) {
	roots, err := CertPool(r.Entra.CAPEM)
	if err != nil {
		return nil, err
	}
	e := EntraOf(nil, r.Scopes, r.Username)
	e.Rate = time.Duration(max(1, r.Options.ClockRate))
	e.http.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
	// What bounds an exchange on the network stays as long as it is by default, also where this process's clock is faster.
	e.http.TLSHandshakeTimeout *= e.Rate
	e.http.DialContext = (&net.Dialer{Timeout: 30 * time.Second * e.Rate, KeepAlive: 30 * time.Second}).DialContext
	if e.credential, err = maker(r, policy.ClientOptions{
		Cloud:     cloud.Configuration{ActiveDirectoryAuthorityHost: r.Entra.AuthorityHost},
		Transport: &http.Client{Transport: e.http},
		Retry:     retry,
	}); err != nil {
		return nil, err
	}
	_, err = e.credential()
	return e, err
}

// EntraOf is Entra with what makes the credential, and an application that sets the user name, unless that is "".
func EntraOf(credential func() (azcore.TokenCredential, error), scopes []string, username string) *Entra {
	e := &Entra{Rate: 1, credential: credential, scopes: scopes, username: username, http: http.DefaultTransport.(*http.Transport).Clone()}
	e.life, e.end = context.WithCancel(context.Background())
	e.users.Store(1)
	return e
}

// maker returns what makes azidentity's credential of the request's kind. The authority is none of Microsoft's own, and so instance
// discovery is switched off. A managed identity's machine is found in the environment.
func maker(r Request, client policy.ClientOptions) (func() (azcore.TokenCredential, error), error) {
	tenant, id := r.Entra.TenantID, r.Credential.ClientID
	switch r.Credential.Kind {
	case "client-secret":
		return func() (azcore.TokenCredential, error) {
			return azidentity.NewClientSecretCredential(tenant, id, r.Credential.ClientSecret,
				&azidentity.ClientSecretCredentialOptions{ClientOptions: client, DisableInstanceDiscovery: true})
		}, nil
	case "certificate":
		certs, key, err := azidentity.ParseCertificates([]byte(r.Credential.CertificatePEM), nil)
		if err != nil {
			return nil, err
		}
		return func() (azcore.TokenCredential, error) {
			return azidentity.NewClientCertificateCredential(tenant, id, certs, key,
				&azidentity.ClientCertificateCredentialOptions{ClientOptions: client, DisableInstanceDiscovery: true})
		}, nil
	case "workload-identity":
		return func() (azcore.TokenCredential, error) {
			return azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{
				ClientOptions: client, DisableInstanceDiscovery: true, TenantID: tenant, ClientID: id, TokenFilePath: r.Credential.TokenFile,
			})
		}, nil
	case "managed-identity":
		options := &azidentity.ManagedIdentityCredentialOptions{ClientOptions: client}
		if id != "" {
			options.ID = azidentity.ClientID(id)
		}
		return func() (azcore.TokenCredential, error) { return azidentity.NewManagedIdentityCredential(options) }, nil
	default:
		return nil, &UnsupportedError{"credential", r.Credential.Kind}
	}
}

// Token is an access token, with the user name that goes with it at Azure Cache for Redis.
type Token struct {
	Username, AccessToken string

	Expires  time.Time
	Lifetime time.Duration // what was left of it when it came; greater than 0
}

// Token gets a new token. A credential is not kept for a second one, because azidentity has no switch for its cache, which gives out the
// old token until five minutes before its end: too late for a renewal at a part of its life.
func (e *Entra) Token(ctx context.Context) (Token, error) {
	credential, err := e.credential()
	if err != nil {
		return Token{}, err
	}
	access, err := credential.GetToken(ctx, policy.TokenRequestOptions{Scopes: e.scopes})
	if err != nil {
		return Token{}, err
	}
	t := Token{e.username, access.Token, access.ExpiresOn, time.Until(access.ExpiresOn)}
	if t.Lifetime <= 0 {
		return Token{}, fmt.Errorf("the token that was issued has expired at %s already: compare this machine's clock", t.Expires)
	}
	if t.Username == "" {
		t.Username, err = objectID(access.Token)
	}
	return t, err
}

// Life ends when the last client is closed.
func (e *Entra) Life() context.Context { return e.life }

// Share is for each further client. It returns e.
func (e *Entra) Share() *Entra {
	e.users.Add(1)
	return e
}

// Close is for each client. The last one ends the life of e, and the connections to Microsoft Entra.
func (e *Entra) Close() {
	if e.users.Add(-1) == 0 {
		e.end()
		e.http.CloseIdleConnections()
	}
}

// CertPool holds the certificates of pem; without any, nil stands for those of the system.
func CertPool(pem string) (*x509.CertPool, error) {
	if pem == "" {
		return nil, nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(pem)) {
		return nil, errors.New("ca_pem: expected certificates in PEM, got none")
	}
	return pool, nil
}

// objectID reads the user name for Azure Cache for Redis, the claim oid, from a token. The signature is the cache's business.
func objectID(accessToken string) (string, error) {
	var claims struct {
		jwt.RegisteredClaims
		ObjectID string `json:"oid"`
	}
	if _, _, err := jwt.NewParser().ParseUnverified(accessToken, &claims); err != nil {
		return "", fmt.Errorf("read the access token: %w", err)
	}
	if claims.ObjectID == "" {
		return "", errors.New("the access token has no claim oid: configure the user name")
	}
	return claims.ObjectID, nil
}
