package main

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"
)

type healthcheckCmd struct {
	pairFlags
	CacheAddr string `help:"The cache's TLS port." placeholder:"HOST:PORT"`
	ObjectID  string `help:"User name for AUTH: the object ID of the identity." placeholder:"GUID" name:"object-id"`
}

func (c *healthcheckCmd) Run(ctx context.Context, std streams) error {
	pair, err := c.resolve()
	if err != nil {
		return err
	}
	addr, err := c.cacheAddr(pair.Cache)
	if err != nil {
		return usageError(err)
	}
	override(&pair.Entra.ObjectID, c.ObjectID)
	if err := c.missing(map[string]string{"--cache-addr": addr, "--object-id": pair.Entra.ObjectID}); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	token, err := pair.signIn(ctx)
	if err != nil {
		return err
	}
	if err := pair.ping(ctx, addr, token); err != nil {
		return nonconformant(fmt.Errorf("no answer from the cache at %s: %s", addr, strings.Join(strings.Fields(err.Error()), " ")))
	}
	_, err = fmt.Fprintln(std.out, "ok")
	return err
}

// cacheAddr is where to find the cache. The environment may say it for serve and for healthcheck at once; what serve listens on
// is then turned into what can be connected to.
func (c *healthcheckCmd) cacheAddr(cache readyCache) (string, error) {
	host, port := cache.Host, cache.Port
	if c.CacheAddr != "" {
		flagHost, flagPort, err := splitAddr("--cache-addr", c.CacheAddr)
		if err != nil {
			return "", err
		}
		host = reachable(flagHost)
		if flagPort != 0 {
			port = flagPort
		}
	}
	if host == "" || port == 0 {
		return "", nil
	}
	return net.JoinHostPort(host, strconv.Itoa(port)), nil
}

// ping signs in to the cache and asks for a sign of life, once: what is not well now is to be reported now.
func (r ready) ping(ctx context.Context, addr, token string) error {
	config, err := r.trust()
	if err != nil {
		return usageError(err)
	}
	// The library prints on stderr what it also returns.
	logging.Disable()
	client := redis.NewClient(&redis.Options{
		Addr: addr, Username: r.Entra.ObjectID, Password: token, TLSConfig: config,
		MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true, DisableIdentity: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	defer client.Close()
	return client.Ping(ctx).Err()
}
