package fakeserver

import (
	"crypto/rsa"
	"crypto/tls"
	"errors"
	"fmt"
)

// tlsVersions are the values of "minimumTlsVersion" in the management API.
var tlsVersions = map[string]uint16{"1.0": tls.VersionTLS10, "1.1": tls.VersionTLS11, "1.2": tls.VersionTLS12}

func tlsVersion(text string) (uint16, error) {
	version, ok := tlsVersions[text]
	if !ok {
		return 0, fmt.Errorf(`unknown minimum TLS version %q: expected "1.0", "1.1" or "1.2"`, text)
	}
	return version, nil
}

// WithMinimumTLSVersion sets the oldest version of TLS that the cache takes:
// "1.0", "1.1" or "1.2", the values of "minimumTlsVersion" in the management
// API. Default "1.2", as there. TLS 1.3 is always taken.
//
// Tokens are refused over TLS 1.0 and 1.1 all the same: "Microsoft Entra
// authentication is supported for SSL connections and TLS 1.2 or higher"
// (azure-docs cache-azure-active-directory-for-authentication.md).
func WithMinimumTLSVersion(version string) Option {
	return func(o *options) (err error) {
		if o.minTLS, err = tlsVersion(version); err != nil {
			return fmt.Errorf("WithMinimumTLSVersion: %w", err)
		}
		return nil
	}
}

// SetMinimumTLSVersion changes the oldest version of TLS that the cache takes;
// see WithMinimumTLSVersion for the values. It concerns new connections; that
// live ones stay has no source.
func (s *Server) SetMinimumTLSVersion(version string) error {
	v, err := tlsVersion(version)
	if err != nil {
		return fmt.Errorf("set the minimum TLS version: %w", err)
	}
	s.minTLS.Store(uint32(v))
	s.record(Event{Kind: EventMinimumTLSVersion, Detail: "the minimum TLS version is " + version})
	return nil
}

// MinimumTLSVersion is the oldest version of TLS that the cache takes, such as
// "1.2".
func (s *Server) MinimumTLSVersion() string {
	for text, version := range tlsVersions {
		if uint32(version) == s.minTLS.Load() {
			return text
		}
	}
	return ""
}

// WithServiceCipherSuites takes, in TLS 1.2, only what the service takes, as far
// as Go has it: TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256. The service's list
// (azure-docs cache-tls-configuration.md) also has the AES-256 suite with
// SHA-384, which Go has not, and in TLS 1.3 leaves out
// TLS_CHACHA20_POLY1305_SHA256, which Go cannot. The certificate is an RSA one
// then, unless WithCertificate gives another. Default the suites of Go.
func WithServiceCipherSuites() Option {
	return func(o *options) error { o.serviceCiphers = true; return nil }
}

func (s *Server) tlsConfig() (*tls.Config, error) {
	cert := s.opts.cert
	s.caPEM = s.opts.caPEM
	if cert == nil {
		makeOwn := ownCertificate
		switch {
		case s.opts.serviceCiphers && s.opts.certHostOnly:
			makeOwn = hostRSACertificate
		case s.opts.serviceCiphers:
			makeOwn = ownRSACertificate
		case s.opts.certHostOnly:
			makeOwn = hostCertificate
		}
		own, err := makeOwn()
		if err != nil {
			return nil, err
		}
		cert, s.caPEM = &own.cert, own.caPEM
	}
	if s.opts.foreignCert {
		foreign, err := makeCertificate(nil, s.opts.serviceCiphers, loopbackIPs...)
		if err != nil {
			return nil, err
		}
		cert = &foreign.cert
	}
	config := &tls.Config{Certificates: []tls.Certificate{*cert}, MinVersion: s.opts.minTLS}
	if s.opts.serviceCiphers {
		if _, ok := cert.PrivateKey.(*rsa.PrivateKey); !ok {
			return nil, errors.New("WithServiceCipherSuites: the cipher suites of the service are for RSA; expected WithCertificate to give an RSA key")
		}
		config.CipherSuites = []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256}
	}
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		least := uint16(s.minTLS.Load()) // it was one
		if least == config.MinVersion {
			return nil, nil // this very configuration
		}
		other := config.Clone()
		other.MinVersion = least
		return other, nil
	}
	return config, nil
}
