package fakeentra

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
)

// issuerV1 is the iss of v1.0 tokens: the host stays sts.windows.net wherever
// the tokens are issued, and the slash at the end belongs to it (Entra
// documentation, "Access token claims reference"; also a token for the Redis
// resource, decoded from the transcript of Microsoft's Lettuce sample).
func issuerV1(tenantID string) string { return "https://sts.windows.net/" + tenantID + "/" }

// TokenInfo describes a token that was issued. It never holds the token itself.
type TokenInfo struct {
	// Fingerprint recognises the token in logs: "jwt#" and the first four
	// hexadecimal digits of its SHA-256. Different tokens may share one.
	Fingerprint string `json:"fingerprint"`
	// ID is the token's uti claim, unique per token; whoever receives the token
	// can be matched with this log by it.
	ID string `json:"id"`
	// ObjectID is the oid claim; empty with DefectNoObjectID, and nobody's with
	// DefectObjectID.
	ObjectID string `json:"object_id,omitempty"`
	// Audience is the aud claim.
	Audience string `json:"audience"`
	// IssuedAt and Expires are the iat and exp claims, in whole seconds; Expires is
	// zero with DefectNoExpiry.
	IssuedAt time.Time `json:"issued_at"`
	Expires  time.Time `json:"expires"`
	// Type is the idtyp claim: "app" for a token of an application or a managed
	// identity itself, "user" for a user's.
	Type string `json:"type"`
	// Version is the ver claim, "1.0" or "2.0".
	Version string `json:"version"`
	// Defect is what was made wrong with the token on purpose.
	Defect Defect `json:"defect,omitempty"`
}

// issuedToken is a token and what the answer that carries it says beside it. A
// defect spoils the token only, never the answer.
type issuedToken struct {
	token     string
	info      TokenInfo
	expiresIn int64     // seconds, rounded down; see TokenShape.ExpiresIn
	refreshIn int64     // seconds; 0 for none
	notBefore time.Time // as in a sound token
	expires   time.Time // as expiresIn says
}

// TokenVersion is the form of access tokens.
type TokenVersion int

const (
	// TokenV1 is what the Redis resource gets: the token in the transcript of
	// Microsoft's Lettuce sample is one.
	TokenV1 TokenVersion = 1
	// TokenV2 has iss = the v2.0 issuer, aud = the resource's client ID, azp and
	// azpacr instead of appid and appidacr, and no x5t. That the Redis resource ever
	// gets one: no source.
	TokenV2 TokenVersion = 2
)

// WithTokenVersion sets the form of access tokens, which the resource decides and
// not the endpoint: "The Microsoft identity platform supports issuing any token
// version from any version endpoint" (Entra documentation, "Access tokens").
// Default TokenV1.
func WithTokenVersion(v TokenVersion) Option { return func(c *config) { c.tokenVersion = v } }

// How a client proved who it is: the values of appidacr (Entra documentation,
// "Access token claims reference"). That a federated credential counts as a
// certificate has no source.
const (
	authByNothing     = "0"
	authBySecret      = "1"
	authByCertificate = "2"
)

// ticket is everything about a token that does not come from the clock or chance.
type ticket struct {
	tenantID   string
	clientID   string
	objectID   string
	clientAuth string
	audience   string
	defect     Defect
	shape      *compiledShape // the principal's own
	lifetime   Lifetime       // what stands in for the server's, if the principal's shape has none
	resourceID string         // of a managed identity
	user       *User          // nil for a token of the application itself
	scopes     string         // of a user's token
	amr        string         // how the user signed in
}

// issue makes a token as of now.
//
// The claims are those that the Entra documentation lists for tokens of the
// version, with the optional idtyp. That tokens for the Redis resource are of
// version 1.0 is inferred from the preview-era token in Microsoft's Lettuce
// sample; that sub equals oid in a token of an application has no source. aio, rh
// and uti are opaque; theirs are random here, rh being constant for an
// application.
func (s *Server) issue(t ticket) (issuedToken, error) {
	server := s.shaping.shape()
	lifetime := cmp.Or(t.shape.lifetime, t.lifetime, server.lifetime, FixedLifetime(s.cfg.lifetime))
	now := s.now()
	// A token lives at least as long as asked for: JWTs have whole seconds, so its
	// start is rounded down, which Unix does, and its end up.
	start := now.Add(-s.cfg.backdating)
	end := now.Add(s.dice.draw(lifetime))
	if whole := end.Truncate(time.Second); whole.Before(end) {
		end = whole.Add(time.Second)
	}

	claims := jwt.MapClaims{
		"aud": t.audience,
		"iat": start.Unix(),
		"nbf": start.Unix(),
		"exp": end.Unix(),
		"aio": randomString(39),
		"oid": t.objectID,
		"rh":  opaqueHandle(t.tenantID, t.clientID),
		"tid": t.tenantID,
		"uti": randomString(16),
	}
	if s.cfg.tokenVersion == TokenV2 {
		claims["ver"], claims["iss"] = "2.0", issuerV2(s.url, t.tenantID)
		claims["azp"], claims["azpacr"] = t.clientID, t.clientAuth
	} else {
		claims["ver"], claims["iss"], claims["idp"] = "1.0", issuerV1(t.tenantID), issuerV1(t.tenantID)
		claims["appid"], claims["appidacr"] = t.clientID, t.clientAuth
	}
	if t.user == nil {
		claims["idtyp"], claims["sub"] = "app", t.objectID
	} else {
		s.addUserClaims(claims, t)
	}
	if t.resourceID != "" {
		claims["xms_mirid"] = t.resourceID
	}
	if s.cfg.groupsClaim {
		s.addGroups(claims, t)
	}
	for name, value := range server.claims {
		claims[name] = value
	}
	for name, value := range t.shape.claims {
		claims[name] = value
	}

	key, err := s.keys.signing()
	if err != nil {
		return issuedToken{}, err
	}
	token, err := sign(key, claims, t.defect)
	if err != nil {
		return issuedToken{}, err
	}
	issued := issuedToken{
		token:     token,
		info:      describe(token, claims, t),
		expiresIn: int64(end.Sub(now) / time.Second),
		refreshIn: int64(cmp.Or(t.shape.refreshIn, server.refreshIn) / time.Second),
		notBefore: start,
		expires:   end,
	}
	if said := cmp.Or(t.shape.expiresIn, server.expiresIn); said > 0 {
		issued.expiresIn, issued.expires = int64(said/time.Second), now.Add(said)
	}
	return issued, nil
}

// addUserClaims adds what makes a token a user's. The claims are those that the
// documentation lists for v1.0 and v2.0 tokens of a user, sub being "a pairwise
// identifier that's unique to a particular application ID".
//
// idtyp is "user" where a resource asks for the claim in tokens of users also
// (Entra documentation, "Optional claims reference"); whether the Redis resource
// does has no source.
func (s *Server) addUserClaims(claims jwt.MapClaims, t ticket) {
	claims["idtyp"], claims["scp"] = "user", t.scopes
	claims["sub"] = pairwise(t.user, t.audience)
	claims["name"] = t.user.Name
	if s.cfg.tokenVersion == TokenV2 {
		claims["preferred_username"] = t.user.PrincipalName
		return
	}
	claims["upn"], claims["unique_name"] = t.user.PrincipalName, t.user.PrincipalName
	claims["acr"], claims["amr"] = "1", []string{t.amr}
	claims["ipaddr"] = "127.0.0.1"
	if given, family, ok := strings.Cut(t.user.Name, " "); ok {
		claims["given_name"], claims["family_name"] = given, family
	}
}

// maxGroups is how many groups fit a JWT: with more, "Microsoft Entra ID doesn't
// emit the groups claim in the token. Instead, it includes an overage claim"
// (Entra documentation, "Access token claims reference", groups overage claim).
const maxGroups = 200

// addGroups adds the groups claim or, for too many groups, the overage claim,
// whose endpoint is in the Azure AD Graph (same place).
func (s *Server) addGroups(claims jwt.MapClaims, t ticket) {
	tenant := s.directory.tenant(t.tenantID)
	if tenant == nil {
		return
	}
	groups := tenant.groupsOf(t.objectID)
	switch {
	case len(groups) == 0:
	case len(groups) <= maxGroups:
		claims["groups"] = groups
	default:
		kind := "servicePrincipals"
		if t.user != nil {
			kind = "users"
		}
		claims["_claim_names"] = map[string]string{"groups": "src1"}
		claims["_claim_sources"] = map[string]any{"src1": map[string]string{
			"endpoint": "https://graph.windows.net/" + t.tenantID + "/" + kind + "/" + t.objectID + "/getMemberObjects",
		}}
	}
}

// WithGroupsClaim puts the IDs of a principal's groups into its tokens, as a
// resource can ask for (groupMembershipClaims), up to 200; above that the token
// says where to ask instead. Default: no groups claim. Whether the Redis resource
// asks for it: no source.
func WithGroupsClaim() Option { return func(c *config) { c.groupsClaim = true } }

// pairwise is the user's sub at one audience.
func pairwise(u *User, audience string) string {
	sum := sha256.Sum256([]byte(u.ObjectID + audience))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// describe reads the claims after the defect was applied to them.
func describe(token string, claims jwt.MapClaims, t ticket) TokenInfo {
	text := func(name string) string { v, _ := claims[name].(string); return v }
	date := func(name string) time.Time {
		if v, ok := claims[name].(int64); ok {
			return time.Unix(v, 0).UTC()
		}
		return time.Time{}
	}
	return TokenInfo{
		Fingerprint: fingerprint(token),
		ID:          text("uti"),
		ObjectID:    text("oid"),
		Audience:    text("aud"),
		IssuedAt:    date("iat"),
		Expires:     date("exp"),
		Type:        text("idtyp"),
		Version:     text("ver"),
		Defect:      t.defect,
	}
}

func fingerprint(token string) string {
	sum := sha256.Sum256([]byte(token))
	return "jwt#" + hex.EncodeToString(sum[:2])
}

// opaqueHandle has the look of Entra's rh claim.
func opaqueHandle(tenantID, clientID string) string {
	sum := sha256.Sum256([]byte(tenantID + clientID))
	return "1.A" + base64.RawURLEncoding.EncodeToString(sum[:]) + "."
}

// ticketForApp describes a token of the application itself.
func ticketForApp(app *App, audience, clientAuth string) ticket {
	return ticket{
		tenantID:   app.TenantID,
		clientID:   app.ClientID,
		objectID:   app.ObjectID,
		clientAuth: clientAuth,
		audience:   audience,
		defect:     app.Defect(),
		shape:      app.shape(),
	}
}

// IssueToken returns the token that the application would get for RedisResource
// at this moment with its secret, with the application's defect, without a
// request being made or logged.
func (s *Server) IssueToken(app *App) (string, error) { return s.Forge(app, app.Defect()) }

// Forge returns a token for app and RedisResource that is wrong in the one way
// that d names, whatever defect the application has. It returns an error for a
// Defect that is not one of this package's constants.
func (s *Server) Forge(app *App, d Defect) (string, error) {
	t := ticketForApp(app, redisResource.audience(s.audienceForm(), RedisResource), authBySecret)
	t.defect = d
	issued, err := s.issue(t)
	if err != nil {
		return "", fmt.Errorf("fakeentra: token for app %q: %w", app.Name, err)
	}
	return issued.token, nil
}

// audienceForm is the form of aud that the token version allows: "In v2.0 tokens,
// this value is always the client ID of the API" (Entra documentation, "Access
// token claims reference").
func (s *Server) audienceForm() AudienceForm {
	if s.cfg.tokenVersion == TokenV2 {
		return AudienceClientID
	}
	return s.cfg.audience
}

// strangerTenant is a tenant that no server has, strangerObjectID nobody's ID.
var strangerTenant, strangerObjectID = uuid.NewString(), uuid.NewString()
