package fakeserver_test

import (
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeserver"
	"github.com/entracache/entracache/fakeserver/internal/token"
	"github.com/entracache/entracache/fakeserver/internal/token/tokentest"
)

func TestSignInWithToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	require.NoError(t, w.Assign(oid, fakeserver.DataOwner))
	claims := tokentest.Claims(oid, noon, time.Hour)
	tok := w.iss.Sign(t, claims)
	c := dial(t, w.Server)
	require.Equal(t, "+OK", c.line("AUTH", oid, tok))
	assert.Equal(t, "+PONG", c.line("PING"))

	opened := w.eventKind(fakeserver.EventConnectionOpened)
	assert.Equal(t, "TLS 1.3", opened.TLSVersion)
	e := w.lastAuth()
	assert.Equal(t, fakeserver.OutcomeOK, e.Outcome)
	assert.Equal(t, opened.Conn, e.Conn)
	assert.Equal(t, "auth", e.Command)
	assert.Equal(t, oid, e.User)
	assert.Empty(t, e.Reason)
	require.NotNil(t, e.Token)
	assert.Equal(t, token.Fingerprint(tok), e.Token.Fingerprint)
	assert.Equal(t, claims["uti"], e.Token.ID)
	assert.Equal(t, oid, e.Token.ObjectID)
	assert.Equal(t, tokentest.TenantID, e.Token.TenantID)
	assert.Equal(t, tokentest.Audience, e.Token.Audience)
	assert.True(t, e.Token.Expires.Equal(noon.Add(time.Hour)))
	assert.True(t, e.Time.Equal(noon))

	conns := w.Connections()
	require.Len(t, conns, 1)
	assert.Equal(t, fakeserver.AuthToken, conns[0].AuthKind)
	assert.Equal(t, oid, conns[0].User)
	assert.True(t, conns[0].TokenExpires.Equal(noon.Add(time.Hour)))
}

func TestSignInWithAccessKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, args := range [][]string{{"AUTH", "key-one"}, {"auth", "default", "key-two"}, {"AUTH", "default", "key-one"}} {
		c := dial(t, w.Server)
		require.Equal(t, "+OK", c.line(args...))
		// All rights but the blocked commands.
		assert.Equal(t, "*0", c.line("KEYS", "*"))
		assert.Equal(t, "default", w.lastAuth().User)
	}
	c := dial(t, w.Server)
	require.True(t, strings.HasPrefix(c.do("HELLO", "3", "AUTH", "default", "key-two"), "%7\r\n"))
	assert.Equal(t, "hello", w.lastAuth().Command)
	assert.Equal(t, 3, w.lastAuth().Proto)
}

// TestRefusals: one text on the wire, the reason in the log, and a connection
// that stays open.
func TestRefusals(t *testing.T) {
	t.Parallel()
	const other = "99999999-0000-4000-8000-000000000009"
	w := newWorld(t)
	require.NoError(t, w.Assign(oid, fakeserver.DataOwner))
	claim := func(k string, v any) string {
		c := tokentest.Claims(oid, noon, time.Hour)
		c[k] = v
		return w.iss.Sign(t, c)
	}
	foreign := tokentest.Claims(oid, noon, time.Hour)
	foreign["tid"], foreign["iss"] = other, "https://sts.windows.net/"+other+"/"
	none, err := jwt.NewWithClaims(jwt.SigningMethodNone, tokentest.Claims(oid, noon, time.Hour)).SignedString(jwt.UnsafeAllowNoneSignatureType)
	require.NoError(t, err)
	good := w.token(time.Hour)

	for name, tc := range map[string]struct {
		user, password string
		want           fakeserver.Reason
	}{
		"wrong key":             {"default", "nope", fakeserver.ReasonBadAccessKey},
		"empty key":             {"default", "", fakeserver.ReasonBadAccessKey},
		"token as default":      {"default", good, fakeserver.ReasonBadAccessKey},
		"key as somebody":       {oid, "key-one", fakeserver.ReasonUnknownUser},
		"no token":              {oid, "hunter2", fakeserver.ReasonMalformedToken},
		"broken token":          {oid, "eyJ.x.y", fakeserver.ReasonMalformedToken},
		"alg none":              {oid, none, fakeserver.ReasonBadAlgorithm},
		"unknown key":           {oid, tokentest.SignWith(t, tokentest.Claims(oid, noon, time.Hour), "k9", tokentest.Key("k2")), fakeserver.ReasonUnknownKey},
		"wrong signature":       {oid, tokentest.SignWith(t, tokentest.Claims(oid, noon, time.Hour), "k1", tokentest.Key("k2")), fakeserver.ReasonBadSignature},
		"wrong issuer":          {oid, claim("iss", "https://evil.example/"), fakeserver.ReasonWrongIssuer},
		"foreign tenant":        {oid, w.iss.Sign(t, foreign), fakeserver.ReasonWrongTenant},
		"wrong audience":        {oid, claim("aud", "https://graph.microsoft.com"), fakeserver.ReasonWrongAudience},
		"not yet valid":         {oid, claim("nbf", noon.Add(time.Minute).Unix()), fakeserver.ReasonNotYetValid},
		"expired":               {oid, w.iss.Token(t, oid, noon.Add(-time.Hour), time.Hour), fakeserver.ReasonTokenExpired},
		"no object ID":          {oid, claim("oid", ""), fakeserver.ReasonNoObjectID},
		"client ID as username": {"aaaaaaaa-0000-4000-8000-000000000002", good, fakeserver.ReasonUsernameMismatch},
		"not assigned":          {other, w.iss.Token(t, other, noon, time.Hour), fakeserver.ReasonNotAssigned},
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, w.Server)
			assert.Equal(t, wrongPass, c.line("AUTH", tc.user, tc.password))
			e := w.lastAuth()
			assert.Equal(t, fakeserver.OutcomeRefused, e.Outcome)
			assert.Equal(t, tc.want, e.Reason, e.Detail)
			assert.Equal(t, tc.user, e.User)
			assert.Contains(t, e.Detail, wrongPass)
			if tc.password != "" {
				assert.NotContains(t, e.Detail, tc.password)
			}
			assert.Equal(t, wrongPass, c.line("HELLO", "3", "AUTH", tc.user, tc.password))
			assert.Equal(t, tc.want, w.lastAuth().Reason)
			// Still there, still nobody, still RESP2.
			assert.Equal(t, "-NOAUTH Authentication required.", c.line("GET", "a"))
		})
	}
}

func TestIssuerUnreachable(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	require.NoError(t, w.Assign(oid, fakeserver.DataOwner))
	c := dial(t, w.Server)
	w.iss.SetDown(true)
	assert.Equal(t, wrongPass, c.line("AUTH", oid, w.token(time.Hour)))
	assert.Equal(t, fakeserver.ReasonIssuerUnreachable, w.lastAuth().Reason)
	w.iss.SetDown(false)
	assert.Equal(t, "+OK", c.line("AUTH", oid, w.token(time.Hour)))
}

func TestWithoutIssuer(t *testing.T) {
	t.Parallel()
	s := fakeserver.RunT(t, fakeserver.WithAccessKeys("k", "l"))
	iss := tokentest.New(t)
	c := dial(t, s)
	for password, want := range map[string]fakeserver.Reason{
		iss.Token(t, oid, time.Now(), time.Hour): fakeserver.ReasonEntraNotConfigured,
		"whatever":                               fakeserver.ReasonUnknownUser,
		"k":                                      fakeserver.ReasonUnknownUser,
	} {
		assert.Equal(t, wrongPass, c.line("AUTH", oid, password))
		events := s.Events()
		assert.Equal(t, want, events[len(events)-1].Reason)
	}
	assert.Equal(t, "+OK", c.line("AUTH", "k"))
}

func TestWrongPassText(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeserver.WithWrongPassText("ERR WRONGPASS invalid username-password pair"))
	c := dial(t, w.Server)
	assert.Equal(t, "-ERR WRONGPASS invalid username-password pair", c.line("AUTH", "x", "y"))
	assert.Equal(t, "-ERR WRONGPASS invalid username-password pair", c.line("HELLO", "3", "AUTH", "x", "y"))
}

func TestAuthForms(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := dial(t, w.Server)
	assert.Equal(t, "-ERR wrong number of arguments for 'auth' command", c.line("AUTH"))
	assert.Equal(t, "-ERR syntax error", c.line("AUTH", "a", "b", "c"))
}

// TestHello follows the answers of Redis 6.0.20.
func TestHello(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := dial(t, w.Server)
	const noAuth = "-NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time"
	assert.Equal(t, noAuth, c.line("HELLO", "3"))
	assert.Equal(t, "-ERR wrong number of arguments for 'hello' command", c.line("HELLO"))
	assert.Equal(t, "-NOPROTO unsupported protocol version", c.line("HELLO", "4"))
	assert.Equal(t, "-NOPROTO unsupported protocol version", c.line("HELLO", "x"))
	assert.Equal(t, "-NOPROTO unsupported protocol version", c.line("HELLO", "4", "AUTH", "default", "bad"))
	assert.Equal(t, "-ERR Syntax error in HELLO option 'FOO'", c.line("HELLO", "3", "FOO"))
	assert.Equal(t, "-ERR Syntax error in HELLO option 'AUTH'", c.line("HELLO", "3", "AUTH", "x"))
	assert.Equal(t, "-ERR Client names cannot contain spaces, newlines or special characters.", c.line("HELLO", "3", "SETNAME", "a b"))

	assert.Equal(t, "%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n6.0.20\r\n$5\r\nproto\r\n:3\r\n$2\r\nid\r\n:1\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n",
		c.do("hello", "3", "auth", "default", "key-one", "setname", "worker"))
	assert.Equal(t, "$6\r\nworker\r\n", c.do("CLIENT", "GETNAME"))
	assert.Equal(t, "_\r\n", c.do("GET", "nothing"))
	assert.True(t, strings.HasPrefix(c.do("HELLO", "2"), "*14\r\n$6\r\nserver\r\n"))
	assert.Equal(t, "$-1\r\n", c.do("GET", "nothing"))
	e := w.eventsOf(fakeserver.EventHello)
	last := e[len(e)-1]
	assert.Equal(t, fakeserver.OutcomeOK, last.Outcome)
	assert.Equal(t, 2, last.Proto)
	assert.Equal(t, 2, w.Connections()[0].Proto)
}

// TestOrderInOnePacket: what comes behind AUTH in the same packet is judged by
// its outcome.
func TestOrderInOnePacket(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	require.NoError(t, w.Assign(oid, fakeserver.DataOwner))
	c := dial(t, w.Server)
	c.send(array("AUTH", oid, "bad") + array("GET", "a") + array("PING") + array("AUTH", oid, w.token(time.Hour)) + array("SET", "a", strings.Repeat("x", 20000)) + array("PING"))
	assert.Equal(t, wrongPass+"\r\n", c.read())
	assert.Equal(t, "-NOAUTH Authentication required.\r\n", c.read())
	assert.Equal(t, "-NOAUTH Authentication required.\r\n", c.read())
	assert.Equal(t, "+OK\r\n", c.read())
	assert.Equal(t, "+OK\r\n", c.read(), "the limits of a stranger must end with AUTH, in the same packet")
	assert.Equal(t, "+PONG\r\n", c.read())
}

// TestOrderOfChecks is redis-6.0's: a stranger learns what is unknown, blocked
// or of the wrong length before being asked to sign in.
func TestOrderOfChecks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := dial(t, w.Server)
	assert.Equal(t, "-ERR unknown command `FOO`, with args beginning with: `x`, ", c.line("FOO", "x"))
	assert.Equal(t, "-ERR unknown command `RESET`, with args beginning with: ", c.line("RESET"))
	assert.Equal(t, "-ERR unknown command `CONFIG`, with args beginning with: `GET`, `timeout`, ", c.line("CONFIG", "GET", "timeout"))
	assert.Equal(t, "-ERR wrong number of arguments for 'get' command", c.line("GET"))
	for _, args := range [][]string{{"PING"}, {"MULTI"}, {"COMMAND"}, {"SUBSCRIBE", "c"}, {"CLIENT", "ID"}, {"GET", "a"}} {
		assert.Equal(t, "-NOAUTH Authentication required.", c.line(args...))
	}
	c.send(array("QUIT") + array("PING"))
	assert.Equal(t, "+OK\r\n", c.read())
	c.closed()
	assert.Equal(t, fakeserver.ReasonQuit, w.eventKind(fakeserver.EventConnectionClosed).Reason)
}

func TestPlainPort(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeserver.WithPlainAddr("127.0.0.1:0"))
	require.NoError(t, w.Assign(oid, fakeserver.DataOwner))
	c := dialPlain(t, w.Server)
	assert.Equal(t, wrongPass, c.line("AUTH", oid, w.token(time.Hour)))
	assert.Equal(t, fakeserver.ReasonTokenOnPlainPort, w.lastAuth().Reason)
	assert.Equal(t, "+OK", c.line("AUTH", "key-one"))
	assert.Empty(t, w.eventKind(fakeserver.EventConnectionOpened).TLSVersion)

	open := newWorld(t, fakeserver.WithPlainAddr("127.0.0.1:0"), fakeserver.WithTokensOnPlainPort())
	require.NoError(t, open.Assign(oid, fakeserver.DataOwner))
	assert.Equal(t, "+OK", dialPlain(t, open.Server).line("AUTH", oid, open.token(time.Hour)))

	assert.Empty(t, newWorld(t).PlainAddr())
}
