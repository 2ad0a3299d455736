package fakeserver_test

import (
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeserver"
)

// dialTLS dials with a configuration that trusts the server.
func dialTLS(t *testing.T, s *fakeserver.Server, config *tls.Config) (*client, error) {
	t.Helper()
	config.RootCAs = x509.NewCertPool()
	require.True(t, config.RootCAs.AppendCertsFromPEM(s.CAPEM()))
	conn, err := tls.Dial("tcp", s.Addr(), config)
	if err != nil {
		return nil, err
	}
	return newClient(t, conn), nil
}

func TestMinimumTLSVersion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	require.NoError(t, w.Assign(oid, fakeserver.DataOwner))
	only := func(version uint16) (*client, error) {
		return dialTLS(t, w.Server, &tls.Config{MinVersion: version, MaxVersion: version}) // old versions are what it is about
	}
	assert.Equal(t, "1.2", w.MinimumTLSVersion())
	_, err := only(tls.VersionTLS11)
	require.Error(t, err)
	w.eventKind(fakeserver.EventTLSFailed)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		c, err := only(version)
		require.NoError(t, err)
		assert.Equal(t, "+OK", c.line("AUTH", oid, w.token(time.Hour)))
	}

	require.NoError(t, w.SetMinimumTLSVersion("1.1"))
	assert.Equal(t, "1.1", w.MinimumTLSVersion())
	w.eventKind(fakeserver.EventMinimumTLSVersion)
	_, err = only(tls.VersionTLS10)
	require.Error(t, err)
	old, err := only(tls.VersionTLS11)
	require.NoError(t, err)
	assert.Equal(t, wrongPass, old.line("AUTH", oid, w.token(time.Hour)), "tokens need TLS 1.2")
	assert.Equal(t, fakeserver.ReasonTokenOnOldTLS, w.lastAuth().Reason)
	assert.Equal(t, "+OK", old.line("AUTH", "key-one"))

	require.NoError(t, w.SetMinimumTLSVersion("1.2"))
	_, err = only(tls.VersionTLS11)
	require.Error(t, err)
	assert.Equal(t, "+PONG", old.line("PING"), "live connections stay")
	assert.ErrorContains(t, w.SetMinimumTLSVersion("1.3"), `"1.0", "1.1" or "1.2"`)

	w = newWorld(t, fakeserver.WithMinimumTLSVersion("1.0"))
	c, err := only(tls.VersionTLS10)
	require.NoError(t, err)
	assert.Equal(t, "+OK", c.line("AUTH", "key-one"))
	_, err = fakeserver.Start(fakeserver.WithMinimumTLSVersion("TLS 1.2"))
	assert.ErrorContains(t, err, "WithMinimumTLSVersion")
}

func TestServiceCipherSuites(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeserver.WithServiceCipherSuites())
	tls12 := func(suite uint16) (*client, error) {
		return dialTLS(t, w.Server, &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{suite}})
	}
	c, err := tls12(tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256)
	require.NoError(t, err)
	assert.Equal(t, "+OK", c.line("AUTH", "key-one"))
	for _, suite := range []uint16{tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256} {
		_, err = tls12(suite)
		assert.Error(t, err, tls.CipherSuiteName(suite))
	}
	assert.Equal(t, "+OK", w.withKey().line("AUTH", "key-one"), "TLS 1.3")

	ecdsa, caPEM, err := fakeserver.MakeCertificate()
	require.NoError(t, err)
	_, err = fakeserver.Start(fakeserver.WithServiceCipherSuites(), fakeserver.WithCertificate(ecdsa, caPEM))
	assert.ErrorContains(t, err, "RSA")
}
