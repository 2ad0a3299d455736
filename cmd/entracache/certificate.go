package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/entracache/entracache/fakeentra"
	"github.com/entracache/entracache/fakeserver"
)

// certificateIn returns the certificate that the folder holds, making it first where there is none: a client that trusts ca.pem
// then goes on trusting it at the next start.
func certificateIn(dir string, names []string) (cert tls.Certificate, caPEM []byte, caFile string, err error) {
	caFile = filepath.Join(dir, "ca.pem")
	certFile, keyFile := filepath.Join(dir, "server.pem"), filepath.Join(dir, "server-key.pem")
	caPEM, err = os.ReadFile(caFile)
	if errors.Is(err, fs.ErrNotExist) {
		cert, caPEM, err = fakeserver.MakeCertificate(names...)
		if err != nil {
			return cert, nil, "", err
		}
		return cert, caPEM, caFile, writeCertificate(caFile, certFile, keyFile, cert, caPEM)
	}
	if err != nil {
		return cert, nil, "", fmt.Errorf("--tls-dir: %w", err)
	}
	if cert, err = tls.LoadX509KeyPair(certFile, keyFile); err != nil {
		return cert, nil, "", fmt.Errorf("--tls-dir: %s is there, but not the server's certificate: %w; remove the file to have all three made anew", caFile, err)
	}
	for _, name := range names {
		if err := cert.Leaf.VerifyHostname(name); err != nil {
			return cert, nil, "", fmt.Errorf("--name %s: %w; remove the files in %s to have a certificate made for it", name, err, dir)
		}
	}
	return cert, caPEM, caFile, nil
}

func writeCertificate(caFile, certFile, keyFile string, cert tls.Certificate, caPEM []byte) error {
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		return err
	}
	var chain []byte
	for _, der := range cert.Certificate {
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return errors.Join(
		os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600),
		os.WriteFile(certFile, chain, 0o644),
		os.WriteFile(caFile, caPEM, 0o644),
	)
}

// trustBundle writes the CAs of both fakes, which are the same for every fake in the process, to a file that drivers are told to
// trust.
func trustBundle(dir string) (string, error) {
	entra, err := fakeentra.Start()
	if err != nil {
		return "", err
	}
	defer entra.Close()
	cache, err := fakeserver.Start()
	if err != nil {
		return "", err
	}
	defer cache.Close()
	name, err := filepath.Abs(filepath.Join(dir, "ca.pem"))
	if err != nil {
		return "", err
	}
	return name, os.WriteFile(name, append(entra.CAPEM(), cache.CAPEM()...), 0o644)
}
