package main

import (
	"sync"
	"time"

	driver "github.com/entracache/entracache/clients/go-driver"
	"github.com/redis/rueidis"
)

// renewAt is the part of a token's life after which the next one is asked for.
const renewAt = 0.7

// credentials is what rueidis asks an application for: its get is an AuthCredentialsFn. rueidis calls it for every connection that it
// opens, and again for each of them at RefreshAfter, to send AUTH on it. All connections share one token, those of several clients too.
type credentials struct {
	entra *driver.Entra

	mu      sync.Mutex // also held during a request, so that connections wait for one token
	current rueidis.AuthCredentials
}

func (c *credentials) get(rueidis.AuthCredentialsContext) (rueidis.AuthCredentials, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Until(c.current.RefreshAfter) > 0 {
		return c.current, nil
	}
	next, err := c.entra.Token(c.entra.Life()) // azidentity repeats a request that failed, as it does by default
	if err != nil {
		return rueidis.AuthCredentials{}, &driver.TokenError{Err: err}
	}
	c.current = rueidis.AuthCredentials{
		Username: next.Username, Password: next.AccessToken,
		RefreshAfter: time.Now().Add(time.Duration(renewAt * float64(next.Lifetime))),
	}
	return c.current, nil
}
