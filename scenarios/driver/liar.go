package driver

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"sync"
	"time"

	"github.com/entracache/entracache/scenarios/protocol"
)

// LiarProbe asks the driver for things that nobody can know: a random op, and a client with a random kind of credential. A
// driver that answers anything but unsupported would say yes to everything, and its results mean nothing. The error is a
// [*DriverError].
func (d *Driver) LiarProbe(ctx context.Context) error {
	if err := d.probeUnknownOp(ctx); err != nil {
		return err
	}
	return d.probeUnknownCredential(ctx)
}

func (d *Driver) probeUnknownOp(ctx context.Context) error {
	op := protocol.Op(nonsense())
	reply, err := d.call(ctx, protocol.Request{Op: op, Client: "nobody"})
	return d.mustBe(protocol.KindUnsupported, fmt.Sprintf("the op %q, which does not exist,", op), reply, err)
}

func (d *Driver) probeUnknownCredential(ctx context.Context) error {
	kind := protocol.CredentialKind(nonsense())
	client := nonsense()
	reply, err := d.call(ctx, protocol.Open(protocol.Request{
		Client: client, Scenario: "probe",
		Cache:      &protocol.Cache{Host: "127.0.0.1", Port: 1, CAPEM: someCA()},
		Entra:      nowhere("127.0.0.1:1"),
		Credential: &protocol.Credential{Kind: kind},
		Scopes:     []string{"https://redis.azure.com/.default"},
	}))
	return d.mustBe(protocol.KindUnsupported, fmt.Sprintf("open with the credential kind %q, which does not exist,", kind), reply, err)
}

// mustBe turns any answer but a failure of the given kind into a fault of the driver.
func (d *Driver) mustBe(kind protocol.ErrorKind, asked string, reply protocol.Reply, err error) error {
	got := "ok"
	switch {
	case err != nil:
		return err
	case !reply.OK && reply.Error.Kind == kind:
		return nil
	case !reply.OK:
		got = d.redact.Show([]byte(reply.Error.Error()))
	}
	return d.fault(fmt.Sprintf("was asked for %s and answered %s; expected an error of kind %s", asked, got, kind), nil)
}

// nonsense is a name of the kind that the protocol never uses.
func nonsense() string { return "x-" + rand.Text()[:10] }

// nowhere is an issuer at an address where there is none.
func nowhere(address string) *protocol.Entra {
	const tenant = "00000000-0000-4000-8000-000000000000"
	host := "https://" + address
	return &protocol.Entra{Authority: host + "/" + tenant, AuthorityHost: host, TenantID: tenant, CAPEM: someCA()}
}

// someCA is a valid certificate that nobody uses, for requests that must carry one.
var someCA = sync.OnceValue(func() string {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err) // the system has no randomness
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "entracache probe"},
		NotBefore: time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2049, 1, 1, 0, 0, 0, 0, time.UTC),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
})
