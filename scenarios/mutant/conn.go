package mutant

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/entracache/entracache/scenarios/protocol"
)

// errClosed is what a call on a connection gets once the connection is gone.
var errClosed = errors.New("the connection is closed")

// errUnanswered says besides that a command had been sent, which may have run.
var errUnanswered = errors.New("before the reply came")

// authError is a sign-in that the cache refused.
type authError struct{ text string }

func (e *authError) Error() string { return e.text }

// tokenError is a token that could not be had.
type tokenError struct{ err error }

func (e *tokenError) Error() string { return "no token: " + e.err.Error() }
func (e *tokenError) Unwrap() error { return e.err }

// conn is one connection. Calls are made one at a time; a reader hands replies to the call and pushes to onPush.
type conn struct {
	bug     Bug
	addr    string
	net     net.Conn
	proto   int
	replies chan protocol.Value
	gone    chan struct{} // closed once the reader has ended
	onPush  func(protocol.Value)

	call sync.Mutex // held during a call: AUTH waits for a command in flight and the other way round
	// transaction is held from MULTI to EXEC, into which AUTH must not come.
	transaction sync.Mutex
	token       string // with which it was signed in last
	// pushReplies is set for a RESP2 subscriber, to which replies come as arrays like messages.
	stale bool // SkipsIdleConnections: renewal is owed
}

// dial connects to the address and signs in.
func (c *client) dial(ctx context.Context, addr string, onPush func(protocol.Value)) (*conn, error) {
	user, password, err := c.identity(ctx)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(c.open.Cache.CAPEM))
	// The nodes are named by IP address, and the certificate is the cache's: each of them is verified as the host of the cache.
	config := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12, ServerName: c.open.Cache.Host}
	switch c.bug {
	case VerifiesAddresses:
		config.ServerName = ""
	case SkipsTLSVerification:
		config.InsecureSkipVerify = true
	case SkipsHostVerification:
		config.InsecureSkipVerify = true
		config.VerifyConnection = func(state tls.ConnectionState) error {
			_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: pool})
			return err
		}
	case OffersOldTLS:
		config.MinVersion, config.MaxVersion = tls.VersionTLS11, tls.VersionTLS11
	}
	ctx, cancel := context.WithTimeout(ctx, c.connectTimeout())
	defer cancel()
	raw, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	cn := &conn{bug: c.bug, addr: addr, net: raw, proto: c.proto(), replies: make(chan protocol.Value, 1), gone: make(chan struct{}), onPush: onPush}
	go cn.read()
	if c.bug == SignsInAtSeedOnly && addr != c.seed() || c.bug == ForgetsTransactions && ctx.Value(inTransaction{}) != nil {
		return cn, nil
	}
	if err := c.handshake(cn, user, password); err != nil {
		if c.bug == KeepsAfterTimeout && errors.Is(err, context.DeadlineExceeded) {
			return cn, nil
		}
		cn.close()
		return nil, err
	}
	cn.token = password
	return cn, nil
}

func (c *client) handshake(cn *conn, user, password string) error {
	auth := []string{"AUTH", user, password}
	if user == "" {
		auth = []string{"AUTH", password}
	}
	if cn.proto == 3 {
		if user == "" {
			user = "default"
		}
		auth = []string{"HELLO", "3", "AUTH", user, password}
	}
	if err := c.signIn(cn, auth); err != nil {
		return err
	}
	for bug, command := range map[Bug][]string{InsistsOnInfo: {"INFO"}, InsistsOnConfig: {"CONFIG", "GET", "maxmemory"}} {
		if c.bug == bug {
			v, err := cn.do(c.commandTimeout(), command...)
			if err == nil && v.Type == protocol.TypeError {
				err = &serverError{v.Text}
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *client) signIn(cn *conn, auth []string) error {
	attempts := 1
	switch c.bug {
	case RepeatsRefusedAuth:
		attempts = 5
	case RepeatsWithoutPause:
		attempts = 1000
	}
	for range attempts {
		v, err := cn.do(c.commandTimeout(), auth...)
		if err != nil {
			return err
		}
		if v.Type != protocol.TypeError {
			return nil
		}
		if attempts == 1 {
			return &authError{v.Text}
		}
	}
	return &authError{"WRONGPASS again and again"}
}

// identity is the user name and the password for a new connection.
func (c *client) identity(ctx context.Context) (user, password string, err error) {
	if c.tokens == nil {
		if c.bug == SendsAccessKeyAsUser {
			return c.open.Credential.AccessKey, "default", nil
		}
		return "", c.open.Credential.AccessKey, nil
	}
	token, err := c.tokens.get(ctx)
	if err != nil {
		if c.bug == TellsOneCaller && c.told.Swap(true) {
			<-c.ctx.Done() // the error has been handed out; this caller is forgotten
		}
		return "", "", &tokenError{err}
	}
	user, password = c.userAndPassword(token)
	return user, password, nil
}

func (c *client) userAndPassword(token accessToken) (user, password string) {
	user, password = token.objectID, token.raw
	if c.open.Username != "" && c.bug != CorrectsUsername {
		user = c.open.Username
	}
	switch c.bug {
	case SendsClientID:
		user = c.open.Credential.ClientID
	case SendsSecretAsPassword:
		password = c.open.Credential.ClientSecret
	case CutsLongPasswords:
		password = password[:min(len(password), 4096)]
	}
	return user, password
}

// renew signs in again on the connection. A failure leaves the connection as it is: the cache closes it in its time.
func (c *client) renew(cn *conn, token accessToken) {
	user, password := c.userAndPassword(token)
	if c.bug != RenewsInsideTransactions {
		cn.transaction.Lock()
		defer cn.transaction.Unlock()
	}
	if cn.token == password && c.bug != AddsListeners { // it was opened with the new token
		return
	}
	err := c.signIn(cn, []string{"AUTH", user, password})
	var refused *authError
	switch {
	case err == nil:
		cn.token = password
	case c.bug == BreaksWhenRefusedAgain && errors.As(err, &refused), c.bug == BreaksWhenRenewalDies && refused == nil:
		c.mu.Lock()
		defer c.mu.Unlock()
		c.broken = true
	}
}

// do sends a command and waits for its reply. timeout 0 waits for ever.
func (cn *conn) do(timeout time.Duration, args ...string) (protocol.Value, error) {
	cn.call.Lock()
	defer cn.call.Unlock()
	if cn.isGone() {
		select {
		case v := <-cn.replies: // why the cache closed it, such as that it is full
			return v, nil
		default:
			return protocol.Value{}, errClosed
		}
	}
	if _, err := cn.net.Write(encodeCommand(args...)); err != nil {
		cn.close()
		return protocol.Value{}, fmt.Errorf("%w: %w", errClosed, err)
	}
	var expired <-chan time.Time
	if timeout > 0 && cn.bug != WaitsForEver {
		timer := time.NewTimer(timeout)
		defer timer.Stop()
		expired = timer.C
	}
	select {
	case v := <-cn.replies:
		return v, nil
	case <-cn.gone:
		// The last reply may have come right before the end.
		select {
		case v := <-cn.replies:
			return v, nil
		default:
			return protocol.Value{}, fmt.Errorf("%w %w", errClosed, errUnanswered)
		}
	case <-expired:
		if cn.bug == KeepsAfterTimeout {
			return protocol.Value{}, context.DeadlineExceeded
		}
		cn.close() // the reply may still come: the connection is of no use any more
		return protocol.Value{}, context.DeadlineExceeded
	}
}

func (cn *conn) read() {
	defer close(cn.gone)
	r := bufio.NewReader(cn.net)
	for {
		v, err := readValue(r)
		if err != nil {
			cn.net.Close()
			return
		}
		if cn.onPush != nil && (v.Type == isPush || cn.proto == 2 && isSubscriberArray(v)) {
			cn.onPush(v)
			continue
		}
		cn.replies <- v
	}
}

// isSubscriberArray tells the arrays that a RESP2 subscriber gets unasked.
func isSubscriberArray(v protocol.Value) bool {
	return v.Type == protocol.TypeArray && len(v.Items) == 3 &&
		slices.Contains([]string{"message", "subscribe", "unsubscribe"}, strings.ToLower(v.Items[0].Text))
}

func (cn *conn) isGone() bool {
	select {
	case <-cn.gone:
		return true
	default:
		return false
	}
}

// close ends the connection and waits for its reader.
func (cn *conn) close() {
	cn.net.Close()
	for {
		select {
		case <-cn.gone:
			return
		case <-cn.replies: // a reply that nobody waits for any more
		}
	}
}
