package fakeentra

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	// codeLifetime: "Authorization codes are short lived, typically expiring after
	// about 10 minutes" (Entra documentation, "OAuth 2.0 authorization code flow").
	codeLifetime = 10 * time.Minute
	// refreshLifetime: "90 days for all other scenarios" (Entra documentation,
	// "Refresh tokens", token lifetime), from the last use.
	refreshLifetime = 90 * 24 * time.Hour
	// idTokenLifetime: no source for more than that it is about an hour.
	idTokenLifetime = time.Hour
	// maxGrants bounds the codes that are kept, so that a client that never redeems
	// any cannot fill the memory.
	maxGrants = 10_000
)

// amrPassword is the amr of all tokens: where this issuer asks for no password, the
// service would have.
const amrPassword = "pwd"

// target is what a user's token is for.
type target struct {
	// Identifier is the resource as the client named it.
	Identifier string `json:"r"`
	// Scopes are the resource's delegated scopes, without the resource.
	Scopes []string `json:"s"`
	// Default is whether the client asked for .default, which answers then repeat.
	Default bool `json:"d,omitempty"`
	// OpenID and Offline are whether an ID token and a refresh token were asked for.
	OpenID  bool `json:"o,omitempty"`
	Offline bool `json:"f,omitempty"`
}

// WithDelegatedScopes sets the permissions that a resource lets applications have
// on behalf of a user: the scp of a user's tokens, for a request of
// "<resource>/.default". Default "user_impersonation", as most Azure services have
// it; for the Redis resource: no source.
func WithDelegatedScopes(scopes ...string) Option {
	return func(c *config) { c.delegatedScopes = scopes }
}

// target reads what the request wants a user's token for, or returns the code to
// refuse it with. Nothing asked for is neither.
func (x *exchange) target(tenantID string) (target, int) {
	var t target
	if !x.route.v2 {
		// v1.0 gives a refresh token without being asked (AzureAD/passport-azure-ad#322);
		// that it does the same with an ID token has no source.
		t = target{Identifier: x.param("resource"), Scopes: x.server.cfg.delegatedScopes, Default: true, OpenID: true, Offline: true}
		if t.Identifier == "" {
			return target{}, 0
		}
	} else {
		scope := x.param("scope")
		if strings.TrimSpace(scope) == "" {
			return target{}, 0
		}
		var code int
		if t, code = x.server.readScope(scope); code != 0 {
			return target{}, code
		}
	}
	if _, ok := findResource(x.server.resources, t.Identifier); !ok {
		x.details.resource, x.details.tenant = t.Identifier, tenantID
		return target{}, codeUnknownResource
	}
	return t, 0
}

// param is a parameter of the body or, at the authorize endpoint, of the query.
func (x *exchange) param(name string) string { return x.form.values.Get(name) }

// readScope takes a v2.0 scope apart. AADSTS700023 is the code for a scope without
// a resource, AADSTS700022 for one with two (list of error codes). A scope that
// the resource does not have is refused with AADSTS70011, for which there is no
// source.
func (s *Server) readScope(scope string) (target, int) {
	var t target
	for _, word := range strings.Fields(scope) {
		if slices.Contains(oidcScopes, word) {
			t.OpenID = t.OpenID || word == "openid"
			t.Offline = t.Offline || word == "offline_access"
			continue
		}
		cut := strings.LastIndexByte(word, '/')
		if cut < 0 || !wellFormedResource(word[:cut]) {
			return target{}, codeInvalidScope
		}
		identifier, name := word[:cut], word[cut+1:]
		if t.Identifier != "" && t.Identifier != identifier {
			return target{}, codeTwoResources
		}
		t.Identifier = identifier
		switch {
		case name == ".default":
			t.Default, t.Scopes = true, s.cfg.delegatedScopes
		case !slices.Contains(s.cfg.delegatedScopes, name):
			return target{}, codeInvalidScope
		case !slices.Contains(t.Scopes, name):
			t.Scopes = append(slices.Clone(t.Scopes), name)
		}
	}
	if t.Identifier == "" {
		return target{}, codeNoResourceInScope
	}
	return t, 0
}

// granted is the scope of an answer. At v2.0 each has its resource before it, and
// .default is there if it was asked for (Azure/azure-cli#32931).
func (t target) granted(v2 bool) string {
	words := slices.Clone(t.Scopes)
	if v2 {
		for i := range words {
			words[i] = t.Identifier + "/" + words[i]
		}
		if t.Default {
			words = append(words, t.Identifier+defaultScope)
		}
	}
	return strings.Join(words, " ")
}

// signIn is a user who has agreed to be represented by an application.
type signIn struct {
	TenantID string `json:"t"`
	ClientID string `json:"c"`
	UserID   string `json:"u"`
	Target   target `json:"g"`
	// Any is whether it was asked for at /common or /organizations.
	Any bool `json:"a,omitempty"`
	// Granted is when the user signed in, Issued when the refresh token was made.
	Granted time.Time `json:"w"`
	Issued  time.Time `json:"i"`
	Nonce   string    `json:"n,omitempty"`
}

// party finds who took part in a sign-in, and whether it still counts, or the code
// to refuse it with.
func (x *exchange) party(in signIn) (*Tenant, *App, *User, int) {
	tenant := x.server.directory.tenant(in.TenantID)
	if !strings.EqualFold(x.form.clientID, in.ClientID) {
		return nil, nil, nil, codeInvalidGrant
	}
	app, user := tenant.app(in.ClientID), tenant.userByID(in.UserID)
	if app == nil || user == nil { // of a server that was started again
		return nil, nil, nil, codeInvalidGrant
	}
	switch {
	case user.Disabled():
		return nil, nil, nil, codeUserDisabled
	case user.revokedAfter(in.Granted):
		return nil, nil, nil, codeRevokedGrant
	}
	return tenant, app, user, 0
}

// authenticateApp is authenticate for a client that signs a user in: a public one
// may do without a credential.
func (x *exchange) authenticateApp(tenant *Tenant, app *App) int {
	if app.public && x.form.clientSecret == "" && x.form.assertion == "" {
		x.record.Credential = CredentialNone
		return 0
	}
	return x.authenticate(tenant, client{app: app})
}

// issueToUser answers with tokens for a user.
func (x *exchange) issueToUser(app *App, user *User, in signIn) {
	s := x.server
	found, _ := findResource(s.resources, in.Target.Identifier)
	defect := user.Defect()
	if defect == DefectNone {
		defect = app.Defect()
	}
	shape := user.shape()
	if user.compiled.Load() == nil {
		shape = app.shape()
	}
	issued, err := s.issue(ticket{
		tenantID:   in.TenantID,
		clientID:   app.ClientID,
		objectID:   user.ObjectID,
		clientAuth: x.record.Credential.clientAuth(),
		audience:   found.audience(s.audienceForm(), in.Target.Identifier),
		defect:     defect,
		shape:      shape,
		user:       user,
		scopes:     strings.Join(in.Target.Scopes, " "),
		amr:        amrPassword,
	})
	if err != nil {
		x.internalError(err)
		return
	}
	answer := userAnswer{scope: in.Target.granted(x.route.v2), resource: in.Target.Identifier}
	if in.Target.OpenID {
		if answer.idToken, err = x.idToken(app, user, in.Nonce); err != nil {
			x.internalError(err)
			return
		}
	}
	if in.Target.Offline {
		in.Issued, in.Nonce = s.now(), ""
		answer.refreshToken = s.seal.close(in)
	}
	if x.param("client_info") == "1" { // what MSAL makes its account IDs of
		info, _ := json.Marshal(map[string]string{"uid": user.ObjectID, "utid": in.TenantID})
		answer.clientInfo = base64.RawURLEncoding.EncodeToString(info)
	}
	x.record.UserID = user.ObjectID
	x.record.Token = &issued.info
	x.ok(x.tokenBody(issued, answer))
}

// idToken tells the application who signed in (Entra documentation, "ID token
// claims reference"). Its issuer is the one in the discovery document that the
// client has read.
func (x *exchange) idToken(app *App, user *User, nonce string) (string, error) {
	now := x.server.now()
	claims := jwt.MapClaims{
		"aud":  app.ClientID,
		"iat":  now.Unix(),
		"nbf":  now.Unix(),
		"exp":  now.Add(idTokenLifetime).Unix(),
		"name": user.Name,
		"oid":  user.ObjectID,
		"rh":   opaqueHandle(user.TenantID, app.ClientID),
		"sub":  pairwise(user, app.ClientID),
		"tid":  user.TenantID,
		"uti":  randomString(16),
	}
	if x.route.v2 {
		claims["ver"], claims["iss"] = "2.0", issuerV2(x.base(), user.TenantID)
		claims["preferred_username"] = user.PrincipalName
	} else {
		claims["ver"], claims["iss"] = "1.0", issuerV1(user.TenantID)
		claims["upn"], claims["unique_name"] = user.PrincipalName, user.PrincipalName
		claims["amr"], claims["ipaddr"] = []string{amrPassword}, "127.0.0.1"
	}
	if nonce != "" {
		claims["nonce"] = nonce
	}
	key, err := x.server.keys.signing()
	if err != nil {
		return "", err
	}
	return sign(key, claims, DefectNone)
}

// authorizationCode redeems a code from the authorize endpoint.
func (x *exchange) authorizationCode() int {
	code, ok := x.server.codes.find(x.param("code"))
	if !ok {
		return codeInvalidGrant
	}
	x.record.UserID = code.UserID
	if code.spent {
		return codeRedeemedGrant
	}
	if !x.server.now().Before(code.expires) {
		return codeExpiredGrant
	}
	tenant, app, user, refused := x.party(code.signIn)
	if refused != 0 {
		return refused
	}
	if x.anyTenant() != code.Any || !code.Any && x.tenant() != tenant {
		return codeWrongTenantGrant
	}
	if refused := x.authenticateApp(tenant, app); refused != 0 {
		return refused
	}
	if x.param("redirect_uri") != code.redirectURI {
		x.details.redirect, x.details.redirectBefore = x.param("redirect_uri"), code.redirectURI
		return codeRedirectDiffers
	}
	if refused := code.checkVerifier(x.param("code_verifier")); refused != 0 {
		return refused
	}
	in := code.signIn
	if refused := x.retarget(&in); refused != 0 {
		return refused
	}
	if !x.server.codes.spend(x.param("code")) { // somebody was faster
		return codeRedeemedGrant
	}
	x.issueToUser(app, user, in)
	return 0
}

// retarget lets a request ask for something else than was agreed to; whoever
// agreed here agreed to everything. What to give beside the access token stays as
// it was unless the request asks for more.
func (x *exchange) retarget(in *signIn) int {
	t, code := x.target(in.TenantID)
	if code == codeNoResourceInScope { // only openid and the like: for what was agreed to
		return 0
	}
	if code != 0 || t.Identifier == "" {
		return code
	}
	t.OpenID, t.Offline = t.OpenID || in.Target.OpenID, t.Offline || in.Target.Offline
	in.Target = t
	return 0
}

// refreshToken issues tokens for a refresh token. The answer has a new one, and
// the old one stays good until it expires: "The Microsoft identity platform
// doesn't revoke old refresh tokens when used to fetch new access tokens" (Entra
// documentation, "Refresh tokens").
func (x *exchange) refreshToken() int {
	in, err := x.server.seal.open(x.param("refresh_token"))
	if err != nil {
		return codeMalformedRequest // TheNetworg/oauth2-azure#114
	}
	x.record.UserID = in.UserID
	tenant, app, user, code := x.party(in)
	if code != 0 {
		return code
	}
	if !x.anyTenant() && x.tenant() != tenant {
		return codeInvalidGrant
	}
	if code := x.authenticateApp(tenant, app); code != 0 {
		return code
	}
	if now := x.server.now(); !now.Before(in.Issued.Add(refreshLifetime)) {
		x.details.issued, x.details.inactive = precise(in.Issued), "90.00:00:00"
		return codeInactiveGrant
	}
	if code := x.retarget(&in); code != 0 {
		return code
	}
	x.issueToUser(app, user, in)
	return 0
}

// password is the resource owner password credentials grant, which the
// documentation advises against. It is here because a user's tokens are had with
// it without a browser; the log has it as grant "password".
func (x *exchange) password() int {
	name := x.param("username")
	tenant := x.tenant()
	if tenant == nil {
		if strings.EqualFold(x.route.tenant, "common") {
			return codeNotOverCommon
		}
		_, domain, _ := strings.Cut(name, "@")
		if tenant = x.server.directory.tenant(domain); tenant == nil {
			return codeNoTenant
		}
	}
	x.details.tenant = tenant.ID
	app := tenant.app(x.form.clientID)
	if app == nil {
		return codeUnknownApp
	}
	if code := x.authenticateApp(tenant, app); code != 0 {
		return code
	}
	user := tenant.user(name)
	if user == nil {
		return codeUnknownUser
	}
	x.record.UserID = user.ObjectID
	switch {
	case subtle.ConstantTimeCompare([]byte(user.Password), []byte(x.param("password"))) != 1:
		return codeBadPassword
	case user.Disabled():
		return codeUserDisabled
	}
	t, code := x.target(tenant.ID)
	if code != 0 {
		return code
	}
	x.issueToUser(app, user, signIn{
		TenantID: tenant.ID, ClientID: app.ClientID, UserID: user.ObjectID, Target: t, Granted: x.server.now(),
	})
	return 0
}

// userRealm tells MSAL whether a user's password is checked here or by a
// federated server, before it sends one.
func (x *exchange) userRealm() {
	realm := struct {
		Version       string `json:"ver"`
		AccountType   string `json:"account_type"`
		Domain        string `json:"domain_name,omitempty"`
		CloudInstance string `json:"cloud_instance_name,omitempty"`
		CloudAudience string `json:"cloud_audience_urn,omitempty"`
	}{Version: "1.0", AccountType: "Unknown"}
	if _, domain, _ := strings.Cut(x.route.user, "@"); x.server.directory.tenant(domain) != nil {
		realm.AccountType, realm.Domain = "Managed", domain
		realm.CloudInstance, realm.CloudAudience = "microsoftonline.com", "urn:federation:MicrosoftOnline"
	}
	x.ok(realm)
}

// codeGrant is what an authorization code stands for.
type codeGrant struct {
	signIn
	redirectURI     string
	challenge       string
	challengeMethod string
	expires         time.Time
	spent           bool
}

// checkVerifier returns 0, or the code to refuse a PKCE verifier with (RFC 7636).
// Codes: pennersr/django-allauth#2916 for none,
// AzureAD/microsoft-authentication-library-for-js#2694 for another one.
func (g codeGrant) checkVerifier(verifier string) int {
	if g.challenge == "" {
		return 0
	}
	if verifier == "" {
		return codeNoVerifier
	}
	if g.challengeMethod == "S256" {
		sum := sha256.Sum256([]byte(verifier))
		verifier = base64.RawURLEncoding.EncodeToString(sum[:])
	}
	if verifier != g.challenge {
		return codeWrongVerifier
	}
	return 0
}

// codeStore are the authorization codes that have been given out.
type codeStore struct {
	mu    sync.Mutex
	codes map[string]codeGrant
}

// put makes a code.
func (c *codeStore) put(g codeGrant, now time.Time) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.codes == nil {
		c.codes = map[string]codeGrant{}
	}
	if len(c.codes) >= maxGrants {
		for code, old := range c.codes {
			if !now.Before(old.expires) || len(c.codes) >= maxGrants {
				delete(c.codes, code)
			}
		}
	}
	code := "1.A" + randomString(60)
	c.codes[code] = g
	return code
}

func (c *codeStore) find(code string) (codeGrant, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	g, ok := c.codes[code]
	return g, ok
}

// spend reports whether the code was still good, which it is for one token.
func (c *codeStore) spend(code string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	g, ok := c.codes[code]
	if !ok || g.spent {
		return false
	}
	g.spent = true
	c.codes[code] = g
	return true
}

// seal turns sign-ins into refresh tokens and back, so that they need not be kept.
type seal struct{ aead cipher.AEAD }

func newSeal() (seal, error) {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	block, err := aes.NewCipher(key)
	if err != nil {
		return seal{}, fmt.Errorf("fakeentra: make the key of refresh tokens: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return seal{}, fmt.Errorf("fakeentra: make the key of refresh tokens: %w", err)
	}
	return seal{aead}, nil
}

func (s seal) close(in signIn) string {
	plain, err := json.Marshal(in)
	if err != nil {
		panic(fmt.Sprintf("fakeentra: encode %T: %v", in, err)) // our own type always encodes
	}
	return "1.A" + base64.RawURLEncoding.EncodeToString(s.aead.Seal(nil, nil, plain, nil))
}

func (s seal) open(token string) (signIn, error) {
	var in signIn
	sealed, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(token, "1.A"))
	if err != nil {
		return in, err
	}
	plain, err := s.aead.Open(nil, nil, sealed, nil)
	if err != nil {
		return in, err
	}
	return in, json.Unmarshal(plain, &in)
}
