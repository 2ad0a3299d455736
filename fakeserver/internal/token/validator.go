package token

import (
	"context"
	"crypto/rsa"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/jonboulle/clockwork"
)

// DefaultTimeout bounds the wait for the issuer within one Validate. Ten
// seconds is what Microsoft says of the service itself
// (StackExchange/StackExchange.Redis#3154, comment of 2026-08-03).
const DefaultTimeout = 10 * time.Second

// maxRemembered bounds the tokens that are remembered, of a few kilobytes each at
// most. When it is full all are forgotten: each then costs one more RSA
// verification.
const maxRemembered = 4096

// Config tells a Validator whom to trust.
type Config struct {
	// Issuer is the authority's URL with the tenant, as in
	// https://login.microsoftonline.com/TENANT. Required.
	Issuer string
	// CAPEM holds the certificates to trust for the issuer's TLS; empty means
	// those of the system.
	CAPEM []byte
	// Transport is by what the issuer is asked; nil means over the network.
	Transport http.RoundTripper
	// Audiences are the accepted aud values. Required.
	Audiences []string
	// Clock decides what is expired; the real one by default.
	Clock clockwork.Clock
	// Skew is the tolerance for nbf and exp. Default 0: no source says what
	// the service tolerates.
	Skew time.Duration
	// Timeout bounds the wait for the issuer, DefaultTimeout when 0. It is
	// wall-clock time.
	Timeout time.Duration
}

// Validator checks tokens of one issuer. It is safe for concurrent use, and
// no lock is held while the issuer is asked except the one that lets a single
// request go out at a time.
type Validator struct {
	cfg    Config
	issuer *issuer
	header atomic.Pointer[header] // the last one that was read

	mu       sync.Mutex
	verified map[string]*remembered // by the token
}

// remembered is what is known of a token. It is immutable once it is in verified.
type remembered struct {
	claims    Claims
	kid       string
	key       *rsa.PublicKey
	audiences []string
}

// New makes a Validator. It does not contact the issuer.
func New(cfg Config) (*Validator, error) {
	if len(cfg.Audiences) == 0 {
		return nil, errors.New("token validator: no audience to accept; give at least one")
	}
	if cfg.Clock == nil {
		cfg.Clock = clockwork.NewRealClock()
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = DefaultTimeout
	}
	iss, err := newIssuer(cfg.Issuer, cfg.CAPEM, cfg.Transport)
	if err != nil {
		return nil, err
	}
	return &Validator{
		cfg:      cfg,
		issuer:   iss,
		verified: map[string]*remembered{},
	}, nil
}

// Validate checks a compact token that is presented as the password of
// username. The error is an *Error. The claims are filled in as far as the
// token could be read, also when it is refused: they are what it says, not
// what is true.
func (v *Validator) Validate(ctx context.Context, username, compact string) (Claims, error) {
	claims, err := v.validate(ctx, username, compact)
	if err != nil {
		return claims, err
	}
	return claims, nil
}

func (v *Validator) validate(ctx context.Context, username, compact string) (Claims, *Error) {
	set, r, err := v.signature(ctx, compact)
	c := r.claims
	if err != nil {
		return c, err
	}
	if !slices.Contains(set.issuers, c.Issuer) {
		if foreignTenant(c, set) {
			return c, refuse(WrongTenant, "issued by tenant %q, expected %q", clip(c.TenantID), set.tenantID)
		}
		return c, refuse(WrongIssuer, "iss is %q, expected one of %q", clip(c.Issuer), set.issuers)
	}
	if set.tenantID != "" && !strings.EqualFold(c.TenantID, set.tenantID) {
		return c, refuse(WrongTenant, "tid is %q, expected %q", clip(c.TenantID), set.tenantID)
	}
	if i := slices.IndexFunc(r.audiences, func(a string) bool { return slices.Contains(v.cfg.Audiences, a) }); i >= 0 {
		c.Audience = r.audiences[i]
	} else {
		return c, refuse(WrongAudience, "aud is %q, expected one of %q", clip(strings.Join(r.audiences, " ")), v.cfg.Audiences)
	}
	now := v.cfg.Clock.Now()
	if !c.NotBefore.IsZero() && now.Add(v.cfg.Skew).Before(c.NotBefore) {
		return c, refuse(NotYetValid, "valid from %s, now it is %s", stamp(c.NotBefore), stamp(now))
	}
	if !now.Before(c.Expires.Add(v.cfg.Skew)) {
		return c, refuse(Expired, "expired at %s, now it is %s", stamp(c.Expires), stamp(now))
	}
	if c.ObjectID == "" {
		return c, refuse(NoObjectID, "the token has no oid claim")
	}
	if username != c.ObjectID {
		if username == c.AppID {
			return c, refuse(UsernameMismatch, "the username is the client ID; expected the object ID %q", clip(c.ObjectID))
		}
		return c, refuse(UsernameMismatch, "the username is %q, expected the token's oid %q", clip(username), clip(c.ObjectID))
	}
	return c, nil
}

// signature reads the token and proves that the issuer signed it.
func (v *Validator) signature(ctx context.Context, compact string) (*keySet, *remembered, *Error) {
	v.mu.Lock()
	known := v.verified[compact]
	v.mu.Unlock()
	if known != nil {
		// A key that was withdrawn takes its tokens with it.
		if set := v.issuer.current.Load(); set != nil && set.keys[known.kid] == known.key {
			return set, known, nil
		}
	}
	r := &remembered{claims: Claims{Fingerprint: Fingerprint(compact)}}
	t, err := v.parse(compact)
	if err != nil {
		return nil, r, &Error{Reason: Malformed, Detail: "not a signed JWT", Err: err}
	}
	claims, timeErr := t.claims.claims()
	claims.Fingerprint = r.claims.Fingerprint
	r.claims, r.kid, r.audiences = claims, t.header.KeyID, t.claims.Audience
	if len(r.audiences) > 0 {
		r.claims.Audience = r.audiences[0]
	}
	switch {
	case t.header.Algorithm != jwt.SigningMethodRS256.Alg():
		return nil, r, refuse(BadAlgorithm, "alg is %q, expected RS256", clip(t.header.Algorithm))
	case r.kid == "":
		return nil, r, refuse(UnknownKey, "the token's header has no kid")
	}
	set, key, keyErr := v.issuer.lookup(ctx, r.kid, v.cfg.Timeout)
	if keyErr != nil {
		return nil, r, keyErr
	}
	if err := jwt.SigningMethodRS256.Verify(t.signed, t.signature, key); err != nil {
		return nil, r, &Error{Reason: BadSignature, Detail: "the signature does not match the key that the token names", Err: err}
	}
	if timeErr != nil {
		return nil, r, timeErr
	}
	r.key = key
	v.remember(strings.Clone(compact), r)
	return set, r, nil
}

func (v *Validator) remember(compact string, r *remembered) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.verified) >= maxRemembered {
		clear(v.verified)
	}
	v.verified[compact] = r
}

// foreignTenant tells a sound token of another tenant from one with a made-up
// issuer: its iss is ours with the other tenant in the place of our own.
func foreignTenant(c Claims, set *keySet) bool {
	if set.tenantID == "" || !isGUID(c.TenantID) || strings.EqualFold(c.TenantID, set.tenantID) {
		return false
	}
	return slices.Contains(set.issuers, strings.Replace(c.Issuer, c.TenantID, set.tenantID, 1))
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
