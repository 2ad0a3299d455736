package fakeentra

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jonboulle/clockwork"
)

// Endpoint is a part of the issuer that clients talk to.
type Endpoint string

const (
	// EndpointAny stands for every endpoint in a Fault.
	EndpointAny Endpoint = ""
	// EndpointToken issues tokens: /{tenant}/oauth2/token (v1.0) and
	// /{tenant}/oauth2/v2.0/token.
	EndpointToken Endpoint = "token"
	// EndpointJWKS publishes the signing keys: /{tenant}/discovery/keys and
	// /{tenant}/discovery/v2.0/keys.
	EndpointJWKS Endpoint = "jwks"
	// EndpointDiscovery serves the OpenID configuration of a tenant:
	// /{tenant}/.well-known/openid-configuration and
	// /{tenant}/v2.0/.well-known/openid-configuration.
	EndpointDiscovery Endpoint = "discovery"
	// EndpointInstance serves instance discovery: /common/discovery/instance.
	EndpointInstance Endpoint = "instance"
	// EndpointConnection is a connection that never got as far as a request.
	EndpointConnection Endpoint = "connection"
	// EndpointUnknown is a path that the issuer does not serve.
	EndpointUnknown Endpoint = "unknown"
)

// Outcome is how a request ended.
type Outcome string

const (
	// OutcomeOK: answered with what was asked for.
	OutcomeOK Outcome = "ok"
	// OutcomeRefused: answered with an error, as Entra would.
	OutcomeRefused Outcome = "refused"
	// OutcomeFault: answered with a failure that was set with Fail.
	OutcomeFault Outcome = "fault"
	// OutcomeOutage: cut off without an answer; see SetOutage.
	OutcomeOutage Outcome = "outage"
)

// Request is one entry of the request log. Secrets, assertions and tokens are
// never in it; a field in which a client sent its credential by mistake shows
// "[redacted]" in its place.
type Request struct {
	// Seq counts the log's entries from 1.
	Seq int64 `json:"seq"`
	// Time is when the request was answered, by the server's clock.
	Time     time.Time `json:"time"`
	Endpoint Endpoint  `json:"endpoint"`
	// Path is the path as sent, without the query.
	Path string `json:"path,omitempty"`
	// TenantID is the tenant of the path as sent, such as a GUID or "common".
	TenantID  string `json:"tenant_id,omitempty"`
	ClientID  string `json:"client_id,omitempty"`
	GrantType string `json:"grant_type,omitempty"`
	// Scope (v2.0) and Resource (v1.0) are as sent.
	Scope    string  `json:"scope,omitempty"`
	Resource string  `json:"resource,omitempty"`
	Outcome  Outcome `json:"outcome"`
	// Status is the HTTP status; 0 when there was no answer.
	Status int `json:"status,omitempty"`
	// Error is the AADSTS code of a refusal or fault, such as "AADSTS7000215".
	Error string `json:"error,omitempty"`
	// Token describes the token that was issued, if any.
	Token *TokenInfo `json:"token,omitempty"`
}

const (
	redacted = "[redacted]"
	// minCredential keeps a "secret" of a letter or two, which is none, from being
	// blanked out of every other word.
	minCredential = 8
	// maxLogged bounds what a hostile client can make the log keep of one field.
	maxLogged = 512
)

// requestLog is append-only: an entry never changes once it is in.
type requestLog struct {
	clock clockwork.Clock

	mu      sync.Mutex
	entries []Request
	changed chan struct{} // closed when an entry is added
}

func newRequestLog(clock clockwork.Clock) *requestLog {
	return &requestLog{clock: clock, changed: make(chan struct{})}
}

func (l *requestLog) add(r Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.Seq = int64(len(l.entries)) + 1
	r.Time = l.clock.Now()
	l.entries = append(l.entries, r)
	close(l.changed)
	l.changed = make(chan struct{})
}

// since returns the entries after the first n, and a channel that is closed when
// there are more.
func (l *requestLog) since(n int) ([]Request, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.entries[n:len(l.entries):len(l.entries)], l.changed
}

// Requests returns the log so far, oldest first. A request is in the log before
// its client has the answer.
func (s *Server) Requests() []Request {
	entries, _ := s.log.since(0)
	return slices.Clone(entries)
}

// WaitRequest returns the first request, past or coming, that match accepts. It
// returns the context's error if there is none before the context is done.
// match is called once per request, in order, from the calling goroutine.
func (s *Server) WaitRequest(ctx context.Context, match func(Request) bool) (Request, error) {
	seen := 0
	for {
		entries, changed := s.log.since(seen)
		for _, r := range entries {
			if match(r) {
				return r, nil
			}
		}
		seen += len(entries)
		select {
		case <-changed:
		case <-ctx.Done():
			return Request{}, ctx.Err()
		}
	}
}

// redact takes the credentials that came with a request out of what is about to
// be logged, and bounds its length.
func redact(s string, credentials ...string) string {
	for _, c := range credentials {
		if len(c) >= minCredential {
			s = strings.ReplaceAll(s, c, redacted)
		} else if c != "" && c == s {
			s = redacted
		}
	}
	if len(s) > maxLogged {
		s = strings.ToValidUTF8(s[:maxLogged], "") + "…"
	}
	return s
}
