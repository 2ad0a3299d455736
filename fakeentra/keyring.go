package fakeentra

import (
	"fmt"
	"sync"
	"time"

	"github.com/jonboulle/clockwork"
)

// Rotation says how a change of the signing key reaches those who check tokens.
// Entra publishes a new key before it signs with it and lets the old one stay
// for a while, and warns that it may do without either in an emergency (Entra
// documentation, "Signing key rollover"); how long, no source says.
type Rotation struct {
	// Overlap is how long the old key stays published after the rotation. 0: it
	// goes at once, so that tokens signed with it can no longer be checked by
	// somebody who fetches the keys now.
	Overlap time.Duration
	// Lag is how long tokens are signed with the new key before it is published.
	// 0: it is published at once. Until it is, its kid is unknown to everybody.
	Lag time.Duration
}

// keyring holds the keys of one server. Most servers never rotate, and share the
// process's key; a rotation gives this server keys of its own.
type keyring struct {
	clock clockwork.Clock

	mu  sync.RWMutex
	own []keyPeriod // in the order of rotation; the last one signs
}

// keyPeriod is when a key is published. A zero time is no limit.
type keyPeriod struct {
	key   *signingKey
	from  time.Time
	until time.Time
}

func (p keyPeriod) includes(now time.Time) bool {
	return !now.Before(p.from) && (p.until.IsZero() || now.Before(p.until))
}

// signing returns the key to sign with now.
func (k *keyring) signing() (*signingKey, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if n := len(k.own); n > 0 {
		return k.own[n-1].key, nil
	}
	return processKey()
}

// published returns the keys to publish now, the newest first.
func (k *keyring) published() ([]*signingKey, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if len(k.own) == 0 {
		key, err := processKey()
		return []*signingKey{key}, err
	}
	now := k.clock.Now()
	keys := []*signingKey{} // never nil: an empty set is published as []
	for i := len(k.own) - 1; i >= 0; i-- {
		if k.own[i].includes(now) {
			keys = append(keys, k.own[i].key)
		}
	}
	return keys, nil
}

func (k *keyring) rotate(next *signingKey, r Rotation) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.own) == 0 {
		first, err := processKey()
		if err != nil {
			return err
		}
		k.own = []keyPeriod{{key: first}}
	}
	now := k.clock.Now()
	last := &k.own[len(k.own)-1]
	last.until = now.Add(r.Overlap)
	k.own = append(k.own, keyPeriod{key: next, from: now.Add(r.Lag)})
	return nil
}

// RotateKey makes a new signing key, signs with it from now on, and returns its
// kid. Overlap and Lag are counted on the server's clock. Other servers of the
// process, which share their first key with this one, are not affected. Making
// the key takes a few hundred milliseconds. It returns an error for a negative
// Overlap or Lag.
func (s *Server) RotateKey(r Rotation) (kid string, err error) {
	if r.Overlap < 0 || r.Lag < 0 {
		return "", fmt.Errorf("fakeentra: RotateKey: expected Overlap and Lag of zero or more, got %s and %s", r.Overlap, r.Lag)
	}
	next, err := newSigningKey("fakeentra token signing")
	if err != nil {
		return "", err
	}
	if err := s.keys.rotate(next, r); err != nil {
		return "", err
	}
	return next.id, nil
}

// SigningKeyID is the kid of the tokens that are issued now.
func (s *Server) SigningKeyID() (string, error) {
	key, err := s.keys.signing()
	if err != nil {
		return "", err
	}
	return key.id, nil
}
