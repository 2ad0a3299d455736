package main

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	driver "github.com/entracache/entracache/clients/go-driver"
	"github.com/redis/go-redis/v9/auth"
)

// The defaults of github.com/redis/go-redis-entraid. Its delays suit tokens that live for an hour, the least that Microsoft
// Entra issues. For a token that lives shorter they shrink with it (see token.pace): what is left for retries is a share of the
// token's life, so a fixed delay would spend all of it on waiting.
const (
	refreshRatio   = 0.7
	maxAttempts    = 3
	firstDelay     = time.Second
	maxDelay       = 10 * time.Second
	requestTimeout = 30 * time.Second

	usualLifetime = time.Hour
)

// provider is what go-redis asks an application for: an auth.StreamingCredentialsProvider. It hands each connection the current
// token when the connection signs in, gets a new one when 0.7 of the time that the current one had left is over, and announces
// it to every connection, which then sends AUTH by itself. It is safe for concurrent use.
type provider struct {
	entra *driver.Entra // with its life the refreshing ends

	// requesting is held from a token request to the end of its announcement: connections that are opened together wait for one
	// token, and tokens are announced in the order in which they were issued. A listener must not subscribe from within a call.
	requesting sync.Mutex

	mu        sync.Mutex // guards what follows; never held during a call of somebody else's code
	current   *token
	listeners map[auth.CredentialsListener]struct{}
}

// token is one access token as credentials. It does not change.
type token struct {
	auth.Credentials
	driver.Token
}

func newProvider(entra *driver.Entra) *provider {
	return &provider{entra: entra, listeners: map[auth.CredentialsListener]struct{}{}}
}

// Subscribe implements auth.StreamingCredentialsProvider. Without a token that is still valid it asks for one, once: go-redis
// repeats a failed command, and with it the sign-in, as its own options say.
func (p *provider) Subscribe(listener auth.CredentialsListener) (auth.Credentials, auth.UnsubscribeFunc, error) {
	if old := p.token(); old == nil || time.Until(old.Expires) <= 0 {
		if err := p.renew(old); err != nil {
			return nil, nil, err
		}
	}

	// One critical section for both, so that a new token is either in these credentials or announced to this listener, never both.
	p.mu.Lock()
	defer p.mu.Unlock()
	p.listeners[listener] = struct{}{}
	unsubscribe := func() error {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.listeners, listener)
		return nil
	}
	return p.current, unsubscribe, nil
}

// renew replaces old and announces the new token. It does nothing when somebody else has replaced old in the meantime.
func (p *provider) renew(old *token) error {
	p.requesting.Lock()
	defer p.requesting.Unlock()
	if p.token() != old {
		return nil
	}
	next, err := p.request(old)
	if err != nil {
		return &driver.TokenError{Err: err}
	}

	p.mu.Lock()
	p.current = next
	listeners := slices.Collect(maps.Keys(p.listeners))
	p.mu.Unlock()
	for _, l := range listeners {
		l.OnNext(next)
	}
	if old == nil {
		go p.refresh()
	}
	return nil
}

// request gets one token from Microsoft Entra.
func (p *provider) request(old *token) (*token, error) {
	timeout := requestTimeout * p.entra.Rate
	if old != nil {
		// All attempts of a refresh have to fit into what is left of old, also when the issuer hangs.
		timeout = min(timeout, time.Duration((1-refreshRatio)/maxAttempts*float64(old.Lifetime)))
	}
	ctx, cancel := context.WithTimeout(p.entra.Life(), timeout)
	defer cancel()
	next, err := p.entra.Token(ctx)
	if err != nil {
		return nil, err
	}
	return &token{auth.NewBasicCredentials(next.Username, next.AccessToken), next}, nil
}

// refresh keeps the token fresh as long as a client uses it. When all attempts of one round have failed, the listeners are told, as
// go-redis' interface asks, and the next round follows at 0.7 of what is left then: a provider that gave up would outlive no outage.
func (p *provider) refresh() {
	var pause time.Duration // the least time until the next round
	for {
		old := p.token()
		left := time.Until(old.Expires)
		if !p.sleep(max(pause, time.Duration(refreshRatio*float64(left)))) {
			return
		}
		pause = 0
		if err := p.renewWithRetries(old); err != nil {
			if p.entra.Life().Err() != nil {
				return
			}
			pause = old.pace(maxDelay)
			p.mu.Lock()
			listeners := slices.Collect(maps.Keys(p.listeners))
			p.mu.Unlock()
			for _, l := range listeners {
				l.OnError(err)
			}
		}
	}
}

func (p *provider) renewWithRetries(old *token) error {
	delay := firstDelay
	for attempt := 1; ; attempt++ {
		err := p.renew(old)
		if err == nil || attempt == maxAttempts {
			return err
		}
		if !p.sleep(old.pace(min(delay, maxDelay))) {
			return err
		}
		delay *= 2
	}
}

// pace shortens a delay for a token that lives less than an hour.
func (t *token) pace(delay time.Duration) time.Duration {
	return time.Duration(float64(delay) * min(1, float64(t.Lifetime)/float64(usualLifetime)))
}

// sleep reports false when the last client was closed first.
func (p *provider) sleep(d time.Duration) bool {
	select {
	case <-p.entra.Life().Done():
		return false
	case <-time.After(d):
		return true
	}
}

func (p *provider) token() *token {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.current
}
