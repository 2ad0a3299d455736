package fakeserver

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
)

// accessKeys are the two keys of a cache. Either signs in.
type accessKeys struct{ primary, secondary string }

// match says which of the keys the password is; empty if neither.
func (k accessKeys) match(password string) KeyType {
	primary, secondary := secretEqual(password, k.primary), secretEqual(password, k.secondary)
	switch {
	case primary:
		return KeyPrimary
	case secondary:
		return KeySecondary
	}
	return ""
}

// KeyType names one of the two access keys.
type KeyType string

// The access keys, by their names in the management API.
const (
	KeyPrimary   KeyType = "Primary"
	KeySecondary KeyType = "Secondary"
)

// newAccessKey makes a key that looks like the service's: 32 random bytes in
// base64.
func newAccessKey() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.StdEncoding.EncodeToString(b[:])
}

// randomHex makes n random bytes, in hex.
func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// AccessKeys returns the two keys. Either is the password of the user
// "default".
func (s *Server) AccessKeys() (primary, secondary string) {
	s.stateMu.Lock()
	defer s.stateMu.Unlock()
	return s.keys.primary, s.keys.secondary
}

// WithConnectionsCutOnKeyRegeneration closes the connections that signed in with
// a key when that key is regenerated. Default they stay, as Redis leaves them
// after a change of its password; what the service does has no source.
func WithConnectionsCutOnKeyRegeneration() Option {
	return func(o *options) error { o.cutRegenerated = true; return nil }
}

// WithUncheckedAuthentication lets DisableAccessKeys succeed while Microsoft
// Entra authentication is off or nobody has an access policy assigned, and
// DisableEntra while access keys are disabled: nobody can sign in then. Default
// they are refused. The documentation says "ensure that Microsoft Entra
// authentication is enabled and you have at least one Redis User configured"
// (azure-docs cache-azure-active-directory-for-authentication.md); whether the
// service itself refuses has no source.
func WithUncheckedAuthentication() Option {
	return func(o *options) error { o.unchecked = true; return nil }
}

// RegenerateKey replaces one key and returns the new one. What becomes of the
// connections that signed in with the old key is
// WithConnectionsCutOnKeyRegeneration.
func (s *Server) RegenerateKey(which KeyType) (string, error) {
	key := newAccessKey()
	s.secrets.add(key)
	s.stateMu.Lock()
	switch which {
	case KeyPrimary:
		s.keys.primary = key
	case KeySecondary:
		s.keys.secondary = key
	default:
		s.stateMu.Unlock()
		return "", fmt.Errorf("regenerate key %q: expected %q or %q", which, KeyPrimary, KeySecondary)
	}
	s.record(Event{Kind: EventKeyRegenerated, Detail: fmt.Sprintf("the %s access key was regenerated", which)})
	s.stateMu.Unlock()
	if s.opts.cutRegenerated {
		s.cut(ReasonKeyRegenerated, func(c *connection) bool {
			id := c.identity.Load()
			return id != nil && id.kind == AuthKey && id.key == which
		})
	}
	return key, nil
}

// AccessKeysEnabled says whether access keys sign in: the opposite of
// "disableAccessKeyAuthentication" in the management API.
func (s *Server) AccessKeysEnabled() bool {
	s.stateMu.Lock()
	defer s.stateMu.Unlock()
	return !s.keysDisabled
}

// DisableAccessKeys refuses access keys from now on and closes every
// connection: "all existing client connections are terminated, whether they use
// access keys or Microsoft Entra authentication" (azure-docs
// cache-azure-active-directory-for-authentication.md). It does nothing when they
// are disabled already. How long it takes is WithConfigurationTime.
//
// The error is ErrEntraDisabled or ErrNoUserAssigned, both unless
// WithUncheckedAuthentication; ErrGeoReplicated while the cache is linked, since
// "for geo-replicated caches, you must: unlink the caches, disable access keys,
// relink the caches" (ibid.); ErrTier in the Enterprise tiers; or ErrBusy.
func (s *Server) DisableAccessKeys() error {
	return s.setAccessKeysDisabled(true, "disable access keys", EventAccessKeysDisabled, "access keys were disabled", s.checkDisable)
}

// EnableAccessKeys accepts access keys again. It closes every connection too:
// the documentation says so of any change of the setting. It does nothing when
// they are enabled already. The error is ErrBusy.
func (s *Server) EnableAccessKeys() error {
	return s.setAccessKeysDisabled(false, "enable access keys", EventAccessKeysEnabled, "access keys were enabled", func() error { return nil })
}

// checkDisable says why access keys may not be disabled; stateMu is held.
func (s *Server) checkDisable() error {
	if err := s.checkEntraTier("disabling access keys"); err != nil {
		return err
	}
	switch {
	case len(s.links) > 0:
		return fmt.Errorf("%w; unlink it first with Unlink, disable access keys, and link it again with Link", ErrGeoReplicated)
	case s.opts.unchecked:
		return nil
	case !s.entra:
		return fmt.Errorf("%w, nobody could sign in; enable it first with EnableEntra, or start with WithUncheckedAuthentication", ErrEntraDisabled)
	case len(s.grants) == 0:
		return fmt.Errorf("%w, nobody could sign in; assign an access policy first with Assign, or start with WithUncheckedAuthentication", ErrNoUserAssigned)
	}
	return nil
}

func (s *Server) setAccessKeysDisabled(disabled bool, name string, kind EventKind, detail string, check func() error) error {
	return s.operate(operation{
		name: name, state: StateUpdating,
		check: func() (bool, error) {
			if s.keysDisabled == disabled {
				return false, nil
			}
			return true, check()
		},
		effect: func(func()) bool {
			s.stateMu.Lock()
			s.keysDisabled = disabled
			// Logged under the lock, so that the log shows no sign-in by the new
			// rule before the change.
			s.record(Event{Kind: kind, Detail: detail})
			s.stateMu.Unlock()
			s.cutAll(ReasonAccessKeysChanged)
			return true
		},
	})
}
