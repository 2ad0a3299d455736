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
	"strings"

	"github.com/entracache/entracache/fakeentra"
	"github.com/entracache/entracache/fakeserver"
)

// certificate is what both fakes serve TLS with, and what their clients are to trust.
type certificate struct {
	server tls.Certificate
	caPEM  []byte
	caFile string
}

// certificateIn returns the certificate that the folder holds, making it first where there is none: a client that trusts ca.pem
// then goes on trusting it at the next start.
func certificateIn(dir string, names []string) (certificate, error) {
	c := certificate{caFile: filepath.Join(dir, "ca.pem")}
	certFile, keyFile := filepath.Join(dir, "server.pem"), filepath.Join(dir, "server-key.pem")
	var err error
	c.caPEM, err = os.ReadFile(c.caFile)
	if errors.Is(err, fs.ErrNotExist) {
		if c.server, c.caPEM, err = fakeserver.MakeCertificate(names...); err != nil {
			return c, fmt.Errorf("--name %s: %w", strings.Join(names, ","), err)
		}
		return c, writeCertificate(c, certFile, keyFile)
	}
	if err != nil {
		return c, fmt.Errorf("--tls-dir: %s: %w", c.caFile, withoutPath(err))
	}
	if c.server, err = tls.LoadX509KeyPair(certFile, keyFile); err != nil {
		return c, fmt.Errorf("--tls-dir: %s is there, but not the server's certificate: %w; remove the file to have all three made anew", c.caFile, err)
	}
	return c, c.verify(dir, names)
}

// verify says now what every client would otherwise say later, and less clearly.
func (c certificate) verify(dir string, names []string) error {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(c.caPEM) {
		return fmt.Errorf("--tls-dir: %s: expected a PEM certificate, found none; remove the file to have one made", c.caFile)
	}
	between := x509.NewCertPool()
	for _, der := range c.server.Certificate[1:] {
		if cert, err := x509.ParseCertificate(der); err == nil {
			between.AddCert(cert)
		}
	}
	if _, err := c.server.Leaf.Verify(x509.VerifyOptions{Roots: pool, Intermediates: between}); err != nil {
		return fmt.Errorf("--tls-dir: %s does not vouch for %s: %w; remove the files in %s to have them made anew", c.caFile, filepath.Join(dir, "server.pem"), err, dir)
	}
	for _, name := range names {
		if err := c.server.Leaf.VerifyHostname(name); err != nil {
			return fmt.Errorf("--tls-dir: %w; remove the files in %s to have a certificate made for it", err, dir)
		}
	}
	return nil
}

func writeCertificate(c certificate, certFile, keyFile string) error {
	key, err := x509.MarshalPKCS8PrivateKey(c.server.PrivateKey)
	if err != nil {
		return err
	}
	var chain []byte
	for _, der := range c.server.Certificate {
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	// ca.pem comes last: where it is, the others are whole.
	for _, f := range []struct {
		name string
		text []byte
		mode fs.FileMode
	}{
		{keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600},
		{certFile, chain, 0o644},
		{c.caFile, c.caPEM, 0o644},
	} {
		if err := os.WriteFile(f.name, f.text, f.mode); err != nil {
			return fmt.Errorf("--tls-dir: %s: %w; choose a folder that can be written to", f.name, withoutPath(err))
		}
	}
	return nil
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
