package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

type healthcheckCmd struct {
	pairFlags
	CacheAddr string        `help:"The cache's TLS port." placeholder:"HOST:PORT"`
	ObjectID  string        `help:"User name for AUTH: the object ID of the identity." placeholder:"GUID" name:"object-id"`
	Timeout   time.Duration `help:"Give up after this long." default:"5s" placeholder:"DURATION"`
}

// nonconformant marks a failure of what was asked about.
func nonconformant(err error) error {
	var coded *exitError
	if errors.As(err, &coded) {
		return err
	}
	return &exitError{exitNonconformant, err}
}

func (c *healthcheckCmd) Run(ctx context.Context, std streams) error {
	pair, err := c.resolve()
	if err != nil {
		return usageError(err)
	}
	if c.ObjectID != "" {
		pair.Entra.ObjectID = c.ObjectID
	}
	addr := c.CacheAddr
	if addr == "" {
		addr = net.JoinHostPort(pair.Cache.Host, strconv.Itoa(pair.Cache.Port))
	}
	if pair.Entra.ObjectID == "" || addr == ":0" {
		return usageError(errNoPair)
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	token, err := pair.signIn(ctx)
	if err != nil {
		return nonconformant(err)
	}
	config, err := pair.trust()
	if err != nil {
		return usageError(err)
	}
	client := redis.NewClient(&redis.Options{Addr: addr, Username: pair.Entra.ObjectID, Password: token, TLSConfig: config, MaxRetries: -1})
	defer client.Close()
	if err := client.Ping(ctx).Err(); err != nil {
		return nonconformant(fmt.Errorf("the cache at %s: %w", addr, err))
	}
	_, err = fmt.Fprintln(std.out, "ok")
	return err
}
