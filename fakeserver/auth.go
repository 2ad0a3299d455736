package fakeserver

import (
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"time"
	"unsafe"

	"github.com/entracache/entracache/fakeserver/internal/token"
)

// AuthKind says how a connection signed in.
type AuthKind string

// The ways to sign in.
const (
	AuthNone  AuthKind = "none"
	AuthKey   AuthKind = "key"
	AuthToken AuthKind = "token"
	// AuthPassword is the password of a user that ACL SETUSER made; see
	// ProfileOSS60.
	AuthPassword AuthKind = "password"
)

// defaultUser is whom an access key signs in.
const defaultUser = "default"

// identity is who a connection is. It is immutable; signing in again replaces
// it.
type identity struct {
	user    string
	kind    AuthKind
	key     KeyType // of AuthKey
	token   *TokenInfo
	expires time.Time // of the token
	grant   *grant
}

func (c *connection) user() string {
	if id := c.identity.Load(); id != nil {
		return id.user
	}
	return ""
}

func (c *connection) token() *TokenInfo {
	if id := c.identity.Load(); id != nil {
		return id.token
	}
	return nil
}

// signIn is a checked user name and password: an identity to take on, or the
// reason why not.
type signIn struct {
	user   string
	key    string    // the access key, to be looked at again when its identity is taken on
	id     *identity // nil when refused; the grant is still to be found
	again  bool      // id is the connection's own: it has sent the same token again
	reason Reason
	detail string
	token  *TokenInfo
}

// verify checks a user name and password. It may wait for the issuer, and
// holds no lock meanwhile.
func (s *Server) verify(c *connection, user, password string) signIn {
	if s.prof.openUsers {
		return s.verifyAccount(user, password)
	}
	if user == defaultUser {
		return s.verifyKey(password)
	}
	return s.verifyToken(c, user, password)
}

func (s *Server) verifyKey(password string) signIn {
	s.stateMu.Lock()
	keys, disabled := s.keys, s.keysDisabled
	s.stateMu.Unlock()
	in := signIn{user: defaultUser, key: password}
	which := keys.match(password)
	switch {
	case disabled:
		in.reason, in.detail = ReasonAccessKeysDisabled, "access keys are disabled"
	case which == "":
		in.reason, in.detail = ReasonBadAccessKey, "the password is neither of the two access keys"
		if looksLikeToken(password) {
			in.detail = "the password is a token, but the user name is not the token's object ID"
		}
	default:
		in.id = &identity{user: defaultUser, kind: AuthKey, key: which}
	}
	return in
}

func (s *Server) verifyToken(c *connection, user, password string) signIn {
	in := signIn{user: user}
	if !looksLikeToken(password) {
		s.stateMu.Lock()
		isKey := s.keys.match(password) != ""
		s.stateMu.Unlock()
		in.reason, in.detail = ReasonMalformedToken, "the password is not a JWT"
		switch {
		case isKey:
			in.reason, in.detail = ReasonUnknownUser, `an access key belongs to the user "default"`
		case s.validator == nil:
			in.reason, in.detail = ReasonUnknownUser, `there is no user but "default"`
		}
		return in
	}
	switch {
	case s.validator == nil:
		in.reason, in.detail = ReasonEntraNotConfigured, "the cache trusts no issuer (start it with WithIssuer)"
	case !s.EntraEnabled():
		in.reason, in.detail = ReasonEntraDisabled, "Microsoft Entra authentication is disabled"
	case c.plain && !s.opts.tokensOnPlainPort:
		in.reason, in.detail = ReasonTokenOnPlainPort, "tokens are accepted over TLS only"
	case !c.plain && c.tlsVersion.Load() < tls.VersionTLS12:
		in.reason, in.detail = ReasonTokenOnOldTLS, "tokens are accepted over TLS 1.2 or higher only"
	}
	if in.reason != "" {
		in.token = &TokenInfo{Fingerprint: token.Fingerprint(password)}
		return in
	}
	claims, err := s.validator.Validate(s.ctx, s.objectIDOf(user), password)
	info := TokenInfo{
		Fingerprint: claims.Fingerprint, ID: claims.ID, ObjectID: claims.ObjectID, TenantID: claims.TenantID,
		Audience: claims.Audience, IssuedAt: claims.IssuedAt, Expires: claims.Expires,
	}
	if id := c.identity.Load(); err == nil && id != nil && id.user == user && id.token != nil && *id.token == info {
		in.id, in.token, in.again = id, id.token, true
		return in
	}
	in.token = &info
	if err != nil {
		in.reason, in.detail = ReasonMalformedToken, err.Error()
		var refused *token.Error
		if errors.As(err, &refused) {
			in.reason, in.detail = Reason(refused.Reason), refused.Detail
			if refused.Err != nil {
				in.detail += ": " + refused.Err.Error()
			}
		}
		return in
	}
	in.id = &identity{user: user, kind: AuthToken, token: in.token, expires: claims.Expires}
	return in
}

// WithOneIdentityPerConnection refuses to sign a connection in as somebody else
// than it has signed in as: with another object ID, or with a key after a token
// and the other way round. Default the connection becomes the other one, as in
// Redis; what the service does has no source.
func WithOneIdentityPerConnection() Option {
	return func(o *options) error { o.oneIdentity = true; return nil }
}

// looksLikeToken tells a JWT, whatever its state, from any other password.
func looksLikeToken(password string) bool {
	return strings.Count(password, ".") == 2 && strings.HasPrefix(password, "ey")
}

// admit lets the connection take on the identity of a sign-in, or refuses it,
// and logs which. A refused one changes nothing: the old identity and its
// deadline stay.
func (s *Server) admit(c *connection, command string, in signIn) bool {
	old := c.identity.Load()
	if in.id != nil {
		s.enter(c, &in)
	}
	e := Event{
		Kind: EventAuth, Conn: c.id, Command: command, User: in.user, Token: in.token,
		Outcome: OutcomeOK, Reason: in.reason, Proto: c.protocol(),
	}
	if in.id == nil {
		e.Outcome = OutcomeRefused
		e.Detail = fmt.Sprintf("%s refused, %s: -%s", strings.ToUpper(command), in.detail, s.opts.wrongPass)
		s.record(e)
		return false
	}
	if old != nil && old.kind == AuthToken && in.id.kind == AuthToken {
		e.Lead = old.expires.Sub(s.opts.clock.Now())
	}
	s.record(e)
	return true
}

// enter gives the connection its new identity. It does so under the state
// lock, so that an assignment cannot be removed, nor the keys be disabled,
// between the check and the moment at which the connection is found among
// those to close.
func (s *Server) enter(c *connection, in *signIn) {
	s.stateMu.Lock()
	defer s.stateMu.Unlock()
	if old := c.identity.Load(); s.opts.oneIdentity && old != nil && old.user != in.id.user {
		in.id, in.reason, in.detail = nil, ReasonOtherIdentity, fmt.Sprintf("the connection belongs to %q", old.user)
		return
	}
	if in.id.kind == AuthPassword {
		if a := s.accounts[in.id.user]; a == nil || a.grant != in.id.grant {
			in.id, in.reason, in.detail = nil, ReasonUnknownUser, "the user was deleted meanwhile"
			return
		}
	} else if in.id.kind == AuthKey {
		if s.keysDisabled {
			in.id, in.reason, in.detail = nil, ReasonAccessKeysDisabled, "access keys are disabled"
			return
		}
		if s.keys.match(in.key) != in.id.key {
			in.id, in.reason, in.detail = nil, ReasonBadAccessKey, "the access key was regenerated meanwhile"
			return
		}
		in.id.grant = s.fullAccess
	} else {
		if !s.entra {
			in.id, in.reason, in.detail = nil, ReasonEntraDisabled, "Microsoft Entra authentication is disabled"
			return
		}
		g := s.grants[strings.ToLower(in.token.ObjectID)]
		if g == nil {
			in.id, in.reason, in.detail = nil, ReasonNotAssigned, "the object ID has no access policy assigned"
			return
		}
		switch {
		case !in.again:
			in.id.grant = g
		case in.id.grant != g: // others read the connection's own
			changed := *in.id
			changed.grant = g
			in.id = &changed
		}
	}
	c.identity.Store(in.id)
	c.guard.SetAuthenticated(true)
	if in.id.kind == AuthToken {
		c.setDeadline(in.id.expires.Add(s.opts.expiryDelay))
	} else {
		c.setDeadline(time.Time{})
	}
}

// secretEqual compares without telling by its duration where they differ.
func secretEqual(a, b string) bool {
	return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1
}

// authArguments reads the user name and password of AUTH's arguments. They are
// those bytes, not a copy, since a token is a kilobyte or more: who keeps one clones
// it, lest the whole command be kept.
func authArguments(args [][]byte) (user, password string) {
	if len(args) == 1 {
		return defaultUser, view(args[0])
	}
	return view(args[0]), view(args[1])
}

// view is an argument as a string. Every command has bytes of its own, which nobody
// changes.
func view(arg []byte) string {
	return unsafe.String(unsafe.SliceData(arg), len(arg))
}

// cmdAuth is AUTH [username] password.
func cmdAuth(q *request) {
	args := q.args[1:]
	if len(args) > 2 {
		q.err("ERR syntax error")
		return
	}
	if len(args) == 1 && q.s.prof.openUsers && q.s.account([]byte(defaultUser)).NoPass() {
		q.err("ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?")
		return
	}
	user, password := authArguments(args)
	if id := q.c.identity.Load(); id != nil && id.user == user {
		user = id.user // events keep it, and so not the whole command
	} else {
		user = strings.Clone(user)
	}
	if q.admit("auth", user, password) {
		q.simple("OK")
		return
	}
	q.err(q.s.opts.wrongPass)
}

// admit verifies and admits, with what was verified before EXEC where that is
// so.
func (q *request) admit(command, user, password string) bool {
	in, ok := q.verified[[2]string{user, password}]
	if !ok {
		in = q.s.verify(q.c, user, password)
	}
	admitted := q.s.admit(q.c, command, in)
	if !admitted {
		q.noteRefused(user)
	}
	return admitted
}

// helloUnauthenticated is what HELLO says to a stranger.
func (p *profile) helloUnauthenticated() string {
	form := "HELLO AUTH <user> <pass>"
	if p.since("7.2") {
		form = "HELLO <proto> AUTH <user> <pass>"
	}
	return "NOAUTH HELLO must be called with the client already authenticated, otherwise the " + form +
		" option can be used to authenticate the client and select the RESP protocol version at the same time"
}

// cmdHello is HELLO protover [AUTH username password] [SETNAME clientname].
// Up to Redis 7.0 the options take effect while they are read, so that a bad
// option after a good AUTH leaves the connection signed in; later all of them
// are read first.
func cmdHello(q *request) {
	proto, options := q.c.protocol(), q.args[1:]
	if len(options) > 0 { // without it, which 6.0 does not have, the version stays
		version, ok := parseNumber(options[0])
		switch {
		case !ok && q.since("6.2"):
			q.helloRefused(ReasonSyntax, "ERR Protocol version is not an integer or out of range")
			return
		case !ok, version != 2 && version != 3:
			q.helloRefused(ReasonUnsupportedProtocol, "NOPROTO unsupported protocol version")
			return
		}
		proto, options = int(version), options[1:]
	}
	var auth, name [][]byte // the arguments of the options
	readFirst := q.since("7.2")
	for args := options; len(args) > 0; {
		switch option := strings.ToUpper(string(args[0])); {
		case option == "AUTH" && len(args) >= 3:
			if auth = args[1:3]; !readFirst && !q.admitHello(proto, auth) {
				return
			}
			args = args[3:]
		case option == "SETNAME" && len(args) >= 2:
			if name = args[1:2]; !q.nameAllowed(name[0]) {
				return
			}
			if !readFirst {
				q.setName(name[0])
			}
			args = args[2:]
		default:
			q.helloRefused(ReasonSyntax, fmt.Sprintf("ERR Syntax error in HELLO option '%s'", args[0]))
			return
		}
	}
	if readFirst && auth != nil && !q.admitHello(proto, auth) {
		return
	}
	if q.c.identity.Load() == nil {
		q.helloRefused(ReasonNotAuthenticated, q.s.prof.helloUnauthenticated())
		return
	}
	if readFirst && name != nil {
		q.setName(name[0])
	}
	q.c.proto.Store(int32(proto))
	if auth == nil {
		q.s.record(Event{Kind: EventHello, Conn: q.c.id, Command: "hello", User: q.c.user(), Outcome: OutcomeOK, Proto: proto})
	}
	q.mapHeader(7)
	q.bulk("server")
	q.bulk("redis")
	q.bulk("version")
	q.bulk(q.s.prof.version)
	q.bulk("proto")
	q.integer(int64(proto))
	q.bulk("id")
	q.integer(q.c.id)
	q.bulk("mode")
	q.bulk(q.s.mode())
	q.bulk("role")
	if q.c.node.has(nodeReplica) {
		q.bulk("replica")
	} else {
		q.bulk("master")
	}
	q.bulk("modules")
	q.array(0)
}

// admitHello is the AUTH part of HELLO; it replies where it says no. The event
// tells the protocol that is asked for: a client that switches does so with this
// command.
func (q *request) admitHello(proto int, auth [][]byte) bool {
	before := q.c.proto.Swap(int32(proto))
	ok := q.admit("hello", string(auth[0]), string(auth[1]))
	q.c.proto.Store(before) // until all options are read
	if !ok {
		q.err(q.s.opts.wrongPass)
	}
	return ok
}

func (q *request) helloRefused(r Reason, text string) {
	q.s.record(Event{
		Kind: EventHello, Conn: q.c.id, Command: "hello", User: q.c.user(), Outcome: OutcomeRefused, Reason: r,
		Proto: q.c.protocol(), Detail: "HELLO refused: -" + text,
	})
	q.err(text)
}

// signOut makes the connection one that has not signed in.
func (s *Server) signOut(c *connection) {
	s.stateMu.Lock()
	defer s.stateMu.Unlock()
	c.identity.Store(nil)
	c.guard.SetAuthenticated(false)
	c.setDeadline(time.Time{})
}
