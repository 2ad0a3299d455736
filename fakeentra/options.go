package fakeentra

import (
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jonboulle/clockwork"
)

// DefaultTokenLifetime is how long a token lives unless WithTokenLifetime or
// SetTokenLifetime says otherwise. The service itself picks a random lifetime
// between 60 and 90 minutes (Entra documentation, "Access tokens", token
// lifetime); a fixed one keeps tests repeatable. See ServiceLifetime.
const DefaultTokenLifetime = 60 * time.Minute

// minTokenLifetime exists because every time in a token is in whole seconds.
const minTokenLifetime = time.Second

// Option changes how a Server is started.
type Option func(*config)

type config struct {
	addr            string
	inMemory        bool
	clock           clockwork.Clock
	certificate     *tls.Certificate
	caPEM           []byte
	tenantID        string
	lifetime        time.Duration
	shape           TokenShape
	seed            *uint64
	tokenVersion    TokenVersion
	groupsClaim     bool
	directory       Config
	delegatedScopes []string
	deviceLifetime  time.Duration
	deviceInterval  time.Duration
	slowDown        bool
	singleUse       bool
	federationCA    []byte
	clockOffset     time.Duration
	logLimit        int
	metadataAddr    string
	proxyAddr       string
	arcFolder       string
	identityRenewal time.Duration
	identityHeader  string
	backdating      time.Duration
	audience        AudienceForm
	resources       [][]string
	multilineErrors bool
}

func defaultConfig() config {
	return config{
		addr:     "127.0.0.1:0",
		clock:    clockwork.NewRealClock(),
		lifetime: DefaultTokenLifetime,
		audience: AudienceAsRequested,

		tokenVersion:    TokenV1,
		delegatedScopes: []string{"user_impersonation"},
		deviceLifetime:  DefaultDeviceCodeLifetime,
		deviceInterval:  DefaultDeviceCodeInterval,
		logLimit:        DefaultRequestLogLimit,

		metadataAddr:    "127.0.0.1:0",
		proxyAddr:       "127.0.0.1:0",
		identityRenewal: DefaultIdentityRenewal,
	}
}

func (c *config) validate() error {
	if c.clock == nil {
		return errors.New("fakeentra: WithClock: expected a clock, got nil; leave the option out for the real clock")
	}
	if c.lifetime < minTokenLifetime {
		return fmt.Errorf("fakeentra: WithTokenLifetime: expected at least %s, got %s; token times are in whole seconds", minTokenLifetime, c.lifetime)
	}
	if c.logLimit < 0 || c.logLimit > 0 && c.logLimit < 4 {
		return fmt.Errorf("fakeentra: WithRequestLogLimit: expected 0 for no limit, or at least 4, got %d", c.logLimit)
	}
	if c.identityRenewal < 0 {
		return fmt.Errorf("fakeentra: WithIdentityRenewal: expected zero or more, got %s", c.identityRenewal)
	}
	if c.identityHeader == "" {
		c.identityHeader = newSecret()
	}
	if c.backdating < 0 {
		return fmt.Errorf("fakeentra: WithBackdating: expected zero or more, got %s", c.backdating)
	}
	if c.tokenVersion != TokenV1 && c.tokenVersion != TokenV2 {
		return fmt.Errorf("fakeentra: WithTokenVersion: expected %d or %d, got %d", TokenV1, TokenV2, c.tokenVersion)
	}
	if len(c.delegatedScopes) == 0 {
		return errors.New("fakeentra: WithDelegatedScopes: expected at least one scope, got none")
	}
	if c.deviceLifetime < time.Second || c.deviceInterval < time.Second {
		return fmt.Errorf("fakeentra: WithDeviceCodes: expected at least a second each, got %s and %s", c.deviceLifetime, c.deviceInterval)
	}
	switch c.audience {
	case AudienceAsRequested, AudienceURI, AudienceClientID:
	default:
		return fmt.Errorf("fakeentra: WithAudienceForm: expected %q, %q or %q, got %q", AudienceAsRequested, AudienceURI, AudienceClientID, c.audience)
	}
	for _, identifiers := range c.resources {
		if len(identifiers) == 0 {
			return errors.New("fakeentra: WithResource: expected at least one identifier, got none; name the resource's URI or client ID")
		}
		for _, id := range identifiers {
			if !wellFormedResource(id) {
				return fmt.Errorf("fakeentra: WithResource: expected an absolute URI or a GUID, got %q", id)
			}
		}
	}
	if c.tenantID == "" && len(c.directory.Tenants) > 0 {
		c.tenantID = c.directory.Tenants[0].ID
	}
	if c.tenantID == "" {
		c.tenantID = uuid.NewString()
		return nil
	}
	id, err := parseGUID(c.tenantID)
	if err != nil {
		return fmt.Errorf("fakeentra: WithTenant: %w", err)
	}
	c.tenantID = id
	return nil
}

// WithAddr sets the TCP address to listen on. Default "127.0.0.1:0": loopback
// only, any free port.
func WithAddr(addr string) Option { return func(c *config) { c.addr = addr } }

// WithClock sets the clock that dates tokens, error timestamps and the request
// log. Default: the real clock.
func WithClock(clock clockwork.Clock) Option { return func(c *config) { c.clock = clock } }

// WithClockOffset makes the issuer's clock wrong from the start; see
// SetClockOffset. Default 0.
func WithClockOffset(d time.Duration) Option { return func(c *config) { c.clockOffset = d } }

// DefaultRequestLogLimit is how many requests the log keeps: more than any test
// makes, and about 50 MB at most.
const DefaultRequestLogLimit = 100_000

// WithRequestLogLimit sets how many requests the log keeps. When there are more,
// the oldest go, a quarter of the limit at a time, and a gap (OutcomeGap) stands
// first in the log, so that nobody takes the rest for everything. 0 keeps all.
// Default DefaultRequestLogLimit; Start returns an error for less than 0 and for
// 1 to 3, which leave no room for a gap.
func WithRequestLogLimit(n int) Option { return func(c *config) { c.logLimit = n } }

// WithCertificate serves cert instead of a certificate signed by the process's
// own CA; caPEM is what CAPEM then returns.
func WithCertificate(cert tls.Certificate, caPEM []byte) Option {
	return func(c *config) { c.certificate, c.caPEM = &cert, caPEM }
}

// WithTenant sets the ID of the default tenant, a GUID. Default: that of the first
// tenant of WithConfig, or else a random one.
// Start returns an error for anything that is not a GUID.
func WithTenant(id string) Option { return func(c *config) { c.tenantID = id } }

// WithTokenLifetime sets how long tokens live from the moment of issue. Default
// DefaultTokenLifetime; Start returns an error for less than a second.
func WithTokenLifetime(d time.Duration) Option { return func(c *config) { c.lifetime = d } }

// WithBackdating moves a token's iat and nbf (and not_before of the v1.0
// answer) this far into the past, leaving its expiry alone. Default 0, so that
// exp-iat is the lifetime. Stored v1.0 answers of the service have
// expires_on-not_before = 3900 beside expires_in = 3599, and the sample tokens
// of the documentation exp-iat = 3900 with iat = nbf: the service backdates by
// five minutes.
func WithBackdating(d time.Duration) Option { return func(c *config) { c.backdating = d } }

// AudienceForm says which spelling of a resource a token carries as aud.
type AudienceForm string

const (
	// AudienceAsRequested repeats the spelling of the request, a URI or a client
	// ID. Source: "In v1.0 tokens, it can be the client ID or the resource URI
	// used in the request" (Entra documentation, "Access token claims reference").
	AudienceAsRequested AudienceForm = "as-requested"
	// AudienceURI always puts the resource's URI. No source that the Redis
	// resource does so.
	AudienceURI AudienceForm = "uri"
	// AudienceClientID always puts the resource's client ID. No source that the
	// Redis resource does so in a v1.0 token.
	AudienceClientID AudienceForm = "client-id"
)

// WithAudienceForm sets which spelling of the resource tokens carry. Default
// AudienceAsRequested.
func WithAudienceForm(form AudienceForm) Option { return func(c *config) { c.audience = form } }

// WithResource makes a further resource known to every tenant, under the given
// identifiers: its URIs (each spelling, with and without a trailing slash, is an
// identifier of its own) and its client ID. Without it only Azure Cache for
// Redis is known. Useful for tokens that are sound but for something else.
func WithResource(identifiers ...string) Option {
	return func(c *config) { c.resources = append(c.resources, identifiers) }
}

// WithMultilineErrors puts the trace, correlation and timestamp parts of
// error_description on lines of their own, as the documentation prints them and
// the service did until about 2023. Default: all on one line, as in answers of
// the service reported since (Azure/azure-cli#29113 of 2024,
// james-gould/azure-keyvault-emulator#324 of 2025).
func WithMultilineErrors() Option { return func(c *config) { c.multilineErrors = true } }
