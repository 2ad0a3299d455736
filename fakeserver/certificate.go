package fakeserver

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"slices"
	"sync"
	"time"
)

// serving is a certificate for TLS and what a client needs to trust it.
type serving struct {
	cert  tls.Certificate
	caPEM []byte
}

// ownCertificate is made once per process: a key pair is the slow part of
// starting a server.
var ownCertificate = sync.OnceValues(func() (serving, error) { return makeCertificate(nil, false, loopbackIPs...) })

// ownRSACertificate is for WithServiceCipherSuites.
var ownRSACertificate = sync.OnceValues(func() (serving, error) { return makeCertificate(nil, true, loopbackIPs...) })

// The same for the host name alone: see WithCertificateForHostOnly.
var (
	hostCertificate    = sync.OnceValues(func() (serving, error) { return makeCertificate(nil, false) })
	hostRSACertificate = sync.OnceValues(func() (serving, error) { return makeCertificate(nil, true) })
)

var loopbackIPs = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}

// The certificates are valid for much longer than any test runs, because the
// clock of a client under test may be shifted.
var (
	notBefore = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	notAfter  = time.Date(2049, 12, 31, 23, 59, 59, 0, time.UTC)
)

// MakeCertificate makes a CA and a certificate signed by it for localhost,
// 127.0.0.1, ::1 and the further host names and IP addresses. It is for
// [WithCertificate], and for servers that are to share a CA with the cache.
func MakeCertificate(names ...string) (cert tls.Certificate, caPEM []byte, err error) {
	made, err := makeCertificate(names, false, loopbackIPs...)
	return made.cert, made.caPEM, err
}

func makeCertificate(names []string, rsaKey bool, ips ...net.IP) (serving, error) {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return serving{}, fmt.Errorf("make a CA key: %w", err)
	}
	leafKey, err := serverKey(rsaKey)
	if err != nil {
		return serving{}, fmt.Errorf("make a server key: %w", err)
	}
	leafKeyID, err := keyID(leafKey.Public())
	if err != nil {
		return serving{}, err
	}
	caKeyID, err := keyID(caKey.Public())
	if err != nil {
		return serving{}, err
	}
	// Python 3.13 verifies strictly: it wants key usage and both key
	// identifiers.
	ca := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: "entracache fake cache CA"},
		NotBefore:             notBefore,
		NotAfter:              notAfter,
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		SubjectKeyId:          caKeyID,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	if err != nil {
		return serving{}, fmt.Errorf("make a CA: %w", err)
	}
	leaf := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: "localhost"},
		NotBefore:             notBefore,
		NotAfter:              notAfter,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		SubjectKeyId:          leafKeyID,
		AuthorityKeyId:        ca.SubjectKeyId,
		DNSNames:              []string{"localhost"},
		IPAddresses:           slices.Clone(ips),
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			leaf.IPAddresses = append(leaf.IPAddresses, ip)
		} else {
			leaf.DNSNames = append(leaf.DNSNames, name)
		}
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, ca, leafKey.Public(), caKey)
	if err != nil {
		return serving{}, fmt.Errorf("make a server certificate: %w", err)
	}
	return serving{
		cert:  tls.Certificate{Certificate: [][]byte{leafDER}, PrivateKey: leafKey},
		caPEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER}),
	}, nil
}

func serial() *big.Int {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[0] &= 0x7f           // serial numbers are positive
	return new(big.Int).SetBytes(b[:])
}

func serverKey(rsaKey bool) (crypto.Signer, error) {
	if rsaKey {
		return rsa.GenerateKey(rand.Reader, 2048)
	}
	return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
}

func keyID(public crypto.PublicKey) ([]byte, error) {
	raw, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("encode a public key: %w", err)
	}
	sum := sha256.Sum256(raw)
	return sum[:20], nil
}
