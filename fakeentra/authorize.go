package fakeentra

import (
	"bytes"
	"cmp"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/google/uuid"
)

// checkRedirectURI is for a URI that an application is registered with.
func checkRedirectURI(uri string) error {
	u, err := url.Parse(uri)
	if err != nil || !u.IsAbs() || u.Fragment != "" || u.Host == "" && u.Opaque == "" {
		return fmt.Errorf("redirect URI: expected an absolute URI without a fragment, got %q", uri)
	}
	return nil
}

// redirectAllowed compares a redirect URI with those of the application. A
// loopback address counts with any port.
func (a *App) redirectAllowed(uri string) bool {
	if slices.Contains(a.redirectURIs, uri) {
		return true
	}
	asked, err := url.Parse(uri)
	if err != nil || asked.Scheme != "http" || !onThisMachine(asked.Hostname()) {
		return false
	}
	return slices.ContainsFunc(a.redirectURIs, func(registered string) bool {
		u, err := url.Parse(registered)
		return err == nil && u.Scheme == asked.Scheme && strings.EqualFold(u.Hostname(), asked.Hostname()) &&
			strings.Trim(u.Path, "/") == strings.Trim(asked.Path, "/")
	})
}

// authorize signs a user in without asking: the one whom login_hint names, or the
// one who has a session (see Tenant.SignIn), and sends a code to the redirect URI.
// Only if neither says who it is does a page ask. Consent is taken as given.
//
// What is wrong with the client or the redirect URI is told to whoever asked, in
// JSON where the service has a page; everything else goes to the redirect URI
// (RFC 6749, section 4.1.2.1).
func (x *exchange) authorize() {
	tenant := x.tenant()
	if tenant == nil && x.anyTenant() {
		tenant = x.server.tenantOf(x.param("login_hint"))
	}
	switch {
	case tenant == nil && x.anyTenant():
		x.refuse(codeNoTenant)
		return
	case tenant == nil:
		x.refuse(codeUnknownTenant)
		return
	}
	x.details.tenant = tenant.ID
	if missing := x.missingParameter([]string{"client_id", "response_type", "redirect_uri", x.targetName()}); missing != "" {
		x.details.parameter = missing
		x.refuse(codeMissingParameter)
		return
	}
	app := tenant.app(x.form.clientID)
	if app == nil {
		x.refuse(codeUnknownApp)
		return
	}
	if x.details.redirect = x.param("redirect_uri"); !app.redirectAllowed(x.details.redirect) {
		x.refuse(codeUnknownRedirect)
		return
	}
	mode := x.param("response_mode")
	if mode == "" {
		mode = "query"
	}
	if !slices.Contains([]string{"query", "fragment", "form_post"}, mode) {
		x.refuse(codeResponseMode)
		return
	}
	if x.param("response_type") != "code" {
		x.redirectError(mode, codeResponseType)
		return
	}
	t, code := x.target(tenant.ID)
	if code == 0 {
		code = checkChallenge(x.param("code_challenge"), x.param("code_challenge_method"))
	}
	if code != 0 {
		x.redirectError(mode, code)
		return
	}

	user, hint := tenant.sessionUser(), x.param("login_hint")
	if hint != "" {
		user = tenant.user(hint)
	}
	switch {
	case user == nil && x.param("prompt") == "none":
		x.redirectError(mode, codeNoSession)
		return
	case user == nil:
		x.choose(page{Title: "Sign in to " + app.Name, Fields: x.form.values, Choice: "login_hint", Users: tenant.Users()}, http.MethodGet)
		return
	case user.Disabled():
		x.redirectError(mode, codeUserDisabled)
		return
	}
	x.record.UserID = user.ObjectID
	x.redirect(mode, OutcomeOK, url.Values{"code": {x.server.codes.put(codeGrant{
		signIn: signIn{
			TenantID: tenant.ID,
			ClientID: app.ClientID,
			UserID:   user.ObjectID,
			Target:   t,
			Any:      x.anyTenant(),
			Granted:  x.server.now(),
			Nonce:    x.param("nonce"),
		},
		redirectURI:     x.details.redirect,
		challenge:       x.param("code_challenge"),
		challengeMethod: x.param("code_challenge_method"),
		expires:         x.server.now().Add(codeLifetime),
	}, x.server.now())}, "session_state": {uuid.NewString()}})
}

// tenantOf is the tenant for somebody who signs in without naming one: that of the
// user's domain, or the default one.
func (s *Server) tenantOf(hint string) *Tenant {
	if _, domain, ok := strings.Cut(hint, "@"); ok {
		return s.directory.tenant(domain)
	}
	return s.tenant
}

// checkChallenge follows RFC 7636. AADSTS501491 is the code for a challenge of the
// wrong size, AADSTS50149 for another method (list of error codes).
func checkChallenge(challenge, method string) int {
	switch {
	case challenge == "" && method == "":
		return 0
	case method != "" && method != "plain" && method != "S256":
		return codeChallengeMethod
	case len(challenge) < 43 || len(challenge) > 128:
		return codeChallengeSize
	}
	return 0
}

// redirectError sends a refusal to the redirect URI.
func (x *exchange) redirectError(mode string, code int) {
	body := x.errorBody(code, refusals[code])
	values := url.Values{
		"error":             {cmp.Or(refusals[code].redirectKind, body.Error)},
		"error_description": {body.Description},
	}
	if body.URI != "" {
		values.Set("error_uri", body.URI)
	}
	x.redirect(mode, OutcomeRefused, values)
}

// redirect sends the answer to the redirect URI in the mode that was asked for.
func (x *exchange) redirect(mode string, outcome Outcome, values url.Values) {
	if state := x.param("state"); state != "" {
		values.Set("state", state)
	}
	if mode == "form_post" {
		x.page(http.StatusOK, outcome, postPage, map[string]any{"Action": x.details.redirect, "Fields": values})
		return
	}
	to, _ := url.Parse(x.details.redirect) // was compared with a registered one
	if mode == "fragment" {
		to.Fragment, to.RawFragment = "", ""
		x.w.Header().Set("Location", to.String()+"#"+values.Encode())
	} else {
		query := to.Query()
		for name := range values {
			query.Set(name, values.Get(name))
		}
		to.RawQuery = query.Encode()
		x.w.Header().Set("Location", to.String())
	}
	x.send(http.StatusFound, outcome, "text/html; charset=utf-8", nil)
}

// page is what a person sees who has to say who they are.
type page struct {
	Title  string
	Action string
	Method string
	Text   string
	Fields url.Values // sent along
	Ask    string     // a field to fill in, if any
	Choice string     // the name of the field that says who it is
	Users  []*User
	Deny   bool
}

func (x *exchange) choose(p page, method string) {
	p.Action, p.Method = x.r.URL.Path, method
	fields := url.Values{}
	for name, values := range p.Fields {
		if name != p.Choice && name != p.Ask {
			fields[name] = values
		}
	}
	p.Fields = fields
	x.page(http.StatusOK, OutcomeOK, choicePage, p)
}

func (x *exchange) page(status int, outcome Outcome, t *template.Template, data any) {
	var out bytes.Buffer
	if err := t.Execute(&out, data); err != nil {
		x.internalError(err)
		return
	}
	x.w.Header().Set("Cache-Control", "no-store, no-cache")
	x.send(status, outcome, "text/html; charset=utf-8", out.Bytes())
}

const pageHead = `<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>fakeentra</title></head>`

var choicePage = template.Must(template.New("choice").Parse(pageHead + `<body><h1>{{.Title}}</h1>
<p>This is a fake issuer for tests: no password is asked for.</p>{{with .Text}}<p>{{.}}</p>{{end}}
<form method="{{.Method}}" action="{{.Action}}">{{range $name, $values := .Fields}}{{range $values}}
<input type="hidden" name="{{$name}}" value="{{.}}">{{end}}{{end}}{{with .Ask}}
<p><label>Code <input name="{{.}}" autofocus required></label></p>{{end}}{{$choice := .Choice}}{{range .Users}}
<p><button name="{{$choice}}" value="{{.PrincipalName}}">{{.Name}} ({{.PrincipalName}})</button></p>{{else}}
<p>There is no user to choose from: register one.</p>{{end}}{{if .Deny}}
<p><button name="deny" value="1">Decline</button></p>{{end}}
</form></body></html>`))

var postPage = template.Must(template.New("post").Parse(pageHead + `<body onload="document.forms[0].submit()">
<form method="post" action="{{.Action}}">{{range $name, $values := .Fields}}{{range $values}}
<input type="hidden" name="{{$name}}" value="{{.}}">{{end}}{{end}}<noscript><button>Continue</button></noscript></form></body></html>`))

// readQuery reads a request that may come in the query, with what it says into
// the log's record. A body wins over the query.
func (x *exchange) readQuery() bool {
	if x.r.Method == http.MethodPost {
		if !x.readForm() {
			return false
		}
		for name, values := range x.r.URL.Query() {
			if _, ok := x.form.values[name]; !ok {
				x.form.values[name] = values
			}
		}
		x.form.clientID = x.param("client_id")
	} else {
		x.form.values = x.r.URL.Query()
		x.form.clientID = x.param("client_id")
	}
	if x.route.endpoint == EndpointAuthorize {
		x.recordWhatFor()
	}
	x.details.client, x.details.scope = x.form.clientID, x.param("scope")
	return true
}
