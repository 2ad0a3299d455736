package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	driver "github.com/entracache/entracache/clients/go-driver"
	"github.com/redis/rueidis"
)

// renewAt is the part of a token's life after which the next one is asked for.
const renewAt = 0.7

// credentials is what rueidis asks an application for: its get is an AuthCredentialsFn. rueidis calls it for every connection that it
// opens, and again for each of them at RefreshAfter, to send AUTH on it. All connections share one token.
type credentials struct {
	newCredential func() (azcore.TokenCredential, error) // makes the credential for one request (see driver.Entra)
	scopes        []string
	username      string // "": the token's object ID

	ctx   context.Context
	Close context.CancelFunc // after it no new token can be had

	mu      sync.Mutex // also held during a request, so that connections wait for one token
	current rueidis.AuthCredentials
}

func newCredentials(newCredential func() (azcore.TokenCredential, error), scopes []string, username string) *credentials {
	ctx, cancel := context.WithCancel(context.Background())
	return &credentials{newCredential: newCredential, scopes: scopes, username: username, ctx: ctx, Close: cancel}
}

func (c *credentials) get(rueidis.AuthCredentialsContext) (rueidis.AuthCredentials, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Until(c.current.RefreshAfter) > 0 {
		return c.current, nil
	}
	next, err := c.request()
	if err != nil {
		return rueidis.AuthCredentials{}, &driver.TokenError{Err: err}
	}
	c.current = next
	return next, nil
}

// request gets one token from Microsoft Entra. azidentity repeats a request that failed, as it does by default.
func (c *credentials) request() (rueidis.AuthCredentials, error) {
	credential, err := c.newCredential()
	if err != nil {
		return rueidis.AuthCredentials{}, err
	}
	token, err := credential.GetToken(c.ctx, policy.TokenRequestOptions{Scopes: c.scopes})
	if err != nil {
		return rueidis.AuthCredentials{}, err
	}
	lifetime := time.Until(token.ExpiresOn)
	if lifetime <= 0 {
		return rueidis.AuthCredentials{}, fmt.Errorf("the token has expired at %s already: compare this machine's clock", token.ExpiresOn)
	}
	username := c.username
	if username == "" {
		if username, err = driver.ObjectID(token.Token); err != nil {
			return rueidis.AuthCredentials{}, err
		}
	}
	refresh := time.Now().Add(time.Duration(renewAt * float64(lifetime)))
	return rueidis.AuthCredentials{Username: username, Password: token.Token, RefreshAfter: refresh}, nil
}
