package token_test

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/jonboulle/clockwork"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeserver/internal/token"
	"github.com/entracache/entracache/fakeserver/internal/token/tokentest"
)

// FuzzValidate presents anything as a token: nothing may panic, whatever is
// refused has a reason of ours, and nothing but the issuer's own token is let
// in: not with other bytes in the place of some, and not its signature on other
// claims.
func FuzzValidate(f *testing.F) {
	iss := tokentest.New(f)
	v, err := token.New(token.Config{Issuer: iss.URL(), CAPEM: iss.CAPEM(), Clock: clockwork.NewFakeClockAt(start),
		Audiences: []string{tokentest.Audience}})
	require.NoError(f, err)
	good := iss.Token(f, oid, start, time.Hour)
	_, err = v.Validate(f.Context(), oid, good)
	require.NoError(f, err)
	parts := strings.Split(good, ".")
	raw := func(part string) []byte {
		b, err := base64.RawURLEncoding.DecodeString(part)
		require.NoError(f, err)
		return b
	}
	header, claims, signature := raw(parts[0]), raw(parts[1]), raw(parts[2])
	none, err := jwt.NewWithClaims(jwt.SigningMethodNone, tokentest.Claims(oid, start, time.Hour)).SignedString(jwt.UnsafeAllowNoneSignatureType)
	require.NoError(f, err)
	foreign := tokentest.SignWith(f, tokentest.Claims(oid, start, time.Hour), "k1", tokentest.Key("stranger"))

	for _, s := range []string{good, none, foreign, "", ".", "..", "...", "a.b.c", good + ".", good + "=", good[:len(good)-1], parts[0] + "." + parts[1] + ".",
		"bnVsbA.bnVsbA.bnVsbA", "W10.W10.W10", "e30.e30.e30", strings.Repeat("A", 20000), "\xff.\xff.\xff"} {
		f.Add(s, header, claims, signature, uint16(0), uint16(0))
	}
	for at := range uint16(len(good)) {
		if at < 8 || int(at) > len(good)-8 || good[at] == '.' {
			for _, put := range []string{"", "A", "Q", "\n", "=", ".", "%"} {
				f.Add(put, header, claims, signature, at, uint16(0))
				f.Add(put, header, claims, signature, at, uint16(1))
			}
		}
	}
	for _, h := range []string{`{}`, `null`, `[]`, `{"alg":"none","kid":"k1"}`, `{"alg":"RS256"}`, `{"alg":"RS256","kid":7}`, `{"alg":"HS256","kid":"k1"}`,
		`{"alg":"RS256","kid":"k1","crit":["exp"]}`, `{"alg":"PS256","kid":"k1"}`, `{"alg":"rs256","kid":"k1","alg":"RS256"}`} {
		f.Add("", []byte(h), claims, signature, uint16(0), uint16(0))
	}
	for _, c := range []string{`{}`, `null`, `[]`, `1`, `{"exp":1e300}`, `{"exp":-1}`, `{"exp":"soon"}`, `{"aud":[1]}`, `{"aud":[],"exp":1}`, `{"aud":{"a":1}}`,
		`{"exp":253402300800,"nbf":1e18,"iat":-1e18}`, `{"oid":"` + oid + `","oid":7}`} {
		f.Add("", header, []byte(c), signature, uint16(0), uint16(0))
	}
	f.Add("", header, claims, []byte{}, uint16(0), uint16(0))

	b64 := base64.RawURLEncoding.EncodeToString
	f.Fuzz(func(t *testing.T, text string, header, claims, signature []byte, at, cut uint16) {
		from := min(int(at), len(good))
		spliced := good[:from] + text + good[min(from+int(cut), len(good)):]
		for _, try := range []string{text, spliced, b64(header) + "." + b64(claims) + "." + b64(signature)} {
			for _, user := range []string{oid, "", try} {
				got, err := v.Validate(t.Context(), user, try)
				if err != nil {
					require.NotEmpty(t, reason(t, err))
					require.NotContains(t, err.Error(), "\n")
					continue
				}
				require.Equal(t, good, try, "let in: %+v", got)
				require.Equal(t, oid, user)
			}
		}
	})
}
