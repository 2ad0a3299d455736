package token

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Claims is what the cache wants to know of a token. Fields that the token
// does not carry are empty.
type Claims struct {
	ID        string // uti: unique per issued token
	ObjectID  string // oid
	TenantID  string // tid
	AppID     string // appid (v1.0) or azp (v2.0)
	Issuer    string
	Audience  string // the accepted one, where the token names several
	IssuedAt  time.Time
	NotBefore time.Time
	Expires   time.Time
}

// Fingerprint names a token in logs without giving it away: "jwt#" and the
// first four hex digits of the SHA-256 of its compact form.
func Fingerprint(compact string) string {
	sum := sha256.Sum256([]byte(compact))
	return "jwt#" + hex.EncodeToString(sum[:2])
}

// wireClaims are the claims as they stand in the token.
type wireClaims struct {
	jwt.RegisteredClaims
	ObjectID        string `json:"oid"`
	TenantID        string `json:"tid"`
	UniqueTokenID   string `json:"uti"`
	AppID           string `json:"appid"`
	AuthorizedParty string `json:"azp"`
}

// latest bounds the times that are believed: past it, arithmetic on
// durations overflows.
var latest = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)

func numericTime(d *jwt.NumericDate) (time.Time, bool) {
	if d == nil {
		return time.Time{}, true
	}
	return d.Time, d.Unix() >= 0 && d.Before(latest)
}

func (w *wireClaims) claims() (Claims, *Error) {
	c := Claims{ID: w.UniqueTokenID, ObjectID: w.ObjectID, TenantID: w.TenantID, AppID: w.AppID, Issuer: w.Issuer}
	if c.AppID == "" {
		c.AppID = w.AuthorizedParty
	}
	for _, f := range []struct {
		name string
		in   *jwt.NumericDate
		out  *time.Time
	}{{"iat", w.IssuedAt, &c.IssuedAt}, {"nbf", w.NotBefore, &c.NotBefore}, {"exp", w.ExpiresAt, &c.Expires}} {
		t, ok := numericTime(f.in)
		if !ok {
			return c, refuse(Malformed, "claim %s is %v, expected seconds since 1970 before the year 10000", f.name, f.in.Time)
		}
		*f.out = t
	}
	if c.Expires.IsZero() {
		return c, refuse(Malformed, "claim exp is missing")
	}
	return c, nil
}
