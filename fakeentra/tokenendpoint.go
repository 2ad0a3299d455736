package fakeentra

import (
	"io"
	"net/http"
	"net/url"
	"strconv"
)

// maxForm is far above any real request: one with a certificate chain in its
// assertion is about 10 KiB.
const maxForm = 1 << 20

const grantClientCredentials = "client_credentials"

// tokenForm is a token request as it was sent.
type tokenForm struct {
	values       url.Values
	clientID     string
	clientSecret string
	assertion    string
}

// readForm reads the request into x.form and into the log's record. It reports
// false when it has refused the request.
//
// Only the body counts, whatever its Content-Type: a grant_type in the query is
// not seen (microsoftgraph/microsoft-graph-docs#9207), and a JSON body is a form
// without known fields (microsoftgraph/microsoft-graph-docs-contrib#1369).
func (x *exchange) readForm() bool {
	body, err := io.ReadAll(http.MaxBytesReader(x.w, x.r.Body, maxForm))
	if err == nil {
		x.form.values, err = url.ParseQuery(string(body))
	}
	if err != nil {
		x.refuse(codeMalformedRequest)
		return false
	}
	f := &x.form
	f.clientID, f.clientSecret = f.values.Get("client_id"), f.values.Get("client_secret")
	f.assertion = f.values.Get("client_assertion")
	if id, secret, ok := x.r.BasicAuth(); ok {
		// The two are form-encoded before they are joined (RFC 6749, section 2.3.1).
		if f.clientID == "" {
			f.clientID = formDecoded(id)
		}
		if f.clientSecret == "" {
			f.clientSecret = formDecoded(secret)
		}
	}

	loggable := func(s string) string { return redact(s, f.clientSecret, f.assertion) }
	x.record.ClientID = loggable(f.clientID)
	x.record.GrantType = loggable(f.values.Get("grant_type"))
	x.record.Scope = loggable(f.values.Get("scope"))
	x.record.Resource = loggable(f.values.Get("resource"))
	x.record.Path = loggable(x.r.URL.Path)
	x.record.TenantID = loggable(x.route.tenant)

	x.details.client = f.clientID
	x.details.grant = f.values.Get("grant_type")
	x.details.scope = f.values.Get("scope")
	return true
}

func formDecoded(s string) string {
	if plain, err := url.QueryUnescape(s); err == nil {
		return plain
	}
	return s
}

// token answers a token request. The order of the checks has no source: the
// documentation does not say which error a request with two mistakes gets.
func (x *exchange) token() {
	if x.r.Method != http.MethodPost {
		x.refuse(codePostOnly)
		return
	}
	tenant := x.tenant()
	if tenant == nil {
		x.refuse(codeUnknownTenant)
		return
	}
	if missing := x.missingParameter(); missing != "" {
		x.details.parameter = missing
		x.refuse(codeMissingParameter)
		return
	}
	if x.form.values.Get("grant_type") != grantClientCredentials {
		x.refuse(codeUnsupportedGrant)
		return
	}
	app := tenant.app(x.form.clientID)
	if app == nil {
		x.refuse(codeUnknownApp)
		return
	}
	if code := x.authenticate(app); code != 0 {
		x.refuse(code)
		return
	}
	audience, code := x.audience(tenant)
	if code != 0 {
		x.refuse(code)
		return
	}
	issued, err := x.server.issue(app, audience, app.Defect())
	if err != nil {
		x.internalError(err)
		return
	}
	x.record.Token = &issued.info
	x.ok(x.tokenBody(issued))
}

// missingParameter names the first required parameter that is not there. That a
// v1.0 request without a resource is refused has no source.
func (x *exchange) missingParameter() string {
	target := "resource"
	if x.route.v2 {
		target = "scope"
	}
	switch {
	case x.form.values.Get("grant_type") == "":
		return "grant_type"
	case x.form.clientID == "":
		return "client_id"
	case x.form.values.Get(target) == "":
		return target
	}
	return ""
}

// authenticate returns 0, or the code to refuse the client with. No application
// has a certificate or a federated credential, so an assertion is never valid.
func (x *exchange) authenticate(app *App) int {
	switch {
	case x.form.clientSecret == "" && x.form.assertion == "":
		return codeMissingCredential
	case x.form.clientSecret == "":
		return codeBadAssertion
	case x.form.clientSecret != app.ClientSecret:
		return codeBadSecret
	}
	return 0
}

// audience returns the aud of the token that was asked for, or the code to
// refuse the request with.
func (x *exchange) audience(tenant *Tenant) (string, int) {
	identifier := x.form.values.Get("resource")
	if x.route.v2 {
		var failed int
		if identifier, failed = requestedResource(x.form.values.Get("scope")); failed != 0 {
			return "", failed
		}
	}
	found, ok := findResource(x.server.resources, identifier)
	if !ok {
		x.details.resource, x.details.tenant = identifier, tenant.ID
		return "", codeUnknownResource
	}
	return found.audience(x.server.cfg.audience, identifier), 0
}

type tokenV1 struct {
	TokenType    string `json:"token_type"`
	ExpiresIn    string `json:"expires_in"`
	ExtExpiresIn string `json:"ext_expires_in"`
	ExpiresOn    string `json:"expires_on"`
	NotBefore    string `json:"not_before"`
	Resource     string `json:"resource"`
	AccessToken  string `json:"access_token"`
}

type tokenV2 struct {
	TokenType    string `json:"token_type"`
	ExpiresIn    int64  `json:"expires_in"`
	ExtExpiresIn int64  `json:"ext_expires_in"`
	AccessToken  string `json:"access_token"`
}

// tokenBody differs by endpoint: v1.0 has every number as a string and repeats
// the resource (stored answers of the service), v2.0 has numbers (Entra
// documentation, "OAuth 2.0 client credentials flow").
func (x *exchange) tokenBody(t issuedToken) any {
	if x.route.v2 {
		return tokenV2{TokenType: "Bearer", ExpiresIn: t.expiresIn, ExtExpiresIn: t.expiresIn, AccessToken: t.token}
	}
	text := func(n int64) string { return strconv.FormatInt(n, 10) }
	return tokenV1{
		TokenType:    "Bearer",
		ExpiresIn:    text(t.expiresIn),
		ExtExpiresIn: text(t.expiresIn),
		ExpiresOn:    text(t.expires.Unix()),
		NotBefore:    text(t.notBefore.Unix()),
		Resource:     x.form.values.Get("resource"),
		AccessToken:  t.token,
	}
}
