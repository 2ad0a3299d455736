package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	driver "github.com/entracache/entracache/clients/go-driver"
	"github.com/redis/rueidis"
)

// describe sorts an error of rueidis' into the protocol's kinds. The order counts: an error of a later kind may be wrapped in an earlier one.
func describe(err error) *driver.Failure {
	f := &driver.Failure{Kind: "network", Message: err.Error(), Exception: fmt.Sprintf("%T", err)}
	var fromNetwork net.Error
	fromServer := new(rueidis.RedisError)
	switch {
	case errors.Is(err, rueidis.ErrClosing), errors.Is(err, net.ErrClosed):
		f.Kind = "closed"
	case errors.Is(err, rueidis.ErrNoCache):
		f.Kind = "config"
	case errors.As(err, &fromServer):
		f.Kind = "redis"
		f.Code, _, _ = strings.Cut(fromServer.Error(), " ")
		switch f.Code { // rueidis takes "ERR " off the text, and so off the "ERR WRONGPASS …" that Azure writes, too
		case "WRONGPASS", "NOAUTH":
			f.Kind = "auth"
		case strings.ToUpper(f.Code):
		default:
			f.Code = "ERR"
		}
		f.Exception = fmt.Sprintf("%T", fromServer)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &fromNetwork) && fromNetwork.Timeout():
		f.Kind = "timeout"
	}
	// What remains is io.EOF, a net.OpError or a certificate that cannot be verified: all network.
	return f
}
