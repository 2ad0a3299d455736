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
	"github.com/redis/go-redis/v9"
)

// client is one client of the library, as an application would wire it up.
type client struct {
	rdb      redis.UniversalClient
	single   *redis.Client // the same, unless the cache is clustered
	timeout  time.Duration // of a read
	provider *provider     // nil: signs in with an access key

	mu            sync.Mutex
	subscriptions []*redis.PubSub
}

// newClient follows go-redis' README, section Authentication. It opens no connection: go-redis does so for the first command. The
// credentials provider is that of another client, unless there is none.
func newClient(r driver.Request, other driver.Client) (*client, error) {
	roots, err := driver.CertPool(r.Cache.CAPEM)
	if err != nil {
		return nil, err
	}
	options := &redis.Options{
		Addr:         net.JoinHostPort(r.Cache.Host, strconv.Itoa(r.Cache.Port)),
		TLSConfig:    &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		Protocol:     r.Options.RESP,
		PoolSize:     r.Options.PoolSize,
		DialTimeout:  time.Duration(r.Options.ConnectTimeout) * time.Millisecond,
		ReadTimeout:  time.Duration(r.Options.CommandTimeout) * time.Millisecond,
		WriteTimeout: time.Duration(r.Options.CommandTimeout) * time.Millisecond,
		// PoolTimeout stays the library's default, which follows from ReadTimeout.
	}
	c := &client{}

	if shared, ok := other.(*client); ok && shared.provider != nil {
		c.provider = shared.provider
		c.provider.entra.Share()
		options.StreamingCredentialsProvider = c.provider
	} else if r.Credential.Kind == "access-key" {
		options.Username, options.Password = r.Username, r.Credential.AccessKey
	} else {
		// The provider retries; two nested policies would multiply.
		entra, err := driver.NewEntra(r, policy.RetryOptions{MaxRetries: -1})
		if err != nil {
			return nil, err
		}
		c.provider = newProvider(entra)
		options.StreamingCredentialsProvider = c.provider
	}
	if r.Cache.Cluster {
		options.TLSConfig.ServerName = r.Cache.Host // the nodes are named by IP address, for which the service has no certificate
		clustered := redis.NewClusterClient(&redis.ClusterOptions{
			Addrs: []string{options.Addr}, TLSConfig: options.TLSConfig, Protocol: options.Protocol, PoolSize: options.PoolSize,
			DialTimeout: options.DialTimeout, ReadTimeout: options.ReadTimeout, WriteTimeout: options.WriteTimeout,
			Username: options.Username, Password: options.Password, StreamingCredentialsProvider: options.StreamingCredentialsProvider,
		})
		c.rdb, c.timeout = clustered, clustered.Options().ReadTimeout
		return c, nil
	}
	c.single = redis.NewClient(options)
	c.rdb, c.timeout = c.single, c.single.Options().ReadTimeout
	return c, nil
}

// Command runs any command. BLPOP and BRPOP go through the library's own methods, which a user of the library has to take for a
// command that blocks: they wait for the reply as long as the command itself, where Do gives up after ReadTimeout. These methods
// know whole seconds only; for a fraction, what is left to the user is Do on a copy of the client with another timeout, which the
// client of a clustered cache does not offer.
func (c *client) Command(ctx context.Context, args []string) (any, error) {
	rdb := c.rdb
	if name := strings.ToUpper(args[0]); (name == "BLPOP" || name == "BRPOP") && len(args) > 2 {
		keys, last := args[1:len(args)-1], args[len(args)-1]
		if seconds, err := strconv.ParseFloat(last, 64); err == nil && seconds >= 0 && seconds < 1e6 {
			block := time.Duration(seconds * float64(time.Second))
			switch {
			case block%time.Second != 0 && c.single != nil:
				rdb = c.single.WithTimeout(block + c.timeout)
			case block%time.Second != 0:
			case name == "BLPOP":
				return strs(rdb.BLPop(ctx, block, keys...))
			default:
				return strs(rdb.BRPop(ctx, block, keys...))
			}
		}
	}
	value, err := rdb.Do(ctx, generic(args)...).Result()
	return value, orNull(err)
}

func generic(args []string) []any {
	out := make([]any, len(args))
	for i, arg := range args {
		out[i] = arg
	}
	return out
}

// orNull takes away the error by which go-redis says null.
func orNull(err error) error {
	if errors.Is(err, redis.Nil) {
		return nil
	}
	return err
}

func strs(cmd *redis.StringSliceCmd) (any, error) {
	values, err := cmd.Result()
	if err != nil {
		return nil, orNull(err)
	}
	return generic(values), nil
}

// Subscribe returns when the cache has confirmed every channel. Then messages go to deliver until Close.
func (c *client) Subscribe(ctx context.Context, channels []string, deliver func(channel, message string)) error {
	pubsub := c.rdb.Subscribe(ctx, channels...)
	c.mu.Lock()
	c.subscriptions = append(c.subscriptions, pubsub)
	c.mu.Unlock()
	for confirmed := 0; confirmed < len(channels); {
		received, err := pubsub.ReceiveTimeout(ctx, c.timeout)
		if err != nil {
			_ = pubsub.Close() // the first error is the one that tells why
			return err
		}
		switch received := received.(type) {
		case *redis.Subscription:
			confirmed++
		case *redis.Message:
			deliver(received.Channel, received.Payload)
		}
	}
	go func() {
		for message := range pubsub.Channel() {
			deliver(message.Channel, message.Payload)
		}
	}()
	return nil
}

// Close ends the token requests first, so that a connection that waits for a token does not hold up the rest. The client is closed in
// any case: what go-redis may complain of is a connection that the cache has closed before.
func (c *client) Close() {
	if c.provider != nil {
		c.provider.entra.Close()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, pubsub := range c.subscriptions {
		_ = pubsub.Close() // fails only for one that was closed because it could not subscribe
	}
	if err := c.rdb.Close(); err != nil {
		log.Printf("close the client: %v", err)
	}
}
