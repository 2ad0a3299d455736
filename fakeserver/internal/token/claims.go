package token

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"time"
	"unicode/utf8"
	"unsafe"

	"github.com/golang-jwt/jwt/v5"
)

// Claims is what the cache wants to know of a token. Fields that the token
// does not carry are empty.
type Claims struct {
	// Fingerprint names the token without giving it away; see the function.
	Fingerprint string

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
func Fingerprint(compact string) string { return fingerprint(hash(compact)) }

// hash is the SHA-256 of a token, which is not copied for it: it is a kilobyte and
// more.
func hash(compact string) [sha256.Size]byte {
	return sha256.Sum256(unsafe.Slice(unsafe.StringData(compact), len(compact))) // Sum256 only reads
}

func fingerprint(sum [sha256.Size]byte) string { return "jwt#" + hex.EncodeToString(sum[:2]) }

// wireClaims are the claims as they stand in the token.
type wireClaims struct {
	Issuer          string       `json:"iss"`
	Audience        audience     `json:"aud"`
	IssuedAt        *numericDate `json:"iat"`
	NotBefore       *numericDate `json:"nbf"`
	ExpiresAt       *numericDate `json:"exp"`
	ObjectID        string       `json:"oid"`
	TenantID        string       `json:"tid"`
	UniqueTokenID   string       `json:"uti"`
	AppID           string       `json:"appid"`
	AuthorizedParty string       `json:"azp"`
}

// latest bounds the times that are believed: past it, arithmetic on
// durations overflows.
var latest = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)

// numericDate and audience read what golang-jwt's types read, without parsing the
// usual forms, an integer and one string, a second and a third time.
type numericDate struct{ jwt.NumericDate }

// UnmarshalJSON is for encoding/json.
func (d *numericDate) UnmarshalJSON(b []byte) error {
	if n, err := strconv.ParseInt(string(b), 10, 64); err == nil {
		d.Time = time.Unix(n, 0)
		return nil
	}
	return d.NumericDate.UnmarshalJSON(b)
}

type audience []string

// UnmarshalJSON is for encoding/json.
func (a *audience) UnmarshalJSON(b []byte) error {
	if n := len(b); n > 1 && b[0] == '"' && bytes.IndexByte(b, '\\') < 0 && utf8.Valid(b) {
		*a = audience{string(b[1 : n-1])}
		return nil
	}
	return (*jwt.ClaimStrings)(a).UnmarshalJSON(b)
}

func numericTime(d *numericDate) (time.Time, bool) {
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
		in   *numericDate
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
