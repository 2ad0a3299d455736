package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/big"
	"net"
	"os"
	"strings"

	"github.com/redis/go-redis/v9"
)

type reply struct {
	Type  string `json:"type"`
	Value any    `json:"value"`
}

// toReply describes what go-redis' Do returns. go-redis tells neither a simple from a bulk or verbatim string nor a set from an array.
func toReply(v any) reply {
	switch v := v.(type) {
	case nil:
		return reply{"null", nil}
	case string:
		return reply{"bulk", v}
	case int64:
		return reply{"integer", v}
	case *big.Int:
		return reply{"integer", v}
	case bool:
		return reply{"boolean", v}
	case float64:
		if math.IsInf(v, 0) || math.IsNaN(v) {
			return reply{"double", strings.ToLower(strings.TrimPrefix(fmt.Sprint(v), "+"))} // JSON has no number for these
		}
		return reply{"double", v}
	case []any:
		items := make([]reply, len(v))
		for i, item := range v {
			items[i] = toReply(item)
		}
		return reply{"array", items}
	case map[any]any:
		pairs := make([][2]reply, 0, len(v))
		for key, value := range v {
			pairs = append(pairs, [2]reply{toReply(key), toReply(value)})
		}
		return reply{"map", pairs}
	case error:
		return reply{"error", v.Error()}
	default:
		return reply{"bulk", fmt.Sprint(v)}
	}
}

type failure struct {
	Kind      string `json:"kind"`
	Message   string `json:"message"`
	Code      string `json:"code,omitempty"`
	Exception string `json:"exception,omitempty"`
}

type unsupportedError struct{ what, name string }

func (e *unsupportedError) Error() string { return fmt.Sprintf("unsupported %s %q", e.what, e.name) }

// configError is something wrong with a request that has not reached the library's network code.
type configError struct{ error }

func (e configError) Unwrap() error { return e.error }

// errUnknownClient answers a request for a client that is not, or no longer, open.
var errUnknownClient = errors.New("no client of this name is open")

// toFailure sorts an error into the protocol's kinds. The order counts: an error of a later kind may be wrapped in an earlier one.
func toFailure(err error) *failure {
	f := &failure{Kind: "network", Message: err.Error(), Exception: fmt.Sprintf("%T", err)}
	var (
		fromServer  redis.Error
		fromNetwork net.Error
		noToken     *tokenError
		unsupported *unsupportedError
		config      configError
	)
	switch {
	case errors.As(err, &unsupported):
		f.Kind = "unsupported"
	case errors.As(err, &config):
		f.Kind = "config"
		f.Exception = fmt.Sprintf("%T", config.error)
	case errors.Is(err, errUnknownClient), errors.Is(err, redis.ErrClosed), errors.Is(err, net.ErrClosed):
		f.Kind = "closed"
	case errors.As(err, &noToken):
		f.Kind = "token"
		f.Exception = fmt.Sprintf("%T", noToken.err)
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
