package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	driver "github.com/entracache/entracache/clients/go-driver"
	"github.com/redis/go-redis/v9"
)

// describe sorts an error of go-redis' into the protocol's kinds. The order counts: an error of a later kind may be wrapped in an earlier one.
func describe(err error) *driver.Failure {
	f := &driver.Failure{Kind: "network", Message: err.Error(), Exception: fmt.Sprintf("%T", err)}
	var (
		fromServer  redis.Error
		fromNetwork net.Error
	)
	switch {
	case errors.Is(err, redis.ErrClosed), errors.Is(err, net.ErrClosed):
		f.Kind = "closed"
	case errors.As(err, &fromServer):
		f.Kind = "redis"
		// Azure writes "ERR WRONGPASS …", which IsAuthError does not know; HasErrorPrefix skips the ERR.
		if redis.IsAuthError(err) || redis.HasErrorPrefix(err, "WRONGPASS") || redis.HasErrorPrefix(err, "NOAUTH") {
			f.Kind = "auth"
		}
		f.Code, _, _ = strings.Cut(fromServer.Error(), " ")
		f.Exception = fmt.Sprintf("%T", fromServer)
	case errors.Is(err, redis.ErrPoolTimeout), errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded),
		errors.As(err, &fromNetwork) && fromNetwork.Timeout():
		f.Kind = "timeout"
	}
	// What remains is io.EOF, a net.OpError, a certificate that cannot be verified, or a reply that go-redis cannot read: all network.
	return f
}
