package fakeserver

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/jonboulle/clockwork"
)

// DefaultWrongPassText is what a client of Azure Cache for Redis gets for every
// refused sign-in: the text in a transcript against a real cache
// (Azure/azure-sdk-for-java@600d0e8b, Azure-AAD-Authentication-With-Lettuce.md)
// and that of Redis 6.0. The other profiles have the text of their level.
const DefaultWrongPassText = "WRONGPASS invalid username-password pair"

// The audiences of a token for the cache: the resource as asked for, with and
// without a slash, and its application ID. The two scopes are documented (azure
// -docs cache-azure-active-directory-for-authentication.md); that a v1.0 token
// may carry either form is documented for Entra in general
// (access-token-claims-reference.md, aud).
var defaultAudiences = []string{
	"https://redis.azure.com",
	"https://redis.azure.com/",
	"acca5fbb-b7e4-4009-81f1-37e38fd66d78",
}

type options struct {
	addr, plainAddr      string
	clock                clockwork.Clock
	cert                 *tls.Certificate
	caPEM                []byte
	foreignCert          bool
	issuer               string
	issuerCA             []byte
	audiences            []string
	profile              Profile
	primary, secondary   string
	keysGiven            bool
	keysDisabled         bool
	wrongPass            string
	expiryDelay          time.Duration
	skew                 time.Duration
	tokensOnPlainPort    bool
	keepUnassigned       bool
	commandEvents        bool
	handshakeTimeout     time.Duration
	subscriberQueueBytes int
	outage               Outage
	eventLimit           int
	inMemory             bool
	issuerTransport      http.RoundTripper
	sku                  SKU
	maxClients           int // 0: what the SKU says
	idleTimeout          time.Duration
	configurationTime    time.Duration
	entraDisabled        bool
	unchecked            bool
	cutRegenerated       bool
	cutChangedPolicy     bool
	aliases              bool
	oneIdentity          bool
	minTLS               uint16
	serviceCiphers       bool
	shards               int // 0: not clustered
	replicas             int // -1: what the profile has
	nodePort             int
	plainNodePort        int
	nodeHost             string
	keepOnFailover       bool
	certHostOnly         bool
}

func defaultOptions() options {
	return options{
		addr:                 "127.0.0.1:0",
		clock:                clockwork.NewRealClock(),
		audiences:            defaultAudiences,
		profile:              ProfileAzureCache60,
		handshakeTimeout:     10 * time.Second,
		subscriberQueueBytes: 32 << 20,
		outage:               OutageRefused,
		eventLimit:           DefaultEventLimit,
		minTLS:               tls.VersionTLS12,
		replicas:             -1,
	}
}

// Option changes how a Server is started.
type Option func(*options) error

// WithAddr sets the TLS listener's address. Default "127.0.0.1:0": any free
// port of the loopback interface.
func WithAddr(addr string) Option {
	return func(o *options) error { o.addr = addr; return nil }
}

// WithPlainAddr adds a listener without TLS. Default none, as on the service
// ("enableNonSslPort": false).
func WithPlainAddr(addr string) Option {
	return func(o *options) error { o.plainAddr = addr; return nil }
}

// WithClock sets the clock that everything here reads: token expiry, key
// expiry, blocking timeouts, the events' times. Default the real one.
func WithClock(c clockwork.Clock) Option {
	return func(o *options) error {
		if c == nil {
			return errors.New("WithClock: expected a clock, got nil")
		}
		o.clock = c
		return nil
	}
}

// WithCertificate sets the certificate to serve and, for CAPEM, the PEM of the
// CA that clients are to trust. Default: a leaf for localhost, 127.0.0.1 and
// ::1, signed by a CA that is made once per process.
func WithCertificate(cert tls.Certificate, caPEM []byte) Option {
	return func(o *options) error {
		if len(cert.Certificate) == 0 || cert.PrivateKey == nil {
			return errors.New("WithCertificate: expected a certificate with its private key")
		}
		o.cert, o.caPEM = &cert, caPEM
		return nil
	}
}

// WithCertificateForHostOnly leaves the IP addresses out of the certificate
// that is made by default: it names localhost alone, so that a client of a
// clustered cache that checks the certificate against the IP address of a node
// is refused by itself. So it is on the service, whose certificate has the
// cache's host name only ("Lettuce Best Practices.md" of
// Azure/AzureCacheForRedis). Default with the addresses.
func WithCertificateForHostOnly() Option {
	return func(o *options) error { o.certHostOnly = true; return nil }
}

// WithForeignCertificate makes the cache serve a certificate of a CA that
// nobody knows, while CAPEM returns the usual one: a client that verifies
// certificates must turn away before it sends a token. It is for tests of
// clients.
func WithForeignCertificate() Option {
	return func(o *options) error {
		o.foreignCert = true
		return nil
	}
}

// WithIssuer sets the authority whose tokens are accepted, with its tenant, as
// in https://login.microsoftonline.com/TENANT. Default none: every token is
// refused. The issuer is first contacted when a token is presented.
func WithIssuer(url string) Option {
	return func(o *options) error { o.issuer = url; return nil }
}

// WithIssuerCA sets the certificates to trust for the issuer's TLS. Default
// those of the system.
func WithIssuerCA(pem []byte) Option {
	return func(o *options) error { o.issuerCA = pem; return nil }
}

// WithIssuerTransport is by what the issuer's documents are asked for, instead of
// TLS over the network, such as Transport of a fake issuer in the same process.
// Default: an HTTP client that trusts WithIssuerCA.
func WithIssuerTransport(rt http.RoundTripper) Option {
	return func(o *options) error {
		if rt == nil {
			return errors.New("WithIssuerTransport: expected a transport, got nil; leave the option out for the network")
		}
		o.issuerTransport = rt
		return nil
	}
}

// WithAudiences replaces the audiences that a token may be for. Default
// https://redis.azure.com, the same with a slash at its end, and
// acca5fbb-b7e4-4009-81f1-37e38fd66d78. That the service takes all three
// spellings in a token has no source; the scopes they come from are documented.
func WithAudiences(aud ...string) Option {
	return func(o *options) error {
		if len(aud) == 0 {
			return errors.New("WithAudiences: expected at least one audience")
		}
		o.audiences = aud
		return nil
	}
}

// WithProfile chooses the service to imitate. Default ProfileAzureCache60.
func WithProfile(p Profile) Option {
	return func(o *options) error { o.profile = p; return nil }
}

// WithAccessKeys sets the two access keys. Default: random ones.
func WithAccessKeys(primary, secondary string) Option {
	return func(o *options) error {
		if primary == "" || secondary == "" {
			return errors.New("WithAccessKeys: expected two keys, got an empty one")
		}
		o.primary, o.secondary, o.keysGiven = primary, secondary, true
		return nil
	}
}

// WithAccessKeysDisabled starts with access keys disabled. Default enabled,
// which is the management API's default ("disableAccessKeyAuthentication":
// false); caches made in the portal start with keys disabled (azure-docs
// includes/cache-entra-access.md).
func WithAccessKeysDisabled() Option {
	return func(o *options) error { o.keysDisabled = true; return nil }
}

// WithWrongPassText sets the error, without the leading "-", for every refused
// sign-in. Default DefaultWrongPassText, or what the profile's level says. Users have also reported
// "ERR WRONGPASS invalid username-password pair" (dapr/components-contrib#3554);
// for which cause the service says what has no source.
func WithWrongPassText(text string) Option {
	return func(o *options) error {
		if text == "" {
			return errors.New("WithWrongPassText: expected a text, got an empty one")
		}
		o.wrongPass = text
		return nil
	}
}

// WithExpiryDelay sets how long after a token's exp its connection is closed.
// Default 0. That the service closes the connection is documented
// (Azure/azure-sdk-for-js#24791); how late it does has no source.
func WithExpiryDelay(d time.Duration) Option {
	return func(o *options) error {
		if d < 0 {
			return fmt.Errorf("WithExpiryDelay: expected 0 or more, got %s", d)
		}
		o.expiryDelay = d
		return nil
	}
}

// WithClockSkew sets the tolerance for nbf and exp when a token is presented.
// Default 0. No source says what the service tolerates.
func WithClockSkew(d time.Duration) Option {
	return func(o *options) error {
		if d < 0 {
			return fmt.Errorf("WithClockSkew: expected 0 or more, got %s", d)
		}
		o.skew = d
		return nil
	}
}

// WithTokensOnPlainPort accepts tokens on the plain port too. Default they are
// refused there: "Microsoft Entra authentication is supported for SSL
// connections" says the documentation; what the service answers on the plain
// port has no source.
func WithTokensOnPlainPort() Option {
	return func(o *options) error { o.tokensOnPlainPort = true; return nil }
}

// WithConnectionsKeptOnUnassign leaves the connections of an identity open
// when its assignment is removed; they may run nothing any more. Default they
// are closed, as Redis does with the connections of a deleted user; what the
// service does has no source.
func WithConnectionsKeptOnUnassign() Option {
	return func(o *options) error { o.keepUnassigned = true; return nil }
}

// WithPubSubBufferLimit sets how many bytes of messages may wait for a
// subscriber that does not read; beyond it the connection is closed. Default
// 32 MiB, Redis' default (client-output-buffer-limit pubsub 32mb …); what the
// service sets has no source.
func WithPubSubBufferLimit(bytes int) Option {
	return func(o *options) error {
		if bytes <= 0 {
			return fmt.Errorf("WithPubSubBufferLimit: expected more than 0 bytes, got %d", bytes)
		}
		o.subscriberQueueBytes = bytes
		return nil
	}
}

// WithCommandEvents says whether every command is logged as an event. Default
// false.
func WithCommandEvents(on bool) Option {
	return func(o *options) error { o.commandEvents = on; return nil }
}

// DefaultEventLimit is how many events the log keeps: more than any test makes,
// and about 100 MB at most.
const DefaultEventLimit = 250_000

// WithEventLimit sets how many events the log keeps. When there are more, the
// oldest go, a quarter of the limit at a time, and a gap (EventGap) stands first
// in the log, so that nobody takes the rest for everything. 0 keeps all. Default
// DefaultEventLimit; less than 0, and 1 to 3, which leave no room for a gap, are
// errors.
func WithEventLimit(n int) Option {
	return func(o *options) error {
		if n < 0 || n > 0 && n < 4 {
			return fmt.Errorf("WithEventLimit: expected 0 for no limit, or at least 4, got %d", n)
		}
		o.eventLimit = n
		return nil
	}
}
