package driver

import (
	"errors"
	"fmt"
)

// Failure is an error in the protocol's terms.
type Failure struct {
	Kind      string `json:"kind"`
	Message   string `json:"message"`
	Code      string `json:"code,omitempty"`
	Exception string `json:"exception,omitempty"`
}

// UnsupportedError says that the driver does not know what was asked for.
type UnsupportedError struct{ What, Name string }

func (e *UnsupportedError) Error() string { return fmt.Sprintf("unsupported %s %q", e.What, e.Name) }

// ConfigError is something wrong with a request that has not reached the library's network code.
type ConfigError struct{ Err error }

func (e *ConfigError) Error() string { return e.Err.Error() }
func (e *ConfigError) Unwrap() error { return e.Err }

// TokenError says that no token could be had, so that this can be told from errors of the library's own.
type TokenError struct{ Err error }

func (e *TokenError) Error() string { return "get a Microsoft Entra token: " + e.Err.Error() }
func (e *TokenError) Unwrap() error { return e.Err }

// OpenError is what went wrong when a library connected while its client was made: it is judged like the error of a command.
type OpenError struct{ Err error }

func (e *OpenError) Error() string { return e.Err.Error() }
func (e *OpenError) Unwrap() error { return e.Err }

// errUnknownClient answers a request for a client that is not, or no longer, open.
var errUnknownClient = errors.New("no client of this name is open")

// FailureOf sorts an error into the protocol's kinds. The order counts: an error of a later kind may be wrapped in an earlier one.
func (l Library) FailureOf(err error) *Failure {
	f := &Failure{Message: err.Error(), Exception: fmt.Sprintf("%T", err)}
	var (
		noToken     *TokenError
		unsupported *UnsupportedError
		config      *ConfigError
	)
	switch {
	case errors.As(err, &unsupported):
		f.Kind = "unsupported"
	case errors.Is(err, errUnknownClient):
		f.Kind = "closed"
	case errors.As(err, &config):
		f.Kind = "config"
		f.Exception = fmt.Sprintf("%T", config.Err)
	case errors.As(err, &noToken):
		f.Kind = "token"
		f.Exception = fmt.Sprintf("%T", noToken.Err)
	default:
		return l.Describe(err)
	}
	return f
}
