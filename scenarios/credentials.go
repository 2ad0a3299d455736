package scenarios

import (
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"

	"github.com/entracache/entracache/fakeentra"
	"github.com/entracache/entracache/scenarios/protocol"
)

// Making a key takes a good part of a second: one of each kind does for all scenarios.
var (
	certificate = sync.OnceValues(func() (*fakeentra.Certificate, error) {
		return fakeentra.NewCertificate("application", time.Time{}, time.Time{})
	})
	otherIssuersKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })
)

func (w *World) usesCertificate() error {
	c, err := certificate()
	if err != nil {
		return err
	}
	if err := w.app.AddCertificate(c.X509); err != nil {
		return err
	}
	pem, err := c.PEM()
	w.request.Credential = &protocol.Credential{Kind: protocol.CredentialCertificate, ClientID: w.app.ClientID, CertificatePEM: string(pem)}
	return err
}

// usesOtherIssuersToken lets a token of a Kubernetes cluster's issuer stand for the application's secret. It outlives every scenario.
func (w *World) usesOtherIssuersToken() error { return w.usesOtherIssuersTokenFor(100 * 24 * 60) }

func (w *World) usesOtherIssuersTokenFor(minutes int) error {
	key, err := otherIssuersKey()
	if err != nil {
		return err
	}
	public := jose.JSONWebKey{Key: key.Public(), KeyID: otherIssuersKeyID, Algorithm: "RS256", Use: "sig"}
	if err := w.app.AddFederatedCredential(fakeentra.FederatedCredential{
		Name: "cluster", Issuer: otherIssuer, Subject: otherIssuersSubject, Keys: &jose.JSONWebKeySet{Keys: []jose.JSONWebKey{public}},
	}); err != nil {
		return err
	}
	file, err := os.CreateTemp("", "entracache-token-")
	if err != nil {
		return err
	}
	w.files = append(w.files, file.Name())
	if err := file.Close(); err != nil {
		return err
	}
	w.request.Credential = &protocol.Credential{Kind: protocol.CredentialWorkloadIdentity, ClientID: w.app.ClientID, TokenFile: file.Name()}
	w.otherTokenLives = w.span(minutes)
	return w.otherIssuersNextToken()
}

// What the other issuer writes into its tokens.
const (
	otherIssuer         = "https://cluster.invalid/"
	otherIssuersSubject = "system:serviceaccount:default:application"
	otherIssuersKeyID   = "cluster"
)

// otherIssuersNextToken replaces what is in the client's file, as the kubelet does: the name leads to the old token or to the new one.
func (w *World) otherIssuersNextToken() error {
	if w.otherTokenLives == 0 {
		return fmt.Errorf("the step needs an application that signs in with the token of another issuer, which is in a file")
	}
	key, err := otherIssuersKey()
	if err != nil {
		return err
	}
	now := w.clock.Now()
	token := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.RegisteredClaims{
		Issuer: otherIssuer, Subject: otherIssuersSubject, Audience: jwt.ClaimStrings{fakeentra.FederatedAudience},
		IssuedAt: jwt.NewNumericDate(now), NotBefore: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(w.otherTokenLives)),
	})
	token.Header["kid"] = otherIssuersKeyID
	signed, err := token.SignedString(key)
	if err != nil {
		return err
	}
	name := w.request.Credential.TokenFile
	if err := os.WriteFile(name+".next", []byte(signed), 0o600); err != nil {
		return err
	}
	return os.Rename(name+".next", name)
}

func (w *World) machineKeepsToken(minutes int) error {
	w.identityRenewal = w.span(minutes)
	return nil
}

func (w *World) aSystemAssignedIdentity(policy string) error {
	return w.aManagedIdentity(policy, fakeentra.WithSystemAssigned())
}

func (w *World) aUserAssignedIdentity(policy string) error { return w.aManagedIdentity(policy) }

// aManagedIdentity makes the machine one of App Service, whose endpoint every library can be pointed to.
func (w *World) aManagedIdentity(policy string, options ...fakeentra.ManagedIdentityOption) error {
	renewal := w.identityRenewal
	if renewal == 0 {
		renewal = w.span(24 * 60) // at half of a token's life: the endpoint renews no later
	}
	w.metadata = true
	if err := w.otherIssuer(fakeentra.WithIdentityRenewal(renewal)); err != nil {
		return err
	}
	var err error
	if w.managed, err = w.entra.AddManagedIdentity("machine", options...); err != nil {
		return err
	}
	if w.env, err = w.entra.ManagedIdentityEnv(fakeentra.SourceAppService, w.managed); err != nil {
		return err
	}
	w.app = &fakeentra.App{Name: w.managed.Name, TenantID: w.managed.TenantID, ClientID: w.managed.ClientID, ObjectID: w.managed.ObjectID}
	w.request.Credential = &protocol.Credential{Kind: protocol.CredentialManagedIdentity}
	if !w.managed.SystemAssigned {
		w.request.Credential.ClientID = w.managed.ClientID
	}
	return w.assigned(policy)
}

// removeFiles removes what the scenario wrote for the client.
func (w *World) removeFiles() error {
	for _, name := range w.files {
		if err := os.Remove(name); err != nil {
			return fmt.Errorf("remove a file of the scenario: %w", err)
		}
	}
	return nil
}
