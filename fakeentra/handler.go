package fakeentra

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/google/uuid"
)

// Handler serves the issuer's endpoints, for mounting on a server of one's own.
// The addresses in discovery documents are those by which the client reached it:
// https when the connection is TLS or X-Forwarded-Proto says so, with the
// request's Host.
func (s *Server) Handler() http.Handler { return http.HandlerFunc(s.serve) }

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	if !s.handlers.enter() {
		panic(http.ErrAbortHandler) // closes the connection without an answer
	}
	defer s.handlers.leave()

	to := parsePath(r.URL.Path)
	x := &exchange{
		server:  s,
		w:       w,
		r:       r,
		route:   to,
		details: details{tenant: to.tenant, method: r.Method},
		record:  Request{Endpoint: to.endpoint, Path: redact(r.URL.Path), TenantID: redact(to.tenant)},
	}
	if s.outage.Load() {
		x.cutOff()
	}
	if to.endpoint == EndpointToken && !x.readForm() {
		return
	}
	if fault, ok := s.faults.take(to.endpoint); ok {
		x.fail(fault)
		return
	}
	switch to.endpoint {
	case EndpointToken:
		x.token()
	case EndpointJWKS:
		x.keys()
	case EndpointDiscovery:
		x.discovery()
	case EndpointInstance:
		x.instance()
	default:
		x.notFound()
	}
}

// route is what a path means.
type route struct {
	endpoint Endpoint
	tenant   string
	v2       bool
}

// parsePath tolerates doubled and trailing slashes and other letter case, which
// client libraries are known to send.
func parsePath(path string) route {
	segments := strings.FieldsFunc(path, func(c rune) bool { return c == '/' })
	if len(segments) < 2 {
		return route{endpoint: EndpointUnknown}
	}
	r := route{tenant: segments[0]}
	switch strings.ToLower(strings.Join(segments[1:], "/")) {
	case "discovery/instance":
		if !strings.EqualFold(r.tenant, "common") {
			return route{endpoint: EndpointUnknown}
		}
		r.endpoint = EndpointInstance
	case ".well-known/openid-configuration":
		r.endpoint = EndpointDiscovery
	case "v2.0/.well-known/openid-configuration":
		r.endpoint, r.v2 = EndpointDiscovery, true
	case "discovery/keys":
		r.endpoint = EndpointJWKS
	case "discovery/v2.0/keys":
		r.endpoint, r.v2 = EndpointJWKS, true
	case "oauth2/token":
		r.endpoint = EndpointToken
	case "oauth2/v2.0/token":
		r.endpoint, r.v2 = EndpointToken, true
	default:
		return route{endpoint: EndpointUnknown}
	}
	return r
}

// exchange is one request and its answer.
type exchange struct {
	server  *Server
	w       http.ResponseWriter
	r       *http.Request
	route   route
	form    tokenForm
	details details
	record  Request
}

// base is the address by which the client reached the issuer, so that what it is
// told to use next is reachable for it too, through whatever port mapping.
func (x *exchange) base() string {
	if x.r.Host == "" { // HTTP/1.0
		return x.server.url
	}
	if x.r.TLS == nil && !strings.EqualFold(x.r.Header.Get("X-Forwarded-Proto"), "https") {
		return "http://" + x.r.Host
	}
	return "https://" + x.r.Host
}

// answer logs the exchange and sends the body as JSON. The log comes first, so
// that nobody can use a token which is not in it yet.
func (x *exchange) answer(status int, outcome Outcome, body any) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(body); err != nil {
		panic(fmt.Sprintf("fakeentra: encode %T: %v", body, err)) // our own types always encode
	}
	if x.server.outage.Load() { // began while the answer was being made
		x.cutOff()
	}
	x.record.Status, x.record.Outcome = status, outcome
	x.server.log.add(x.record)

	h := x.w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	if x.route.endpoint == EndpointToken { // RFC 6749, section 5.1
		h.Set("Cache-Control", "no-store, no-cache")
		h.Set("Pragma", "no-cache")
	}
	x.w.WriteHeader(status)
	_, _ = x.w.Write(bytes.TrimSuffix(out.Bytes(), []byte("\n"))) // a client that has gone is its own business
}

func (x *exchange) ok(body any) { x.answer(http.StatusOK, OutcomeOK, body) }

// refuse answers with the error that belongs to the code.
func (x *exchange) refuse(code int) { x.refuseAs(code, refusals[code]) }

func (x *exchange) refuseAs(code int, r refusal) {
	x.sendError(OutcomeRefused, code, r)
}

func (x *exchange) sendError(outcome Outcome, code int, r refusal) {
	if code != 0 {
		x.record.Error = aadsts(code)
	}
	body := x.server.errorBody(code, r.kind, r.describe(x.details), uuid.NewString(), x.correlationID())
	x.answer(r.status, outcome, body)
}

func (x *exchange) fail(f Fault) {
	if v := f.retryAfter(); v != "" {
		x.w.Header().Set("Retry-After", v)
	}
	code, r := f.answer()
	x.sendError(OutcomeFault, code, r)
}

// correlationID is the client-request-id that MSAL sends as a header, a form
// field or a query parameter, so that a client's own log and the error match. No
// source that the service echoes each of these forms.
func (x *exchange) correlationID() string {
	const name = "client-request-id"
	for _, candidate := range []string{x.r.Header.Get(name), x.form.values.Get(name), x.r.URL.Query().Get(name)} {
		if id, err := parseGUID(candidate); err == nil {
			return id
		}
	}
	return uuid.NewString()
}

// cutOff ends the exchange without an answer.
func (x *exchange) cutOff() {
	x.record.Outcome, x.record.Token, x.record.Error = OutcomeOutage, nil, ""
	x.server.log.add(x.record)
	panic(http.ErrAbortHandler)
}

func (x *exchange) notFound() {
	x.record.Status, x.record.Outcome = http.StatusNotFound, OutcomeRefused
	x.server.log.add(x.record)
	http.Error(x.w, "fakeentra: expected /{tenant}/oauth2/v2.0/token, /{tenant}/v2.0/.well-known/openid-configuration, "+
		"/{tenant}/discovery/v2.0/keys, the same without v2.0, or /common/discovery/instance", http.StatusNotFound)
}

// tenant finds the tenant of the path.
func (x *exchange) tenant() *Tenant { return x.server.directory.tenant(x.route.tenant) }
