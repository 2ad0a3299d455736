package fakeentra

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"net"
	"sync"
)

// serving is what a server needs to speak TLS, and its clients to trust it.
type serving struct {
	certificate tls.Certificate
	cloud       *tls.Certificate // for Entra's own names; nil if certificate is for those too
	caPEM       []byte
}

// One CA and one leaf for each of the two kinds of names per process: enough for
// every server, because all of them are reached by the same names.
var processServing = sync.OnceValues(newServing)

func newServing() (serving, error) {
	ca, caKey, err := newCA()
	if err != nil {
		return serving{}, fmt.Errorf("fakeentra: make the CA: %w", err)
	}
	local, err := newLeaf(ca, caKey, x509.Certificate{
		Subject:     pkix.Name{CommonName: "localhost"},
		DNSNames:    []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	})
	if err != nil {
		return serving{}, err
	}
	cloud, err := newLeaf(ca, caKey, x509.Certificate{
		Subject:  pkix.Name{CommonName: cloudHosts[0]},
		DNSNames: append([]string{"*" + regionalSuffix}, cloudHosts...),
	})
	if err != nil {
		return serving{}, err
	}
	return serving{
		certificate: local,
		cloud:       &cloud,
		caPEM:       pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw}),
	}, nil
}

// newLeaf makes a server certificate for the names in the template.
func newLeaf(ca *x509.Certificate, caKey *ecdsa.PrivateKey, template x509.Certificate) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("fakeentra: make the server key: %w", err)
	}
	template.SerialNumber = serialNumber()
	template.NotBefore, template.NotAfter = certificatesFrom, certificatesUntil
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	template.BasicConstraintsValid = true
	der, err := x509.CreateCertificate(rand.Reader, &template, ca, key.Public(), caKey)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("fakeentra: make the server certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("fakeentra: read back the server certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}

// newCA sets every extension that strict verifiers insist on: Python 3.13 and
// later refuse a CA without key usage, or a chain without key identifiers.
func newCA() (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serialNumber(),
		Subject:               pkix.Name{CommonName: "fakeentra CA", Organization: []string{"entracache, for tests only"}},
		NotBefore:             certificatesFrom,
		NotAfter:              certificatesUntil,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	ca, err := x509.ParseCertificate(der) // carries the computed key identifier, which the leaf refers to
	if err != nil {
		return nil, nil, err
	}
	return ca, key, nil
}
