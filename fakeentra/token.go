package fakeentra

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
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
	// ObjectID is the oid claim; empty with DefectNoObjectID.
	ObjectID string `json:"object_id,omitempty"`
	// Audience is the aud claim.
	Audience string `json:"audience"`
	// IssuedAt and Expires are the iat and exp claims, in whole seconds.
	IssuedAt time.Time `json:"issued_at"`
	Expires  time.Time `json:"expires"`
	// Defect is what was made wrong with the token on purpose.
	Defect Defect `json:"defect,omitempty"`
}

// issuedToken is a token and what the answer that carries it says beside it. A
// defect spoils the token only, never the answer.
type issuedToken struct {
	token     string
	info      TokenInfo
	expiresIn int64     // seconds left, rounded down
	notBefore time.Time // as in a sound token
	expires   time.Time // as in a sound token
}

// issue makes a v1.0 token for app, as of now.
//
// The claims are those that the Entra documentation lists for v1.0 tokens of an
// application, with the optional idtyp. That tokens for the Redis resource are
// of version 1.0 is inferred from the preview-era token in Microsoft's Lettuce
// sample; that sub equals oid has no source. aio, rh and uti are opaque; theirs
// are random here, rh being constant for an application.
func (s *Server) issue(app *App, audience string, defect Defect) (issuedToken, error) {
	now := s.clock.Now()
	// A token lives at least as long as asked for: JWTs have whole seconds, so its
	// start is rounded down, which Unix does, and its end up.
	start := now.Add(-s.cfg.backdating)
	end := now.Add(s.tokenLifetime())
	if whole := end.Truncate(time.Second); whole.Before(end) {
		end = whole.Add(time.Second)
	}

	claims := jwt.MapClaims{
		"aud":      audience,
		"iss":      issuerV1(app.TenantID),
		"iat":      start.Unix(),
		"nbf":      start.Unix(),
		"exp":      end.Unix(),
		"aio":      randomString(39),
		"appid":    app.ClientID,
		"appidacr": "1", // signed in with a secret
		"idp":      issuerV1(app.TenantID),
		"idtyp":    "app",
		"oid":      app.ObjectID,
		"rh":       opaqueHandle(app),
		"sub":      app.ObjectID,
		"tid":      app.TenantID,
		"uti":      randomString(16),
		"ver":      "1.0",
	}
	token, err := sign(claims, defect)
	if err != nil {
		return issuedToken{}, err
	}
	return issuedToken{
		token:     token,
		info:      describe(token, claims, defect),
		expiresIn: int64(end.Sub(now) / time.Second),
		notBefore: start,
		expires:   end,
	}, nil
}

// describe reads the claims after the defect was applied to them.
func describe(token string, claims jwt.MapClaims, defect Defect) TokenInfo {
	text := func(name string) string { v, _ := claims[name].(string); return v }
	date := func(name string) time.Time { v, _ := claims[name].(int64); return time.Unix(v, 0).UTC() }
	return TokenInfo{
		Fingerprint: fingerprint(token),
		ID:          text("uti"),
		ObjectID:    text("oid"),
		Audience:    text("aud"),
		IssuedAt:    date("iat"),
		Expires:     date("exp"),
		Defect:      defect,
	}
}

func fingerprint(token string) string {
	sum := sha256.Sum256([]byte(token))
	return "jwt#" + hex.EncodeToString(sum[:2])
}

// opaqueHandle has the look of Entra's rh claim.
func opaqueHandle(app *App) string {
	sum := sha256.Sum256([]byte(app.TenantID + app.ClientID))
	return "1.A" + base64.RawURLEncoding.EncodeToString(sum[:]) + "."
}

// IssueToken returns the token that the application would get for RedisResource
// at this moment, with the application's defect, without a request being made or
// logged.
func (s *Server) IssueToken(app *App) (string, error) { return s.Forge(app, app.Defect()) }

// Forge returns a token for app and RedisResource that is wrong in the one way
// that d names, whatever defect the application has. It returns an error for a
// Defect that is not one of this package's constants.
func (s *Server) Forge(app *App, d Defect) (string, error) {
	audience := redisResource.audience(s.cfg.audience, RedisResource)
	issued, err := s.issue(app, audience, d)
	if err != nil {
		return "", fmt.Errorf("fakeentra: token for app %q: %w", app.Name, err)
	}
	return issued.token, nil
}

// strangerTenant is a tenant that no server has.
var strangerTenant = uuid.NewString()
