package fakeentra

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Lifetime is how long tokens live: at least Min and at most Max, drawn anew for
// every token, in whole seconds unless the two are equal.
type Lifetime struct {
	Min, Max time.Duration
}

// The lifetimes of the service.
var (
	// ServiceLifetime: "a random value ranging between 60-90 minutes" (Entra
	// documentation, "Access tokens", token lifetime).
	ServiceLifetime = Lifetime{60 * time.Minute, 90 * time.Minute}
	// LongLifetime: "20 to 28 hours" for clients that take part in continuous access
	// evaluation (same place). Whether the Redis resource takes part: no source.
	LongLifetime = Lifetime{20 * time.Hour, 28 * time.Hour}
	// ManagedIdentityLifetime: "The back-end services for managed identities maintain
	// a cache per resource URI for around 24 hours" (Azure documentation, "Managed
	// identity best practice recommendations").
	ManagedIdentityLifetime = FixedLifetime(24 * time.Hour)
)

// FixedLifetime makes every token live equally long.
func FixedLifetime(d time.Duration) Lifetime { return Lifetime{d, d} }

func (l Lifetime) check() error {
	if l.Min < minTokenLifetime || l.Max < l.Min {
		return fmt.Errorf("expected a lifetime of at least %s whose longest is not shorter than its shortest, got %s to %s; token times are in whole seconds",
			minTokenLifetime, l.Min, l.Max)
	}
	return nil
}

// TokenShape is what can be varied about sound tokens and about the answers that
// carry them. A zero field leaves the matter to the server's shape, or, in the
// server's own, to the default.
type TokenShape struct {
	// Lifetime is how long tokens live. Default: what WithTokenLifetime says, and
	// ManagedIdentityLifetime for tokens from a managed identity endpoint unless the
	// identity's own shape says otherwise.
	Lifetime Lifetime
	// ExpiresIn is what answers say in expires_in (and ext_expires_in, expires_on),
	// in whole seconds, whatever the token's exp says. Default: the truth. Clients
	// differ in which of the two they go by; this tells them apart.
	ExpiresIn time.Duration
	// RefreshIn is what answers say in refresh_in, in whole seconds: after that time
	// a client should get a new token although the old one is still good. Default:
	// no refresh_in. When the service sends one: no source.
	RefreshIn time.Duration
	// Claims are further claims of the tokens, by name; anything that encodes as
	// JSON. A name that every token has already is an error: a Defect makes those
	// wrong. The claims of a server's shape and of a principal's are joined, the
	// principal's winning.
	Claims map[string]any
}

// reservedClaims are those that sign-in rests on.
var reservedClaims = []string{"aud", "iss", "iat", "nbf", "exp", "oid", "tid", "uti", "ver", "sub", "appid", "azp", "appidacr", "azpacr", "idtyp"}

// compiledShape is a TokenShape that cannot change any more.
type compiledShape struct {
	lifetime             Lifetime
	expiresIn, refreshIn time.Duration
	claims               map[string]json.RawMessage
}

func (s TokenShape) compile() (*compiledShape, error) {
	if s.Lifetime != (Lifetime{}) {
		if err := s.Lifetime.check(); err != nil {
			return nil, err
		}
	}
	if s.ExpiresIn < 0 || s.RefreshIn < 0 {
		return nil, fmt.Errorf("expected ExpiresIn and RefreshIn to be zero or more, got %s and %s", s.ExpiresIn, s.RefreshIn)
	}
	c := &compiledShape{lifetime: s.Lifetime, expiresIn: s.ExpiresIn, refreshIn: s.RefreshIn}
	for _, name := range slices.Sorted(maps.Keys(s.Claims)) {
		if name == "" || slices.Contains(reservedClaims, name) {
			return nil, fmt.Errorf("claim %q: every token has it already; expected another name, or a Defect to make it wrong", name)
		}
		value, err := json.Marshal(s.Claims[name])
		if err != nil {
			return nil, fmt.Errorf("claim %q: %w", name, err)
		}
		if c.claims == nil {
			c.claims = map[string]json.RawMessage{}
		}
		c.claims[name] = value
	}
	return c, nil
}

// tokenShaping is what a test may change about a principal's tokens at any time.
type tokenShaping struct {
	defect   atomic.Pointer[Defect]
	compiled atomic.Pointer[compiledShape]
}

// SetDefect makes every token issued to this principal from now on wrong in
// exactly one way; DefectNone ends that. It panics on a value that is not one of
// this package's constants; ParseDefect checks a name that came from outside.
func (p *tokenShaping) SetDefect(d Defect) {
	if err := d.check(); err != nil {
		panic(err)
	}
	p.defect.Store(&d)
}

// Defect tells what is wrong with the tokens that this principal is issued.
func (p *tokenShaping) Defect() Defect {
	if d := p.defect.Load(); d != nil {
		return *d
	}
	return DefectNone
}

// SetTokenShape shapes the tokens issued to this principal from now on; the zero
// TokenShape ends that. It returns an error, and changes nothing, for a shape that
// makes no sense.
func (p *tokenShaping) SetTokenShape(shape TokenShape) error {
	c, err := shape.compile()
	if err != nil {
		return fmt.Errorf("fakeentra: token shape: %w", err)
	}
	if c.lifetime == (Lifetime{}) && c.expiresIn == 0 && c.refreshIn == 0 && c.claims == nil {
		c = nil
	}
	p.compiled.Store(c)
	return nil
}

func (p *tokenShaping) shape() *compiledShape {
	if c := p.compiled.Load(); c != nil {
		return c
	}
	return &noShape
}

var noShape compiledShape

// SetTokenShape shapes all tokens issued from now on, except where a principal's
// own shape says otherwise. It returns an error, and changes nothing, for a shape
// that makes no sense.
func (s *Server) SetTokenShape(shape TokenShape) error { return s.shaping.SetTokenShape(shape) }

// SetTokenLifetime sets how long tokens live that are issued from now on, and
// leaves the rest of the server's shape as it is. A token's exp is in whole
// seconds, rounded up, so that it lives at least as long; expires_in is what is
// left, rounded down. Anything under a second is taken as a second.
func (s *Server) SetTokenLifetime(d time.Duration) {
	for {
		old := s.shaping.compiled.Load()
		changed := noShape
		if old != nil {
			changed = *old
		}
		changed.lifetime = FixedLifetime(max(d, minTokenLifetime))
		if s.shaping.compiled.CompareAndSwap(old, &changed) {
			return
		}
	}
}

// WithTokenShape shapes all tokens, except where a principal's own shape says
// otherwise. Start returns an error for a shape that makes no sense. A lifetime
// in it wins over WithTokenLifetime.
func WithTokenShape(shape TokenShape) Option { return func(c *config) { c.shape = shape } }

// WithRandomSeed makes the lifetimes drawn from a Lifetime repeatable: the n-th
// draw of every server with the same seed is the same. Default: a random seed.
func WithRandomSeed(seed uint64) Option { return func(c *config) { c.seed = &seed } }

// dice draws lifetimes.
type dice struct {
	mu  sync.Mutex
	rng *rand.Rand
}

func newDice(seed *uint64) *dice {
	if seed == nil {
		return &dice{rng: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))} // not a secret
	}
	return &dice{rng: rand.New(rand.NewPCG(*seed, *seed))} // not a secret
}

func (d *dice) draw(l Lifetime) time.Duration {
	if l.Min == l.Max {
		return l.Min
	}
	seconds := int64((l.Max - l.Min) / time.Second)
	d.mu.Lock()
	defer d.mu.Unlock()
	return l.Min + time.Duration(d.rng.Int64N(seconds+1))*time.Second
}
