package fakeentra

import (
	"cmp"
	"context"
	"regexp"
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
	// EndpointAuthorize signs a user in and sends a code to the application:
	// /{tenant}/oauth2/authorize and /{tenant}/oauth2/v2.0/authorize.
	EndpointAuthorize Endpoint = "authorize"
	// EndpointDeviceCode begins a sign-in on another device:
	// /{tenant}/oauth2/devicecode and /{tenant}/oauth2/v2.0/devicecode.
	EndpointDeviceCode Endpoint = "device-code"
	// EndpointDevicePage is the page where a person enters a device code:
	// /common/oauth2/deviceauth.
	EndpointDevicePage Endpoint = "device-page"
	// EndpointUserRealm tells who checks a user's password:
	// /common/UserRealm/{user}.
	EndpointUserRealm Endpoint = "user-realm"
	// EndpointJWKS publishes the signing keys: /{tenant}/discovery/keys and
	// /{tenant}/discovery/v2.0/keys.
	EndpointJWKS Endpoint = "jwks"
	// EndpointDiscovery serves the OpenID configuration of a tenant:
	// /{tenant}/.well-known/openid-configuration and
	// /{tenant}/v2.0/.well-known/openid-configuration.
	EndpointDiscovery Endpoint = "discovery"
	// EndpointInstance serves instance discovery: /common/discovery/instance.
	EndpointInstance Endpoint = "instance"
	// EndpointManagedIdentity issues tokens to the managed identities of the
	// machine; see MetadataURL.
	EndpointManagedIdentity Endpoint = "managed-identity"
	// EndpointProxy is the forward proxy: a tunnel that was asked for, or a request
	// that the proxy refused. What comes through the proxy and is answered has an
	// entry under the endpoint that answered it.
	EndpointProxy Endpoint = "proxy"
	// EndpointLog is not an endpoint but a note of the log about itself; see
	// OutcomeGap.
	EndpointLog Endpoint = "log"
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
	// OutcomeGap: the entries up to and including this Seq are no longer kept; see
	// WithRequestLogLimit.
	OutcomeGap Outcome = "gap"
	// OutcomeOutage: cut off without an answer; see SetOutage.
	OutcomeOutage Outcome = "outage"
)

// Request is one entry of the request log. Secrets, passwords, assertions, codes and
// tokens are never in it; a field in which a client sent one by mistake shows
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
	// Credential is how the client proved who it is, or tried to; empty if the
	// request was refused before that mattered.
	Credential Credential `json:"credential,omitempty"`
	// CredentialID names the credential: a secret's ID, a certificate's thumbprint or
	// a federated credential's name. It is empty for one that nobody has.
	CredentialID string `json:"credential_id,omitempty"`
	// UserID is the object ID of the user who signs in.
	UserID string `json:"user_id,omitempty"`
	// Scope (v2.0) and Resource (v1.0) are as sent.
	Scope    string  `json:"scope,omitempty"`
	Resource string  `json:"resource,omitempty"`
	Outcome  Outcome `json:"outcome"`
	// Status is the HTTP status; 0 when there was no answer.
	Status int `json:"status,omitempty"`
	// Error is the AADSTS code of a refusal or fault, such as "AADSTS7000215", or the
	// OAuth error of one without a code, such as "slow_down".
	Error string `json:"error,omitempty"`
	// Token describes the token that was issued, if any.
	Token *TokenInfo `json:"token,omitempty"`
	// Source is how a managed identity was asked for.
	Source IdentitySource `json:"source,omitempty"`
	// Cached tells that Token was not made for this request but answered from the
	// cache of the managed identity endpoint.
	Cached bool `json:"cached,omitempty"`
	// Dropped is how many entries are missing up to here; set in a gap only.
	Dropped int64 `json:"dropped,omitempty"`
}

const (
	redacted = "[redacted]"
	// minCredential keeps a "secret" of a letter or two, which is none, from being
	// blanked out of every other word.
	minCredential = 8
	// maxLogged bounds what a hostile client can make the log keep of one field.
	maxLogged = 512
)

// requestLog is append-only: an entry never changes once it is in. Once there are
// too many the oldest go, and a gap stands in their place.
type requestLog struct {
	clock clockwork.Clock
	limit int // 0 for none

	mu      sync.Mutex
	entries []Request
	last    int64         // Seq of the newest entry
	changed chan struct{} // closed when an entry is added
}

func newRequestLog(clock clockwork.Clock, limit int) *requestLog {
	return &requestLog{clock: clock, limit: limit, changed: make(chan struct{})}
}

func (l *requestLog) add(r Request) {
	for _, field := range r.texts() {
		*field = clip(*field)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last++
	r.Seq = l.last
	r.Time = l.clock.Now()
	l.entries = append(l.entries, r)
	if l.limit > 0 && len(l.entries) > l.limit {
		l.trim()
	}
	close(l.changed)
	l.changed = make(chan struct{})
}

// trim makes room for a quarter of the limit, so that not every entry copies the
// log. The copy leaves alone what readers hold.
func (l *requestLog) trim() {
	keep := l.entries[len(l.entries)-(l.limit-l.limit/4):]
	end := keep[0].Seq - 1
	gap := Request{
		Seq:      end,
		Time:     l.entries[len(l.entries)-len(keep)-1].Time,
		Endpoint: EndpointLog,
		Outcome:  OutcomeGap,
		Dropped:  end,
	}
	l.entries = append(append(make([]Request, 0, l.limit+1), gap), keep...)
}

// since returns the entries after seq, and a channel that is closed when there
// are more.
func (l *requestLog) since(seq int64) ([]Request, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	first, _ := slices.BinarySearchFunc(l.entries, seq+1, func(r Request, wanted int64) int { return cmp.Compare(r.Seq, wanted) })
	return l.entries[first:len(l.entries):len(l.entries)], l.changed
}

// Requests returns the log so far, oldest first. A request is in the log before
// its client has the answer.
func (s *Server) Requests() []Request { return s.RequestsSince(0) }

// RequestsSince returns the entries of the log with a Seq above seq, oldest
// first. If some of them are no longer kept, the first is a gap (OutcomeGap) that
// says how far the log is missing.
func (s *Server) RequestsSince(seq int64) []Request {
	entries, _ := s.log.since(seq)
	return slices.Clone(entries)
}

// WaitRequest returns the first request, past or coming, that match accepts. It
// returns the context's error if there is none before the context is done.
// match is called once per request, in order, from the calling goroutine; a gap
// in the log is handed to it like a request.
func (s *Server) WaitRequest(ctx context.Context, match func(Request) bool) (Request, error) {
	seen := int64(0)
	for {
		entries, changed := s.log.since(seen)
		for _, r := range entries {
			if match(r) {
				return r, nil
			}
			seen = r.Seq
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return Request{}, ctx.Err()
		}
	}
}

// log adds the exchange to the request log. What a client sent as its credential is
// taken out of every field. Unless all went well, when everything that is noted is
// something that was looked for and found, so is whatever else is a credential: a
// client may have taken one field for another, or sent somebody else's.
func (x *exchange) log() {
	secrets := append(x.form.credentials(), x.asked.secret)
	var known *regexp.Regexp
	if x.record.Outcome != OutcomeOK || x.route.endpoint == EndpointUserRealm { // whose path is the client's
		secrets, known = append(secrets, x.server.secrets()...), credentialForms
	}
	// The longest first, of which another may be a part.
	slices.SortFunc(secrets, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	for _, field := range x.record.texts() {
		*field = redact(*field, secrets)
		if known != nil {
			*field = known.ReplaceAllLiteralString(*field, redacted)
		}
	}
	x.server.log.add(x.record)
}

// credentialForms are the forms of what this issuer gives out or is signed in with:
// JWTs, its own codes and refresh tokens, and every secret that it has made up.
var credentialForms = regexp.MustCompile(secretPrefix + `[\w-]+|eyJ[\w-]{8,}(\.[\w=-]*)+|1\.A[\w-]{40,}`)

// secrets are all secrets and passwords that somebody has.
func (s *Server) secrets() []string {
	secrets := []string{s.cfg.identityHeader}
	for _, t := range s.directory.all() {
		for _, app := range t.Apps() {
			for _, secret := range app.Secrets() {
				secrets = append(secrets, secret.Value)
			}
		}
		for _, u := range t.Users() {
			secrets = append(secrets, u.Password)
		}
	}
	return secrets
}

// texts are the fields that have something of the client's in them.
func (r *Request) texts() []*string {
	return []*string{&r.Path, &r.TenantID, &r.ClientID, &r.GrantType, &r.Scope, &r.Resource, &r.Error}
}

func redact(s string, secrets []string) string {
	for _, secret := range secrets {
		if len(secret) >= minCredential {
			s = strings.ReplaceAll(s, secret, redacted)
		} else if secret != "" && secret == s {
			s = redacted
		}
	}
	return s
}

// clip bounds what is kept of a text.
func clip(s string) string {
	if len(s) > maxLogged {
		s = strings.ToValidUTF8(s[:maxLogged], "") + "…"
	}
	return s
}
