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
func (s *Server) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, parsePath(r.URL.Path)) })
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request, to route) {
	if !s.handlers.enter() {
		panic(http.ErrAbortHandler) // closes the connection without an answer
	}
	defer s.handlers.leave()

	x := &exchange{
		server:  s,
		w:       w,
		r:       r,
		route:   to,
		details: details{tenant: to.tenant, method: r.Method},
		record:  Request{Endpoint: to.endpoint, Path: r.URL.Path, TenantID: to.tenant, Source: to.source},
	}
	if s.outage.Load() {
		x.cutOff()
	}
	if !x.read() {
		return
	}
	if to.endpoint == EndpointManagedIdentity && !x.readIdentityRequest() {
		return
	}
	if fault, ok := s.faults.take(&x.record); ok && !x.suffer(fault) {
		return
	}
	if name := x.duplicate(); name != "" {
		x.details.parameter = name
		x.refuse(codeDuplicate)
		return
	}
	switch to.endpoint {
	case EndpointToken:
		x.token()
	case EndpointAuthorize:
		x.authorize()
	case EndpointDeviceCode:
		x.deviceCode()
	case EndpointDevicePage:
		x.devicePage()
	case EndpointUserRealm:
		x.userRealm()
	case EndpointJWKS:
		x.keys()
	case EndpointDiscovery:
		x.discovery()
	case EndpointInstance:
		x.instance()
	case EndpointManagedIdentity:
		x.managedIdentity()
	default:
		x.notFound()
	}
}

// read reads what the request says beside its path. It reports false when it has
// refused the request.
func (x *exchange) read() bool {
	switch x.route.endpoint {
	case EndpointToken, EndpointDeviceCode:
		return x.readForm()
	case EndpointAuthorize, EndpointDevicePage:
		return x.readQuery()
	}
	return true
}

// duplicate names a parameter that came more than once, where Entra refuses that:
// not on this issuer's own page. That it does so for a parameter that it does not
// know has no source.
func (x *exchange) duplicate() string {
	if x.route.endpoint == EndpointDevicePage {
		return ""
	}
	first := ""
	for name, values := range x.form.values {
		if len(values) > 1 && (first == "" || name < first) {
			first = name
		}
	}
	return first
}

// route is what a path means.
type route struct {
	endpoint Endpoint
	tenant   string
	v2       bool
	user     string         // whose realm is asked for
	source   IdentitySource // of a managed identity request
	expected string         // for an unknown endpoint: the paths there are, if not those of the issuer
}

// parsePath tolerates doubled and trailing slashes and other letter case, which
// client libraries are known to send.
func parsePath(path string) route {
	if to, ok := parseIdentityPath(path, issuerIdentityPaths); ok {
		return to // the one source that is asked over TLS
	}
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
	case "oauth2/authorize":
		r.endpoint = EndpointAuthorize
	case "oauth2/v2.0/authorize":
		r.endpoint, r.v2 = EndpointAuthorize, true
	case "oauth2/devicecode":
		r.endpoint = EndpointDeviceCode
	case "oauth2/v2.0/devicecode":
		r.endpoint, r.v2 = EndpointDeviceCode, true
	case "oauth2/deviceauth":
		r.endpoint = EndpointDevicePage
	default:
		if len(segments) == 3 && strings.EqualFold(segments[1], "userrealm") {
			r.endpoint, r.user = EndpointUserRealm, segments[2]
			break
		}
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
	asked   identityRequest // of a managed identity
	fault   *FaultHandle    // that spoils the answer which is being made
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
	x.send(status, outcome, "application/json; charset=utf-8", bytes.TrimSuffix(out.Bytes(), []byte("\n")))
}

// send logs the exchange and sends its answer.
func (x *exchange) send(status int, outcome Outcome, contentType string, body []byte) {
	if x.server.outage.Load() { // began while the answer was being made
		x.cutOff()
	}
	if x.fault != nil && x.fault.fault.Action == FaultTruncate {
		body, outcome = body[:len(body)/2], OutcomeFault
		x.record.Token = nil // nobody gets it
	}
	x.record.Status, x.record.Outcome = status, outcome
	x.log()

	h := x.w.Header()
	h.Set("Content-Type", contentType)
	if x.route.endpoint == EndpointToken || x.route.endpoint == EndpointDeviceCode { // RFC 6749, section 5.1
		h.Set("Cache-Control", "no-store, no-cache")
		h.Set("Pragma", "no-cache")
	}
	x.w.WriteHeader(status)
	_, _ = x.w.Write(body) // a client that has gone is its own business
}

func (x *exchange) ok(body any) { x.answer(http.StatusOK, OutcomeOK, body) }

// refuse answers with the error that belongs to the code.
func (x *exchange) refuse(code int) { x.refuseAs(code, refusals[code]) }

func (x *exchange) refuseAs(code int, r refusal) {
	x.sendError(OutcomeRefused, code, r)
}

func (x *exchange) sendError(outcome Outcome, code int, r refusal) {
	x.answer(r.status, outcome, x.errorBody(code, r))
}

// errorBody is what a refusal says, which the record notes too.
func (x *exchange) errorBody(code int, r refusal) errorBody {
	if code < 0 {
		code = r.code
	}
	x.record.Error = r.kind
	if code != 0 {
		x.record.Error = aadsts(code)
	}
	return x.server.errorBody(code, r.kind, r.describe(x.details), uuid.NewString(), x.correlationID())
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
	x.log()
	panic(http.ErrAbortHandler)
}

func (x *exchange) notFound() {
	x.record.Status, x.record.Outcome = http.StatusNotFound, OutcomeRefused
	x.log()
	if x.route.expected != "" {
		http.Error(x.w, "fakeentra: expected "+x.route.expected, http.StatusNotFound)
		return
	}
	http.Error(x.w, "fakeentra: expected /{tenant}/oauth2/v2.0/token, /{tenant}/v2.0/.well-known/openid-configuration, "+
		"/{tenant}/discovery/v2.0/keys, the same without v2.0, or /common/discovery/instance", http.StatusNotFound)
}

// tenant finds the tenant of the path.
func (x *exchange) tenant() *Tenant { return x.server.directory.tenant(x.route.tenant) }
