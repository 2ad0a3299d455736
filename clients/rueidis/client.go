package main

import (
	"context"
	"crypto/tls"
	"errors"
	"log"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	driver "github.com/entracache/entracache/clients/go-driver"
	"github.com/redis/rueidis"
)

// client is one client of the library, as an application would wire it up.
type client struct {
	name    string // for what goes to stderr
	rueidis rueidis.Client
	timeout time.Duration // of a reply

	credentials *credentials // nil: signs in with an access key
}

// newClient follows the documentation of ClientOption and of AuthCredentials. rueidis connects here already. The credentials are those of
// another client, unless there is none.
func newClient(r driver.Request, other driver.Client) (*client, error) {
	roots, err := driver.CertPool(r.Cache.CAPEM)
	if err != nil {
		return nil, err
	}
	rate := time.Duration(max(1, r.Options.ClockRate))
	option := rueidis.ClientOption{
		InitAddress:      []string{net.JoinHostPort(r.Cache.Host, strconv.Itoa(r.Cache.Port))},
		TLSConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		Dialer:           net.Dialer{Timeout: time.Duration(r.Options.ConnectTimeout) * time.Millisecond},
		ConnWriteTimeout: time.Duration(r.Options.CommandTimeout) * time.Millisecond,
		BlockingPoolSize: r.Options.PoolSize,
	}
	// What bounds an exchange on the network stays as long as it is by default, also where this process's clock is faster. From
	// KeepAlive rueidis takes how often it looks after an idle connection, too.
	if option.Dialer.Timeout == 0 {
		option.Dialer.Timeout = rueidis.DefaultDialTimeout * rate
	}
	option.Dialer.KeepAlive = rueidis.DefaultTCPKeepAlive * rate
	if option.ConnWriteTimeout == 0 {
		option.ConnWriteTimeout = 10 * option.Dialer.KeepAlive
	}
	if r.Options.RESP == 2 {
		option.AlwaysRESP2 = true
		option.DisableCache = true // client-side caching needs RESP3
	}
	if r.Cache.Cluster {
		option.TLSConfig.ServerName = r.Cache.Host // the nodes are named by IP address, for which the service has no certificate
	}

	c := &client{name: r.Client, timeout: option.ConnWriteTimeout}
	if shared, ok := other.(*client); ok && shared.credentials != nil {
		c.credentials = shared.credentials
		c.credentials.entra.Share()
		option.AuthCredentialsFn = c.credentials.get
	} else if r.Credential.Kind == "access-key" {
		option.Username, option.Password = r.Username, r.Credential.AccessKey
	} else {
		entra, err := driver.NewEntra(r, policy.RetryOptions{})
		if err != nil {
			return nil, err
		}
		c.credentials = &credentials{entra: entra}
		option.AuthCredentialsFn = c.credentials.get
	}
	if c.rueidis, err = rueidis.NewClient(option); err != nil {
		c.Close()
		return nil, &driver.OpenError{Err: err}
	}
	return c, nil
}

// Command runs any command. What rueidis does with a command depends on how it is built: one that blocks gets a connection of a pool of
// its own, one that only reads is repeated after a failure. The builder knows that of the commands that it has a method for, and so the
// commands that it treats in these ways are built by it; of others, all that rueidis knows is their key.
func (c *client) Command(ctx context.Context, args []string) (any, error) {
	return orNull(c.rueidis.Do(ctx, c.build(args)).ToAny())
}

// orNull takes away the error by which rueidis says null.
func orNull(value any, err error) (any, error) {
	if rueidis.IsRedisNil(err) {
		return nil, nil
	}
	return value, err
}

func (c *client) build(args []string) rueidis.Completed {
	b, rest := c.rueidis.B(), args[1:]
	switch name := strings.ToUpper(args[0]); {
	case name == "GET" && len(rest) == 1:
		return b.Get().Key(rest[0]).Build()
	case name == "BLPOP" && len(rest) > 1:
		if seconds, err := strconv.ParseFloat(rest[len(rest)-1], 64); err == nil {
			return b.Blpop().Key(rest[:len(rest)-1]...).Timeout(seconds).Build()
		}
	case name == "BRPOP" && len(rest) > 1:
		if seconds, err := strconv.ParseFloat(rest[len(rest)-1], 64); err == nil {
			return b.Brpop().Key(rest[:len(rest)-1]...).Timeout(seconds).Build()
		}
	}
	command := b.Arbitrary(args[0])
	if len(rest) > 0 {
		command = command.Keys(rest[0]).Args(rest[1:]...)
	}
	return command.Build()
}

// Subscribe returns when the cache has confirmed every channel. Receive goes on until Close, and subscribes again by itself.
func (c *client) Subscribe(ctx context.Context, channels []string, deliver func(channel, message string)) error {
	var mu sync.Mutex // guards missing
	missing := map[string]bool{}
	for _, channel := range channels {
		missing[channel] = true
	}
	confirmed, ended := make(chan struct{}), make(chan error, 1)
	ctx = rueidis.WithOnSubscriptionHook(ctx, func(s rueidis.PubSubSubscription) {
		mu.Lock()
		defer mu.Unlock()
		if delete(missing, s.Channel); len(missing) == 0 && missing != nil {
			missing = nil
			close(confirmed)
		}
	})
	go func() {
		err := c.rueidis.Receive(ctx, c.rueidis.B().Subscribe().Channel(channels...).Build(), func(m rueidis.PubSubMessage) {
			deliver(m.Channel, m.Message)
		})
		if err != nil && !errors.Is(err, rueidis.ErrClosing) {
			log.Printf("%s: the subscription ended: %v", c.name, err)
		}
		ended <- err
	}()
	select {
	case <-confirmed:
		return nil
	case err := <-ended:
		return err
	case <-time.After(c.timeout):
		return context.DeadlineExceeded
	}
}

// Close ends the token requests first, so that a connection that waits for a token does not hold up the rest.
func (c *client) Close() {
	if c.credentials != nil {
		c.credentials.entra.Close()
	}
	if c.rueidis != nil {
		c.rueidis.Close()
	}
}
