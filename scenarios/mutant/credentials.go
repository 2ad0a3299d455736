package mutant

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"github.com/entracache/entracache/scenarios/protocol"
)

// assertionLifetime is what MSAL gives an assertion.
const assertionLifetime = 10 * time.Minute

// tokenRequest makes the request for a token, with what the application has to sign in with.
func (s *tokenSource) tokenRequest(ctx context.Context) (*http.Request, error) {
	form := maps.Clone(s.form)
	switch s.credential.Kind {
	case protocol.CredentialManagedIdentity:
		return s.identityRequest(ctx)
	case protocol.CredentialClientSecret:
		form.Set("client_secret", s.credential.ClientSecret)
	case protocol.CredentialCertificate:
		assertion, err := s.certificateAssertion()
		if err != nil {
			return nil, err
		}
		setAssertion(form, assertion)
	case protocol.CredentialWorkloadIdentity:
		token, err := os.ReadFile(s.credential.TokenFile)
		if err != nil {
			return nil, fmt.Errorf("read the other issuer's token: %w", err)
		}
		switch s.bug {
		case SendsFileName:
			token = []byte(s.credential.TokenFile)
		case ReadsFileOnce:
			s.fileOnce.Do(func() { s.file = token })
			token = s.file
		}
		setAssertion(form, string(token))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, strings.NewReader(form.Encode()))
	if err == nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return req, err
}

func setAssertion(form url.Values, assertion string) {
	form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
	form.Set("client_assertion", assertion)
}

// certificateAssertion is what proves that the application has the certificate's key.
func (s *tokenSource) certificateAssertion() (string, error) {
	pair, err := tls.X509KeyPair([]byte(s.credential.CertificatePEM), []byte(s.credential.CertificatePEM))
	if err != nil {
		return "", fmt.Errorf("read the certificate: %w", err)
	}
	certificate, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return "", fmt.Errorf("read the certificate: %w", err)
	}
	now := time.Now()
	token := jwt.NewWithClaims(jwt.SigningMethodPS256, jwt.RegisteredClaims{
		Issuer: s.credential.ClientID, Subject: s.credential.ClientID, Audience: jwt.ClaimStrings{s.url}, ID: uuid.NewString(),
		IssuedAt: jwt.NewNumericDate(now), NotBefore: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(assertionLifetime)),
	})
	if s.bug != NamesNoCertificate {
		thumbprint := sha256.Sum256(certificate.Raw)
		token.Header["x5t#S256"] = base64.RawURLEncoding.EncodeToString(thumbprint[:])
	}
	return token.SignedString(pair.PrivateKey)
}

// identityRequest asks the machine, which is one of App Service, for a token of a managed identity.
func (s *tokenSource) identityRequest(ctx context.Context) (*http.Request, error) {
	endpoint, secret := s.getenv("IDENTITY_ENDPOINT"), s.getenv("IDENTITY_HEADER")
	if endpoint == "" {
		return nil, fmt.Errorf("no IDENTITY_ENDPOINT in the environment: this machine has no managed identity")
	}
	resource := strings.TrimSuffix(s.form.Get("scope"), "/.default")
	if s.bug == AsksForScopeAsResource {
		resource = s.form.Get("scope")
	}
	query := url.Values{"api-version": {"2019-08-01"}, "resource": {resource}}
	if s.credential.ClientID != "" && s.bug != AsksForOwnIdentity {
		query.Set("client_id", s.credential.ClientID)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, endpoint+"?"+query.Encode(), nil)
	if err == nil {
		req.Header.Set("X-IDENTITY-HEADER", secret)
	}
	return req, err
}
