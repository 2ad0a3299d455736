package fakeserver

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
)

// accessKeys are the two keys of a cache. Either signs in.
type accessKeys struct{ primary, secondary string }

func (k accessKeys) match(password string) bool {
	a, b := secretEqual(password, k.primary), secretEqual(password, k.secondary)
	return a || b
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

// RegenerateKey replaces one key and returns the new one. Connections that
// signed in with the old key stay, as Redis leaves them after a change of its
// password; what the service does with them has no source.
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
	s.stateMu.Unlock()
	s.record(Event{Kind: EventKeyRegenerated, Detail: fmt.Sprintf("the %s access key was regenerated", which)})
	return key, nil
}

// DisableAccessKeys refuses access keys from now on and closes every
// connection: "all existing client connections are terminated, whether they use
// access keys or Microsoft Entra authentication" (azure-docs). It does nothing
// when they are disabled already.
func (s *Server) DisableAccessKeys() error {
	s.setAccessKeysDisabled(true, EventAccessKeysDisabled, "access keys were disabled")
	return nil
}

// EnableAccessKeys accepts access keys again. It closes every connection too:
// the documentation says so of any change of the setting.
func (s *Server) EnableAccessKeys() error {
	s.setAccessKeysDisabled(false, EventAccessKeysEnabled, "access keys were enabled")
	return nil
}

func (s *Server) setAccessKeysDisabled(disabled bool, kind EventKind, detail string) {
	s.stateMu.Lock()
	if s.keysDisabled == disabled {
		s.stateMu.Unlock()
		return
	}
	s.keysDisabled = disabled
	// Logged under the lock, so that the log shows no sign-in by the new rule
	// before the change.
	s.record(Event{Kind: kind, Detail: detail})
	s.stateMu.Unlock()
	s.cutAll(ReasonAccessKeysChanged)
}
