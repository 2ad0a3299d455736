package fakeentra

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
)

// Defect is one way in which a token can be wrong while everything else about it
// is right.
type Defect string

// The zero value, DefectNone, is a sound token.
const (
	DefectNone Defect = ""
	// DefectExpired: iat, nbf and exp are moved into the past together, so that
	// the token ran out an hour ago.
	DefectExpired Defect = "expired"
	// DefectNotYetValid: nbf equals exp, so that the token is not valid yet at any
	// moment before it expires.
	DefectNotYetValid Defect = "not-yet-valid"
	// DefectAudience: aud is Azure Resource Manager.
	DefectAudience Defect = "wrong-audience"
	// DefectIssuer: iss is on another host; the tenant in it is right.
	DefectIssuer Defect = "wrong-issuer"
	// DefectTenant: tid is another tenant; iss is right. A token as a whole of
	// another tenant comes from an application of that tenant: see AddTenant.
	DefectTenant Defect = "wrong-tenant"
	// DefectNoTenant: there is no tid.
	DefectNoTenant Defect = "no-tenant"
	// DefectObjectID: oid is that of nobody.
	DefectObjectID Defect = "wrong-object-id"
	// DefectNoObjectID: there is no oid.
	DefectNoObjectID Defect = "no-object-id"
	// DefectAlgNone: alg is none and there is no signature.
	DefectAlgNone Defect = "alg-none"
	// DefectAlgHMAC: alg is HS256, and the signature is an HMAC keyed with the
	// published public key in PEM, which takes in verifiers that let the token
	// choose the algorithm.
	DefectAlgHMAC Defect = "alg-hmac"
	// DefectWrongKey: signed with an unpublished key under the published kid.
	DefectWrongKey Defect = "wrong-key"
	// DefectUnknownKey: signed with an unpublished key under its own kid.
	DefectUnknownKey Defect = "unknown-key"
	// DefectNoKeyID: the header says nothing about the key; it is the published one.
	DefectNoKeyID Defect = "no-key-id"
	// DefectEmbeddedKey: signed with an unpublished key that the header carries (jwk),
	// under the published kid, which takes in verifiers that let the token bring its
	// own key (CVE-2018-0114).
	DefectEmbeddedKey Defect = "embedded-key"
	// DefectTooLarge: there are so many groups in it that it is longer than the
	// 16384 bytes that Redis takes from a client who has not signed in. The service
	// itself leaves groups out above 200.
	DefectTooLarge Defect = "too-large"
	// DefectNoExpiry: there is no exp.
	DefectNoExpiry Defect = "no-expiry"
	// DefectMalformed: the signature is cut off together with its dot, so that it is
	// no JWT at all.
	DefectMalformed Defect = "malformed"
	// DefectPadded: each part has the padding of base64, which a JWT has not (RFC 7515,
	// section 2). The signature is that of what it signs.
	DefectPadded Defect = "padded"
	// DefectTampered: aio, a claim that nobody reads, was changed after signing.
	DefectTampered Defect = "tampered"
)

var allDefects = []Defect{
	DefectExpired, DefectNotYetValid, DefectAudience, DefectIssuer, DefectTenant, DefectNoTenant, DefectObjectID, DefectNoObjectID,
	DefectAlgNone, DefectAlgHMAC, DefectWrongKey, DefectUnknownKey, DefectNoKeyID, DefectEmbeddedKey, DefectTampered,
	DefectTooLarge, DefectNoExpiry, DefectMalformed, DefectPadded,
}

const (
	expiredSince    = time.Hour
	foreignAudience = "https://management.azure.com"
	foreignIssuer   = "https://issuer.invalid/"
)

// Defects lists every defect there is, without DefectNone.
func Defects() []Defect { return slices.Clone(allDefects) }

// ParseDefect returns the defect of that name, the value of its constant. The
// empty name is DefectNone; an unknown one is an error.
func ParseDefect(name string) (Defect, error) {
	d := Defect(name)
	return d, d.check()
}

func (d Defect) check() error {
	if d == DefectNone || slices.Contains(allDefects, d) {
		return nil
	}
	return fmt.Errorf("fakeentra: unknown defect %q: expected one of %q", string(d), allDefects)
}

// sign applies the defect to the claims and returns the compact token.
func sign(key *signingKey, claims jwt.MapClaims, defect Defect) (string, error) {
	kid, signer := key.id, key
	var method jwt.SigningMethod = jwt.SigningMethodRS256

	switch defect {
	case DefectNone, DefectTampered, DefectAlgNone, DefectAlgHMAC, DefectNoKeyID, DefectMalformed, DefectPadded:
	case DefectExpired:
		if err := moveIntoThePast(claims); err != nil {
			return "", err
		}
	case DefectNotYetValid:
		claims["nbf"] = claims["exp"]
	case DefectAudience:
		claims["aud"] = foreignAudience
	case DefectIssuer:
		claims["iss"] = fmt.Sprintf("%s%s/", foreignIssuer, claims["tid"])
		if claims["ver"] == "2.0" {
			claims["iss"] = fmt.Sprintf("%s%s/v2.0", foreignIssuer, claims["tid"])
		}
	case DefectTenant:
		claims["tid"] = strangerTenant
	case DefectNoTenant:
		delete(claims, "tid")
	case DefectObjectID:
		claims["oid"] = strangerObjectID
	case DefectNoObjectID:
		delete(claims, "oid")
	case DefectNoExpiry:
		delete(claims, "exp")
	case DefectTooLarge:
		claims["groups"] = tooManyGroups()
	case DefectWrongKey, DefectUnknownKey, DefectEmbeddedKey:
		var err error
		if signer, err = strangerKey(); err != nil {
			return "", err
		}
		if defect == DefectUnknownKey {
			kid = signer.id
		}
	default:
		return "", defect.check()
	}

	var secret any = signer.private
	switch defect {
	case DefectAlgNone:
		method, secret = jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType
	case DefectAlgHMAC:
		public, err := x509.MarshalPKIXPublicKey(key.private.Public())
		if err != nil {
			return "", fmt.Errorf("encode the public key: %w", err)
		}
		method, secret = jwt.SigningMethodHS256, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})
	}

	token := jwt.NewWithClaims(method, claims)
	token.Header["kid"] = kid
	if claims["ver"] != "2.0" { // "emitted only in v1.0 access tokens" (Entra documentation, "Access token claims reference")
		token.Header["x5t"] = kid
	}
	switch defect {
	case DefectNoKeyID:
		delete(token.Header, "kid")
		delete(token.Header, "x5t")
	case DefectEmbeddedKey:
		token.Header["jwk"] = signer.published("")
	case DefectPadded:
		return signPadded(token, signer)
	}
	compact, err := token.SignedString(secret)
	if err != nil {
		return "", fmt.Errorf("sign the token: %w", err)
	}
	switch defect {
	case DefectTampered:
		return tamper(compact)
	case DefectMalformed:
		return compact[:strings.LastIndexByte(compact, '.')], nil
	}
	return compact, nil
}

// signPadded is SignedString with the padding of base64.
func signPadded(token *jwt.Token, key *signingKey) (string, error) {
	var parts [2]string
	for i, part := range []any{token.Header, token.Claims} {
		raw, err := json.Marshal(part)
		if err != nil {
			return "", fmt.Errorf("encode the token: %w", err)
		}
		parts[i] = base64.URLEncoding.EncodeToString(raw)
	}
	input := strings.Join(parts[:], ".")
	signature, err := token.Method.Sign(input, key.private)
	if err != nil {
		return "", fmt.Errorf("sign the token: %w", err)
	}
	return input + "." + base64.URLEncoding.EncodeToString(signature), nil
}

// tooManyGroups are enough for a token of more than 16384 bytes: each is 39 bytes of
// JSON, which are 52 in base64.
func tooManyGroups() []string {
	groups := make([]string, 320)
	for i := range groups {
		groups[i] = uuid.NewString()
	}
	return groups
}

func moveIntoThePast(claims jwt.MapClaims) error {
	iat, okIssued := claims["iat"].(int64)
	exp, okExpires := claims["exp"].(int64)
	if !okIssued || !okExpires {
		return errors.New("expected iat and exp in whole seconds")
	}
	// iat may lie before the present by the backdating; what matters is where exp
	// ends up, and the lifetime is at least exp-iat.
	back := exp - iat + int64(expiredSince/time.Second)
	for _, name := range []string{"iat", "nbf", "exp"} {
		seconds, ok := claims[name].(int64)
		if !ok {
			return fmt.Errorf("expected %s in whole seconds", name)
		}
		claims[name] = seconds - back
	}
	return nil
}

// tamper changes a claim and leaves the signature as it was.
func tamper(compact string) (string, error) {
	parts := strings.Split(compact, ".")
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return "", fmt.Errorf("decode the payload: %w", err)
	}
	var claims map[string]json.RawMessage
	if err := json.Unmarshal(payload, &claims); err != nil {
		return "", fmt.Errorf("decode the claims: %w", err)
	}
	claims["aio"] = json.RawMessage(`"` + randomString(39) + `"`)
	if payload, err = json.Marshal(claims); err != nil {
		return "", fmt.Errorf("encode the claims: %w", err)
	}
	parts[1] = base64.RawURLEncoding.EncodeToString(payload)
	return strings.Join(parts, "."), nil
}
