package driver

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/golang-jwt/jwt/v5"
)

// Entra makes the credentials with which an application asks Microsoft Entra for tokens.
type Entra struct {
	// Rate is how many times faster than the network this process's clock is; at least 1.
	Rate time.Duration

	http *http.Transport
	make func() (azcore.TokenCredential, error)
}

// NewEntra is Entra for the credential of a request. retry is azidentity's own policy, the zero value being its default. An unknown kind
// of credential is an [UnsupportedError].
func NewEntra(r Request, retry policy.RetryOptions) (*Entra, error) {
	roots, err := CertPool(r.Entra.CAPEM)
	if err != nil {
		return nil, err
	}
	e := &Entra{Rate: time.Duration(max(1, r.Options.ClockRate)), http: http.DefaultTransport.(*http.Transport).Clone()}
	e.http.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
	// What bounds an exchange on the network stays as long as it is by default, also where this process's clock is faster.
	e.http.TLSHandshakeTimeout *= e.Rate
	e.http.DialContext = (&net.Dialer{Timeout: 30 * time.Second * e.Rate, KeepAlive: 30 * time.Second}).DialContext
	if e.make, err = maker(r, policy.ClientOptions{
		Cloud:     cloud.Configuration{ActiveDirectoryAuthorityHost: r.Entra.AuthorityHost},
		Transport: &http.Client{Transport: e.http},
		Retry:     retry,
	}); err != nil {
		return nil, err
	}
	_, err = e.make()
	return e, err
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

// Credential makes a new credential. A credential is not kept for a second request, because azidentity has no switch for its cache, which
// gives out the old token until five minutes before its end: too late for a renewal at a part of its life.
func (e *Entra) Credential() (azcore.TokenCredential, error) { return e.make() }

// Close ends the connections to Microsoft Entra.
func (e *Entra) Close() { e.http.CloseIdleConnections() }

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

// ObjectID reads the user name for Azure Cache for Redis, the claim oid, from a token. The signature is the cache's business.
func ObjectID(accessToken string) (string, error) {
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
