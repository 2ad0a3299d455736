package fakeentra

import (
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const assertionTypeJWT = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// assertionSkew is how far a client's clock may be off: no source for how much
// the service allows. Five minutes is what its own libraries allow.
const assertionSkew = 5 * time.Minute

// Credential is how a client proved who it is.
type Credential string

const (
	// CredentialNone: a public client, which proves nothing.
	CredentialNone Credential = "none"
	// CredentialSecret: a client secret, in the form or by HTTP Basic.
	CredentialSecret Credential = "secret"
	// CredentialCertificate: an assertion that the client signed itself with the
	// key of a certificate.
	CredentialCertificate Credential = "certificate"
	// CredentialFederated: an assertion that another issuer signed.
	CredentialFederated Credential = "federated"
)

// clientAuth is the appidacr of tokens issued for the credential.
func (c Credential) clientAuth() string {
	switch c {
	case CredentialSecret:
		return authBySecret
	case CredentialCertificate, CredentialFederated:
		return authByCertificate
	default:
		return authByNothing
	}
}

// client is whoever signs in at the token endpoint: an application, or a
// user-assigned managed identity with a federated credential.
type client struct {
	app      *App
	identity *ManagedIdentity
}

func (t *Tenant) client(clientID string) (client, bool) {
	if app := t.app(clientID); app != nil {
		return client{app: app}, true
	}
	if m := t.managedIdentity(clientID); m != nil {
		return client{identity: m}, true
	}
	return client{}, false
}

func (c client) id() string {
	if c.app != nil {
		return c.app.ClientID
	}
	return c.identity.ClientID
}

func (c client) federation() *federation {
	if c.app != nil {
		return &c.app.federation
	}
	return &c.identity.federation
}

// authenticate returns 0, or the code to refuse the client with, and notes in the
// record what was proved with.
func (x *exchange) authenticate(tenant *Tenant, c client) int {
	f := &x.form
	switch {
	case f.clientSecret != "":
		x.record.Credential = CredentialSecret
		return x.checkSecret(c)
	case f.assertion == "":
		x.record.Credential = CredentialNone
		return codeMissingCredential
	case f.values.Get("client_assertion_type") == "":
		x.details.parameter = "client_assertion_type"
		return codeMissingParameter
	case f.values.Get("client_assertion_type") != assertionTypeJWT: // no source for the code
		return codeMalformedRequest
	}
	return x.checkAssertion(tenant, c)
}

func (x *exchange) checkSecret(c client) int {
	if c.app == nil { // a managed identity has no secrets
		return codeBadSecret
	}
	secret, ok := c.app.secret(x.form.clientSecret)
	switch {
	case !ok:
		return codeBadSecret
	case secret.expired(x.server.now()):
		x.record.CredentialID = secret.ID
		return codeExpiredSecret
	}
	x.record.CredentialID = secret.ID
	return 0
}

// checkAssertion tells a client's own assertion from another issuer's by its iss,
// which is the client ID in the former.
func (x *exchange) checkAssertion(tenant *Tenant, c client) int {
	x.record.Credential = CredentialCertificate
	var claims jwt.RegisteredClaims
	assertion, _, err := assertionParser().ParseUnverified(x.form.assertion, &claims)
	if err != nil {
		return codeBadAssertion
	}
	if !strings.EqualFold(claims.Issuer, c.id()) {
		if _, err := parseGUID(claims.Issuer); err == nil {
			return codeForeignAssertion
		}
		x.record.Credential = CredentialFederated
		return x.checkFederated(c, assertion, &claims)
	}
	return x.checkCertificate(tenant, c, assertion, &claims)
}

// checkCertificate follows the Entra documentation, "Application authentication
// certificate credentials": PS256 with x5t#S256, and RS256 with x5t as it said
// until 2024 and as older libraries still do. x5c is not needed for a certificate
// that is registered, and not looked at.
func (x *exchange) checkCertificate(tenant *Tenant, c client, assertion *jwt.Token, claims *jwt.RegisteredClaims) int {
	thumbprint := assertionThumbprint(assertion.Header)
	if thumbprint == nil {
		return codeNoThumbprint
	}
	x.details.thumbprint = strings.ToUpper(hex.EncodeToString(thumbprint))
	x.record.CredentialID = x.details.thumbprint
	if c.app == nil {
		return codeUnknownCertificate
	}
	cert := c.app.certificate(thumbprint)
	if cert == nil {
		return codeUnknownCertificate
	}
	now := x.server.now()
	if now.Before(cert.NotBefore) || now.After(cert.NotAfter) {
		return codeExpiredCertificate
	}
	if !verified(x.form.assertion, []string{"RS256", "PS256"}, cert.PublicKey) {
		return codeBadAssertion
	}
	if !strings.EqualFold(claims.Subject, c.id()) {
		return codeForeignAssertion
	}
	if !slices.ContainsFunc(claims.Audience, func(aud string) bool { return x.ownAudience(tenant, aud) }) {
		return codeAssertionAudience
	}
	if code := x.checkDates(claims); code != 0 {
		return code
	}
	return x.checkReplay(c, claims)
}

// verified checks a signature and nothing else.
func verified(compact string, methods []string, key any) bool {
	_, err := assertionParser(jwt.WithValidMethods(methods)).Parse(compact, func(*jwt.Token) (any, error) { return key, nil })
	return err == nil
}

// assertionParser does not mind the padding of base64, which a JWT has not (RFC 7515,
// section 2): azure-identity for Python, made for the service, pads what its
// asynchronous CertificateCredential signs. What the service does with padding has no
// source beyond that, and none for the assertions of other issuers.
func assertionParser(options ...jwt.ParserOption) *jwt.Parser {
	return jwt.NewParser(append(options, jwt.WithPaddingAllowed(), jwt.WithoutClaimsValidation())...)
}

// assertionThumbprint takes the thumbprint in any of base64's spellings: MSAL for
// Go pads it and uses the standard alphabet, others follow the documentation's
// base64url.
func assertionThumbprint(header map[string]any) []byte {
	for _, name := range []string{"x5t#S256", "x5t"} {
		text, _ := header[name].(string)
		if text == "" {
			continue
		}
		text = strings.NewReplacer("+", "-", "/", "_", "=", "").Replace(text)
		if raw, err := base64.RawURLEncoding.DecodeString(text); err == nil && len(raw) > 0 {
			return raw
		}
	}
	return nil
}

// ownAudience tells whether an assertion's aud means this tenant: one of its token
// endpoints, or one of the issuer names in its discovery documents, on the host
// that the client uses or on one of the public cloud. The documentation names the
// v2.0 token endpoint only, but shows an example for v1.0; that the issuer names
// are accepted has no source.
func (x *exchange) ownAudience(tenant *Tenant, audience string) bool {
	u, err := url.Parse(audience)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" {
		return false
	}
	own, _ := url.Parse(x.server.url)
	host := strings.ToLower(u.Host)
	if host != strings.ToLower(x.r.Host) && host != own.Host && !slices.Contains(publicCloud, host) {
		return false
	}
	name, rest, _ := strings.Cut(strings.Trim(u.Path, "/"), "/")
	if !strings.EqualFold(name, tenant.ID) && !strings.EqualFold(name, tenant.Domain) {
		return false
	}
	switch strings.ToLower(rest) {
	case "oauth2/v2.0/token", "oauth2/token", "v2.0", "":
		return true
	}
	return false
}

// checkDates allows for a clock that is a little off.
func (x *exchange) checkDates(claims *jwt.RegisteredClaims) int {
	now := x.server.now()
	x.details.now = precise(now)
	x.details.validFrom, x.details.validUntil = precise(time.Unix(0, 0)), precise(time.Unix(0, 0))
	if claims.NotBefore != nil {
		x.details.validFrom = precise(claims.NotBefore.Time)
	}
	if claims.ExpiresAt == nil {
		return codeAssertionDates
	}
	x.details.validUntil = precise(claims.ExpiresAt.Time)
	if !now.Before(claims.ExpiresAt.Add(assertionSkew)) || claims.NotBefore != nil && now.Before(claims.NotBefore.Add(-assertionSkew)) {
		return codeAssertionDates
	}
	return 0
}

// precise has the seven decimals of .NET, as in the service's texts.
func precise(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.0000000Z") }

// WithSingleUseAssertions refuses a client's own assertion without a jti, and one
// whose jti it has used before. The documentation describes jti as a unique
// identifier; that the service checks it has no source, so the default is not to.
func WithSingleUseAssertions() Option { return func(c *config) { c.singleUse = true } }

func (x *exchange) checkReplay(c client, claims *jwt.RegisteredClaims) int {
	if !x.server.cfg.singleUse {
		return 0
	}
	until := claims.ExpiresAt.Add(assertionSkew)
	if claims.ID == "" || !x.server.usedAssertions.first(c.id()+" "+claims.ID, x.server.now(), until) {
		return codeBadAssertion
	}
	return 0
}

// checkFederated follows the Entra documentation, "Workload identity federation":
// iss, sub and aud must be those of a federated credential, and the signature one
// of the issuer's keys'.
func (x *exchange) checkFederated(c client, assertion *jwt.Token, claims *jwt.RegisteredClaims) int {
	x.details.issuer, x.details.subject = claims.Issuer, claims.Subject
	x.details.audience = strings.Join(claims.Audience, " ")
	credential, code := c.federation().match(claims.Issuer, claims.Subject, claims.Audience)
	if code != 0 {
		return code
	}
	x.record.CredentialID = credential.Name
	kid, _ := assertion.Header["kid"].(string)
	key, err := x.server.issuers.key(x.r.Context(), credential, kid)
	if err != nil {
		return codeIssuerUnreachable
	}
	// RS256 is what the documentation names for tokens of other issuers.
	if key == nil || !verified(x.form.assertion, []string{"RS256"}, key) {
		return codeBadAssertion
	}
	return x.checkDates(claims)
}
