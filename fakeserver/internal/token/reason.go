package token

import "fmt"

// Reason says in one word why a token was refused.
type Reason string

// The reasons, in the order in which they are looked for. No public source
// describes the order in which the service checks a token; this one goes from
// "is it a token at all" to "is it yours".
const (
	Malformed         Reason = "malformed-token"
	BadAlgorithm      Reason = "bad-algorithm"
	IssuerUnreachable Reason = "issuer-unreachable"
	UnknownKey        Reason = "unknown-key"
	BadSignature      Reason = "bad-signature"
	WrongTenant       Reason = "wrong-tenant"
	WrongIssuer       Reason = "wrong-issuer"
	WrongAudience     Reason = "wrong-audience"
	NotYetValid       Reason = "not-yet-valid"
	Expired           Reason = "token-expired"
	NoObjectID        Reason = "no-object-id"
	UsernameMismatch  Reason = "username-mismatch"
)

// Error is a refused token: the Reason for machines, Detail for people. It
// never holds the token itself.
type Error struct {
	Reason Reason
	Detail string
	Err    error // the cause, where there is one
}

func (e *Error) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("%s: %s: %v", e.Reason, e.Detail, e.Err)
	}
	return fmt.Sprintf("%s: %s", e.Reason, e.Detail)
}

func (e *Error) Unwrap() error { return e.Err }

func refuse(r Reason, format string, args ...any) *Error {
	return &Error{Reason: r, Detail: fmt.Sprintf(format, args...)}
}
