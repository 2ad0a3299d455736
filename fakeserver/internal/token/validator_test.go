package token_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/jonboulle/clockwork"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeserver/internal/token"
	"github.com/entracache/entracache/fakeserver/internal/token/tokentest"
)

const oid = "6497c918-11ad-4941-1b0f-7c518a87d0b8"

var start = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func newValidator(t *testing.T, iss *tokentest.Issuer, clock clockwork.Clock) *token.Validator {
	t.Helper()
	v, err := token.New(token.Config{
		Issuer: iss.URL(), CAPEM: iss.CAPEM(), Clock: clock,
		Audiences: []string{"https://redis.azure.com", "https://redis.azure.com/", "acca5fbb-b7e4-4009-81f1-37e38fd66d78"},
	})
	require.NoError(t, err)
	return v
}

func reason(t *testing.T, err error) token.Reason {
	t.Helper()
	var refused *token.Error
	require.ErrorAs(t, err, &refused)
	return refused.Reason
}

func TestGoodToken(t *testing.T) {
	t.Parallel()
	iss := tokentest.New(t)
	v := newValidator(t, iss, clockwork.NewFakeClockAt(start))
	c, err := v.Validate(t.Context(), oid, iss.Token(t, oid, start, time.Hour))
	require.NoError(t, err)
	assert.Equal(t, oid, c.ObjectID)
	assert.Equal(t, tokentest.TenantID, c.TenantID)
	assert.Equal(t, "https://redis.azure.com", c.Audience)
	assert.Equal(t, start.Add(time.Hour).Unix(), c.Expires.Unix())
	assert.Equal(t, start.Unix(), c.IssuedAt.Unix())
	assert.NotEmpty(t, c.ID)
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	iss := tokentest.New(t)
	const other = "99999999-0000-4000-8000-000000000009"
	good := func() jwt.MapClaims { return tokentest.Claims(oid, start, time.Hour) }
	with := func(k string, val any) string {
		c := good()
		c[k] = val
		return iss.Sign(t, c)
	}
	without := func(k string) string {
		c := good()
		delete(c, k)
		return iss.Sign(t, c)
	}
	none, err := jwt.NewWithClaims(jwt.SigningMethodNone, good()).SignedString(jwt.UnsafeAllowNoneSignatureType)
	require.NoError(t, err)
	// The classic confusion: HS256 with the public key as the secret.
	hs, err := jwt.NewWithClaims(jwt.SigningMethodHS256, good()).SignedString(tokentest.Key("k1").N.Bytes())
	require.NoError(t, err)
	foreign := good()
	foreign["tid"], foreign["iss"] = other, "https://sts.windows.net/"+other+"/"
	parts := strings.Split(iss.Sign(t, good()), ".")
	evil := good()
	evil["oid"] = other
	tampered := parts[0] + "." + strings.Split(iss.Sign(t, evil), ".")[1] + "." + parts[2]

	for name, tc := range map[string]struct {
		token string
		want  token.Reason
	}{
		"empty":                {"", token.Malformed},
		"not a token":          {"hunter2", token.Malformed},
		"three dots":           {"a.b.c", token.Malformed},
		"cut":                  {parts[0] + "." + parts[1], token.Malformed},
		"no signature":         {parts[0] + "." + parts[1] + ".", token.BadSignature},
		"no exp":               {without("exp"), token.Malformed},
		"absurd exp":           {with("exp", 1e30), token.Malformed},
		"negative exp":         {with("exp", -1), token.Malformed},
		"exp is text":          {with("exp", "soon"), token.Malformed},
		"alg none":             {none, token.BadAlgorithm},
		"alg HS256":            {hs, token.BadAlgorithm},
		"unknown kid":          {tokentest.SignWith(t, good(), "nobody", tokentest.Key("k2")), token.UnknownKey},
		"no kid":               {tokentest.SignWith(t, good(), "", tokentest.Key("k1")), token.UnknownKey},
		"another key's kid":    {tokentest.SignWith(t, good(), "k1", tokentest.Key("k2")), token.BadSignature},
		"tampered":             {tampered, token.BadSignature},
		"foreign tenant":       {iss.Sign(t, foreign), token.WrongTenant},
		"tid of another":       {with("tid", other), token.WrongTenant},
		"no tid":               {without("tid"), token.WrongTenant},
		"made-up issuer":       {with("iss", "https://evil.example/"), token.WrongIssuer},
		"issuer without slash": {with("iss", "https://sts.windows.net/"+tokentest.TenantID), token.WrongIssuer},
		"wrong audience":       {with("aud", "https://graph.microsoft.com"), token.WrongAudience},
		"no audience":          {without("aud"), token.WrongAudience},
		"not yet valid":        {with("nbf", start.Add(time.Second).Unix()), token.NotYetValid},
		"expired now":          {with("exp", start.Unix()), token.Expired},
		"no oid":               {without("oid"), token.NoObjectID},
		"somebody else's":      {with("oid", other), token.UsernameMismatch},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// A validator of its own: the limit of refetches is shared.
			v := newValidator(t, iss, clockwork.NewFakeClockAt(start))
			_, err := v.Validate(context.Background(), oid, tc.token)
			require.Error(t, err)
			assert.Equal(t, tc.want, reason(t, err), err.Error())
			if len(tc.token) > 20 {
				assert.NotContains(t, err.Error(), tc.token)
			}
		})
	}
}

func TestClientIDAsUsername(t *testing.T) {
	t.Parallel()
	iss := tokentest.New(t)
	v := newValidator(t, iss, clockwork.NewFakeClockAt(start))
	claims := tokentest.Claims(oid, start, time.Hour)
	_, err := v.Validate(t.Context(), claims["appid"].(string), iss.Sign(t, claims))
	assert.Equal(t, token.UsernameMismatch, reason(t, err))
	assert.Contains(t, err.Error(), "client ID")
}

func TestAudienceSpellingsAndV2(t *testing.T) {
	t.Parallel()
	iss := tokentest.New(t)
	v := newValidator(t, iss, clockwork.NewFakeClockAt(start))
	for _, aud := range []any{"https://redis.azure.com", "https://redis.azure.com/", "acca5fbb-b7e4-4009-81f1-37e38fd66d78", []string{"x", "https://redis.azure.com"}} {
		c := tokentest.Claims(oid, start, time.Hour)
		c["aud"] = aud
		_, err := v.Validate(t.Context(), oid, iss.Sign(t, c))
		assert.NoError(t, err, "aud %v", aud)
	}
	c := tokentest.Claims(oid, start, time.Hour)
	c["iss"], c["ver"], c["aud"] = iss.URL()+"/v2.0", "2.0", "acca5fbb-b7e4-4009-81f1-37e38fd66d78"
	_, err := v.Validate(t.Context(), oid, iss.Sign(t, c))
	assert.NoError(t, err)
}

func TestExpiryIsCheckedOnRememberedTokens(t *testing.T) {
	t.Parallel()
	iss := tokentest.New(t)
	clock := clockwork.NewFakeClockAt(start)
	v := newValidator(t, iss, clock)
	tok := iss.Token(t, oid, start, time.Minute)
	_, err := v.Validate(t.Context(), oid, tok)
	require.NoError(t, err)
	clock.Advance(59 * time.Second)
	_, err = v.Validate(t.Context(), oid, tok)
	require.NoError(t, err)
	_, err = v.Validate(t.Context(), "somebody-else", tok)
	assert.Equal(t, token.UsernameMismatch, reason(t, err))
	clock.Advance(time.Second)
	_, err = v.Validate(t.Context(), oid, tok)
	assert.Equal(t, token.Expired, reason(t, err))
}

func TestSkew(t *testing.T) {
	t.Parallel()
	iss := tokentest.New(t)
	v, err := token.New(token.Config{Issuer: iss.URL(), CAPEM: iss.CAPEM(), Audiences: []string{tokentest.Audience},
		Clock: clockwork.NewFakeClockAt(start), Skew: 5 * time.Minute})
	require.NoError(t, err)
	for age, want := range map[time.Duration]token.Reason{
		-5 * time.Minute: "", -5*time.Minute - time.Second: token.NotYetValid,
		time.Hour + 5*time.Minute - time.Second: "", time.Hour + 5*time.Minute: token.Expired,
	} {
		_, err := v.Validate(t.Context(), oid, iss.Token(t, oid, start.Add(-age), time.Hour))
		if want == "" {
			assert.NoError(t, err, "age %s", age)
		} else {
			assert.Equal(t, want, reason(t, err), "age %s", age)
		}
	}
}

func TestRotatedKeyIsFetchedAndTheOldOneDropped(t *testing.T) {
	t.Parallel()
	iss := tokentest.New(t)
	v := newValidator(t, iss, clockwork.NewFakeClockAt(start))
	old := iss.Token(t, oid, start, time.Hour)
	_, err := v.Validate(t.Context(), oid, old)
	require.NoError(t, err)
	iss.Rotate("k2")
	_, err = v.Validate(t.Context(), oid, iss.Token(t, oid, start, time.Hour))
	require.NoError(t, err)
	_, err = v.Validate(t.Context(), oid, old)
	assert.Equal(t, token.UnknownKey, reason(t, err))
}

func TestOutageDoesNotMatterWhileKeysAreKnown(t *testing.T) {
	t.Parallel()
	iss := tokentest.New(t)
	v := newValidator(t, iss, clockwork.NewFakeClockAt(start))
	iss.SetDown(true)
	_, err := v.Validate(t.Context(), oid, iss.Token(t, oid, start, time.Hour))
	assert.Equal(t, token.IssuerUnreachable, reason(t, err))
	iss.SetDown(false)
	_, err = v.Validate(t.Context(), oid, iss.Token(t, oid, start, time.Hour))
	require.NoError(t, err, "the failure must not stick")
	iss.SetDown(true)
	_, err = v.Validate(t.Context(), oid, iss.Token(t, oid, start, time.Hour))
	require.NoError(t, err)
}

func TestInventedKeysCannotFloodTheIssuer(t *testing.T) {
	t.Parallel()
	iss := tokentest.New(t)
	v := newValidator(t, iss, clockwork.NewFakeClockAt(start))
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			tok := tokentest.SignWith(t, tokentest.Claims(oid, start, time.Hour), "invented", tokentest.Key("k2"))
			_, err := v.Validate(t.Context(), oid, tok)
			assert.Equal(t, token.UnknownKey, reason(t, err))
		})
	}
	wg.Wait()
	// Two key sets per fetch; one first fetch and a burst of ten.
	assert.LessOrEqual(t, iss.Fetches(), int64(22))
}

func TestContextEndsTheWait(t *testing.T) {
	t.Parallel()
	iss := tokentest.New(t)
	v := newValidator(t, iss, clockwork.NewFakeClockAt(start))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := v.Validate(ctx, oid, iss.Token(t, oid, start, time.Hour))
	assert.Equal(t, token.IssuerUnreachable, reason(t, err))
	assert.True(t, errors.Is(err, context.Canceled))
}

func TestBadConfiguration(t *testing.T) {
	t.Parallel()
	for _, cfg := range []token.Config{
		{Issuer: "https://x/y"},
		{Issuer: "", Audiences: []string{"a"}},
		{Issuer: "login.microsoftonline.com/tenant", Audiences: []string{"a"}},
		{Issuer: "https://x/y", Audiences: []string{"a"}, CAPEM: []byte("no PEM")},
	} {
		_, err := token.New(cfg)
		assert.Error(t, err, "%+v", cfg)
	}
}

func TestFingerprint(t *testing.T) {
	t.Parallel()
	assert.Equal(t, "jwt#ba78", token.Fingerprint("abc")) // SHA-256 of "abc" is ba7816bf…
}

func BenchmarkRepeatedToken(b *testing.B) {
	iss := tokentest.New(b)
	v, err := token.New(token.Config{Issuer: iss.URL(), CAPEM: iss.CAPEM(), Audiences: []string{tokentest.Audience}})
	if err != nil {
		b.Fatal(err)
	}
	tok := iss.Token(b, oid, time.Now(), time.Hour)
	for b.Loop() {
		if _, err := v.Validate(context.Background(), oid, tok); err != nil {
			b.Fatal(err)
		}
	}
}
