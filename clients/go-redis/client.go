package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/redis/go-redis/v9"
)

// client is one client of the library, as an application would wire it up.
type client struct {
	rdb      redis.UniversalClient
	single   *redis.Client   // the same, unless the cache is clustered
	timeout  time.Duration   // of a read
	provider *provider       // nil: signs in with an access key
	http     *http.Transport // to Microsoft Entra

	mu            sync.Mutex
	subscriptions []*redis.PubSub
}

// newClient follows go-redis' README, section Authentication. It opens no connection: go-redis does so for the first command.
func newClient(r request) (*client, error) {
	roots, err := certPool(r.Cache.CAPEM)
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

	switch r.Credential.Kind {
	case "access-key":
		options.Username, options.Password = r.Username, r.Credential.AccessKey
	case "client-secret":
		roots, err := certPool(r.Entra.CAPEM)
		if err != nil {
			return nil, err
		}
		c.http = http.DefaultTransport.(*http.Transport).Clone()
		c.http.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
		// What bounds an exchange on the network stays as long as it is by default, also where this process's clock is faster.
		rate := time.Duration(max(1, r.Options.ClockRate))
		c.http.TLSHandshakeTimeout *= rate
		c.http.DialContext = (&net.Dialer{Timeout: 30 * time.Second * rate, KeepAlive: 30 * time.Second}).DialContext
		newCredential := func() (azcore.TokenCredential, error) {
			return azidentity.NewClientSecretCredential(r.Entra.TenantID, r.Credential.ClientID, r.Credential.ClientSecret,
				&azidentity.ClientSecretCredentialOptions{
					ClientOptions: policy.ClientOptions{
						Cloud:     cloud.Configuration{ActiveDirectoryAuthorityHost: r.Entra.AuthorityHost},
						Transport: &http.Client{Transport: c.http},
						Retry:     policy.RetryOptions{MaxRetries: -1}, // the provider retries; two nested policies would multiply
					},
					DisableInstanceDiscovery: true, // the authority is none of Microsoft's own
				})
		}
		if _, err := newCredential(); err != nil {
			return nil, err
		}
		c.provider = newProvider(newCredential, r.Scopes, r.Username)
		c.provider.timeout *= rate
		options.StreamingCredentialsProvider = c.provider
	default:
		return nil, &unsupportedError{"credential", r.Credential.Kind}
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

// certPool holds the certificates of pem; without any, nil stands for those of the system.
func certPool(pem string) (*x509.CertPool, error) {
	if pem == "" {
		return nil, nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(pem)) {
		return nil, errors.New("ca_pem: expected certificates in PEM, got none")
	}
	return pool, nil
}

// command runs any command. BLPOP and BRPOP go through the library's own methods, which a user of the library has to take for a
// command that blocks: they wait for the reply as long as the command itself, where Do gives up after ReadTimeout. These methods
// know whole seconds only; for a fraction, what is left to the user is Do on a copy of the client with another timeout, which the
// client of a clustered cache does not offer.
func (c *client) command(ctx context.Context, args []string) (any, error) {
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
	generic := make([]any, len(args))
	for i, arg := range args {
		generic[i] = arg
	}
	return rdb.Do(ctx, generic...).Result()
}

func strs(cmd *redis.StringSliceCmd) (any, error) {
	values, err := cmd.Result()
	if err != nil {
		return nil, err
	}
	out := make([]any, len(values))
	for i, v := range values {
		out[i] = v
	}
	return out, nil
}

// subscribe returns when the cache has confirmed every channel. Then messages go to deliver until close.
func (c *client) subscribe(ctx context.Context, channels []string, deliver func(*redis.Message)) error {
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
			deliver(received)
		}
	}
	go func() {
		for message := range pubsub.Channel() {
			deliver(message)
		}
	}()
	return nil
}

// close ends the provider first, so that a connection that waits for a token does not hold up the rest. The client is closed in
// any case: what go-redis may complain of is a connection that the cache has closed before.
func (c *client) close() {
	if c.provider != nil {
		c.provider.Close()
		defer c.http.CloseIdleConnections()
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
