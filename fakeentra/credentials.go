package fakeentra

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" // the certificate thumbprint is defined as a SHA-1
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
)

// Secret is one password of an application.
type Secret struct {
	// ID is the secret's own ID, by which the request log names it. Default: a
	// random GUID.
	ID string
	// Value is the password. Default: a random one.
	Value string
	// Expires is when it stops working, by the server's clock: from then on it is
	// refused with AADSTS7000222. The zero time means never.
	Expires time.Time
}

// credentials are the secrets and certificates of an application.
type credentials struct {
	mu           sync.RWMutex
	secrets      []Secret
	certificates []*x509.Certificate
	later        []func() error // what options add, until the application is complete
}

// addLater keeps what an option adds until all options have been seen.
func (c *credentials) addLater(f func() error) { c.later = append(c.later, f) }

func (c *credentials) runLater() error {
	defer func() { c.later = nil }()
	for _, f := range c.later {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

// AddSecret gives the application a further secret, and returns it with its
// defaults filled in. It returns an error for a value that another of its secrets
// has.
func (c *credentials) AddSecret(s Secret) (Secret, error) {
	if s.ID == "" {
		s.ID = uuid.NewString()
	}
	if s.Value == "" {
		s.Value = newSecret()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, other := range c.secrets {
		if other.ID == s.ID || other.Value == s.Value {
			return Secret{}, fmt.Errorf("fakeentra: add a secret: expected a new one, got the ID or the value of secret %s", other.ID)
		}
	}
	c.secrets = append(c.secrets, s)
	return s, nil
}

// RemoveSecret takes a secret from the application, by its ID. It reports whether
// there was one.
func (c *credentials) RemoveSecret(id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := len(c.secrets)
	c.secrets = slices.DeleteFunc(slices.Clone(c.secrets), func(s Secret) bool { return s.ID == id })
	return len(c.secrets) < before
}

// Secrets lists the application's secrets, oldest first, expired ones too.
func (c *credentials) Secrets() []Secret {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return slices.Clone(c.secrets)
}

func (c *credentials) firstSecret() string {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if len(c.secrets) == 0 {
		return ""
	}
	return c.secrets[0].Value
}

// secret finds a secret by its value.
func (c *credentials) secret(value string) (Secret, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, s := range c.secrets {
		if s.Value == value {
			return s, true
		}
	}
	return Secret{}, false
}

func (s Secret) expired(now time.Time) bool { return !s.Expires.IsZero() && !now.Before(s.Expires) }

// AddCertificate lets the application sign in with the key of a certificate, as
// long as the certificate is valid by the server's clock. It returns an error for
// a certificate whose key is not RSA: the assertions that Entra accepts are signed
// with RS256 or PS256 (Entra documentation, "Application authentication
// certificate credentials").
func (c *credentials) AddCertificate(cert *x509.Certificate) error {
	if cert == nil {
		return errors.New("fakeentra: add a certificate: expected one, got nil")
	}
	if _, ok := cert.PublicKey.(*rsa.PublicKey); !ok {
		return fmt.Errorf("fakeentra: certificate %q: expected an RSA key, got %T", cert.Subject, cert.PublicKey)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.certificates = append(c.certificates, cert)
	return nil
}

// RemoveCertificate takes a certificate from the application, by its thumbprint
// as Certificate.Thumbprint has it. It reports whether there was one.
func (c *credentials) RemoveCertificate(thumbprint string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := len(c.certificates)
	c.certificates = slices.DeleteFunc(slices.Clone(c.certificates), func(cert *x509.Certificate) bool {
		return strings.EqualFold(thumbprintOf(cert), thumbprint)
	})
	return len(c.certificates) < before
}

// certificate finds one by the SHA-1 or the SHA-256 of its DER.
func (c *credentials) certificate(thumbprint []byte) *x509.Certificate {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, cert := range c.certificates {
		short, long := sha1.Sum(cert.Raw), sha256.Sum256(cert.Raw) // see the import
		if bytes.Equal(thumbprint, short[:]) || bytes.Equal(thumbprint, long[:]) {
			return cert
		}
	}
	return nil
}

// Certificate is a certificate to sign in with, and its key.
type Certificate struct {
	X509 *x509.Certificate
	// PrivateKey is nil for a certificate that was read without its key.
	PrivateKey *rsa.PrivateKey
}

// NewCertificate makes a self-signed certificate with a key of 2048 bits, which
// takes a good part of a second. A zero time means a date that no test gets to.
func NewCertificate(name string, notBefore, notAfter time.Time) (*Certificate, error) {
	if notBefore.IsZero() {
		notBefore = certificatesFrom
	}
	if notAfter.IsZero() {
		notAfter = certificatesUntil
	}
	key, err := rsa.GenerateKey(rand.Reader, signingKeyBits)
	if err != nil {
		return nil, fmt.Errorf("fakeentra: make a key for certificate %q: %w", name, err)
	}
	template := &x509.Certificate{
		SerialNumber: serialNumber(),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    notBefore,
		NotAfter:     notAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("fakeentra: make certificate %q: %w", name, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("fakeentra: read back certificate %q: %w", name, err)
	}
	return &Certificate{X509: cert, PrivateKey: key}, nil
}

// PEM is the certificate and, if there is one, its key (PKCS #8): the form in
// which client libraries take the two.
func (c *Certificate) PEM() ([]byte, error) {
	out := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.X509.Raw})
	if c.PrivateKey == nil {
		return out, nil
	}
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		return nil, fmt.Errorf("fakeentra: encode the key of certificate %q: %w", c.X509.Subject, err)
	}
	return append(out, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...), nil
}

// Thumbprint is the SHA-1 of the certificate in upper-case hexadecimal, as Azure
// shows it.
func (c *Certificate) Thumbprint() string { return thumbprintOf(c.X509) }

func thumbprintOf(cert *x509.Certificate) string {
	sum := sha1.Sum(cert.Raw) // see the import
	return strings.ToUpper(hex.EncodeToString(sum[:]))
}
