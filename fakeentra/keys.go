package fakeentra

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" // the certificate thumbprint is defined as a SHA-1
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"fmt"
	"math/big"
	"sync"
	"time"
)

// signingKeyBits is the size of Entra's own signing keys.
const signingKeyBits = 2048

// The certificates of this package are valid for any date that a shifted or
// frozen test clock is likely to show.
var (
	certificatesFrom  = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	certificatesUntil = time.Date(2049, 12, 31, 0, 0, 0, 0, time.UTC)
)

// signingKey signs tokens. Its ID is the base64url SHA-1 of its certificate, so
// that kid and x5t agree as in Entra's v1.0 tokens.
type signingKey struct {
	private     *rsa.PrivateKey
	id          string
	certificate []byte // DER
}

// One key signs for every server of the process, because making one takes
// longer than everything else a test does; the other key exists only so that
// tokens can be signed by a stranger.
var (
	processKey  = sync.OnceValues(func() (*signingKey, error) { return newSigningKey("fakeentra token signing") })
	strangerKey = sync.OnceValues(func() (*signingKey, error) { return newSigningKey("fakeentra stranger") })
)

func newSigningKey(name string) (*signingKey, error) {
	private, err := rsa.GenerateKey(rand.Reader, signingKeyBits)
	if err != nil {
		return nil, fmt.Errorf("fakeentra: make the signing key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serialNumber(),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    certificatesFrom,
		NotAfter:     certificatesUntil,
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return nil, fmt.Errorf("fakeentra: make the signing certificate: %w", err)
	}
	thumbprint := sha1.Sum(der) // see the import
	return &signingKey{
		private:     private,
		id:          base64.RawURLEncoding.EncodeToString(thumbprint[:]),
		certificate: der,
	}, nil
}

// jwk is a published key in the form of Entra's documents, whose member issuer no
// standard has.
type jwk struct {
	KeyType     string   `json:"kty"`
	Use         string   `json:"use"`
	ID          string   `json:"kid"`
	Thumbprint  string   `json:"x5t"`
	Modulus     string   `json:"n"`
	Exponent    string   `json:"e"`
	Certificate []string `json:"x5c"`
	Issuer      string   `json:"issuer,omitempty"`
}

type jwkSet struct {
	Keys []jwk `json:"keys"`
}

func (k *signingKey) published(issuer string) jwk {
	public := k.private.PublicKey
	return jwk{
		KeyType:     "RSA",
		Use:         "sig",
		ID:          k.id,
		Thumbprint:  k.id,
		Modulus:     base64.RawURLEncoding.EncodeToString(public.N.Bytes()),
		Exponent:    base64.RawURLEncoding.EncodeToString(big.NewInt(int64(public.E)).Bytes()),
		Certificate: []string{base64.StdEncoding.EncodeToString(k.certificate)},
		Issuer:      issuer,
	}
}

func serialNumber() *big.Int {
	// RFC 5280 wants a positive number of at most 20 octets.
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return big.NewInt(1)
	}
	return n.Add(n, big.NewInt(1))
}
