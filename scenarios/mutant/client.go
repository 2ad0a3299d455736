package mutant

import (
	"context"
	"errors"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/entracache/entracache/scenarios/protocol"
)

// serverError is an error reply to a command.
type serverError struct{ text string }

func (e *serverError) Error() string { return e.text }

// client is what a user of the library holds: a pool of connections, perhaps a subscriber, and a source of tokens.
type client struct {
	bug    Bug
	open   protocol.Request
	tokens *tokenSource // nil with an access key
	stop   func()
	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu         sync.Mutex
	idle       map[string][]*conn // by address
	all        []*conn
	slots      []slotRange     // of a clustered cache; nil: not known, or to be asked for again
	nodes      []string        // the addresses of its nodes
	signedIn   map[string]bool // NeverReconnects: there was a connection to this address once
	refused    bool            // GivesUpWhenRefused
	broken     bool            // LosesConnectionOnDenial, BreaksWhenRefusedAgain, KnowsOneWording, BreaksWhileLoading, BreaksWhenRenewalDies
	storming   bool            // StormsWhenRefused
	subscribed []*conn
	begun      *transaction // and not ended
	told       *atomic.Bool // TellsOneCaller: shared by the clients of a process
}

// newClient makes a client that shares what gets the tokens of another, unless that is nil.
func newClient(bug Bug, open protocol.Request, getenv func(string) string, told *atomic.Bool, shared *tokenSource) *client {
	c := &client{bug: bug, open: open, told: told, stop: func() {}, idle: map[string][]*conn{}, signedIn: map[string]bool{}}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	if open.Credential.Kind != protocol.CredentialAccessKey {
		c.tokens = shared
		if shared == nil {
			c.tokens = newTokenSource(bug, open, getenv)
		}
		c.tokens.use()
		c.stop = c.tokens.listen(c.renewAll)
	}
	return c
}

func (c *client) connectTimeout() time.Duration {
	return time.Duration(c.open.Options.ConnectTimeoutMS) * time.Millisecond
}

func (c *client) commandTimeout() time.Duration {
	return time.Duration(c.open.Options.CommandTimeoutMS) * time.Millisecond
}

// seed is the cache's own address. That of a clustered cache leads to one of its nodes.
func (c *client) seed() string {
	return net.JoinHostPort(c.open.Cache.Host, strconv.Itoa(c.open.Cache.Port))
}

func (c *client) proto() int {
	switch {
	case c.bug == AlwaysRESP2:
		return 2
	case c.bug == AlwaysRESP3 || c.open.Options.RESP == 0:
		return 3
	default:
		return c.open.Options.RESP
	}
}

// staggerPart is the part of a token's life over which the renewals of all connections are spread: three minutes of an hour.
const staggerPart = 20

// renewAll sends AUTH with the new token on every connection, one after the other, each as soon as its command in flight is answered.
func (c *client) renewAll(token accessToken) {
	c.mu.Lock()
	defer c.mu.Unlock()
	conns := c.all
	if c.bug == SkipsLaterConnections {
		conns = conns[:min(1, len(conns))]
	}
	if c.bug == LeaksAtRenewal {
		c.work.Go(func() { c.leak(c.seed()) })
	}
	for i, cn := range conns {
		delay := token.expires.Sub(token.received) / staggerPart * time.Duration(i) / time.Duration(len(conns))
		if c.bug == NeverStaggers {
			delay = 0
		}
		subscriber := slices.Index(c.subscribed, cn)
		switch {
		case c.bug == SkipsSubscribers && subscriber >= 0:
		case c.bug == SkipsEarlierSubscribers && subscriber >= 0 && subscriber < len(c.subscribed)-1:
		case c.bug == SkipsBusyConnections && subscriber < 0 && !slices.Contains(c.idle[cn.addr], cn):
		case c.bug == RenewsSeedOnly && cn.addr != c.seed():
		case cn.proto == 2 && subscriber >= 0: // RESP2 cannot: the cache will close it, and it comes back
		case c.bug == SkipsIdleConnections && slices.Contains(c.idle[cn.addr], cn):
			cn.stale = true
		default:
			c.work.Go(func() {
				if sleep(c.ctx, delay) {
					c.renew(cn, token)
				}
			})
		}
	}
}

// command runs a command on a connection of the pool. A connection that turns out to be dead before the command was sent is replaced
// once. What became of a command that was sent, nobody knows: that is for the caller to judge.
func (c *client) command(ctx context.Context, args []string) (protocol.Value, error) {
	if c.bug == TokenPerCommand && c.tokens != nil {
		if _, err := c.tokens.get(ctx); err != nil {
			return protocol.Value{}, &tokenError{err}
		}
	}
	if c.isBroken() {
		return protocol.Value{}, errClosed
	}
	v, err := c.execute(ctx, args)
	var refused *authError
	switch {
	case c.bug == IgnoresSignInErrors && errors.As(err, &refused):
		return protocol.Simple("OK"), nil
	case (c.bug == PretendsToBeConnected || c.bug == AcknowledgesLost && errors.Is(err, errClosed)) && err != nil:
		return protocol.Simple("QUEUED"), nil
	case c.bug == LosesBlockedCaller && errors.Is(err, errClosed) && blocks(args):
		<-c.ctx.Done()
		return v, err
	case err != nil:
		return v, err
	case v.Type != protocol.TypeError:
		return v, nil
	case c.bug == IgnoresCommandErrors:
		return protocol.Simple("OK"), nil
	case c.bug == LosesConnectionOnDenial || c.bug == BreaksWhileLoading && strings.HasPrefix(v.Text, "LOADING "):
		c.mu.Lock()
		c.broken = true
		c.mu.Unlock()
	}
	return v, &serverError{v.Text}
}

func (c *client) execute(ctx context.Context, args []string) (protocol.Value, error) {
	if c.open.Cache.Cluster {
		return c.inCluster(ctx, args)
	}
	v, err := c.attempt(ctx, c.seed(), false, args)
	again := errors.Is(err, errClosed) && (!errors.Is(err, errUnanswered) || c.bug == RetriesBlindly)
	if (again || c.demoted(v)) && c.bug != NeverReconnects && c.bug != AcknowledgesLost {
		v, err = c.attempt(ctx, c.seed(), false, args)
	}
	return v, err
}

func (c *client) isBroken() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.broken
}

// attempt runs a command on a connection to the address; asking makes a node take it that does not serve the key's slot yet.
func (c *client) attempt(ctx context.Context, addr string, asking bool, args []string) (protocol.Value, error) {
	cn, err := c.take(ctx, addr)
	if err != nil {
		return protocol.Value{}, err
	}
	if asking {
		if v, err := cn.do(c.commandTimeout(), "ASKING"); err != nil || v.Type == protocol.TypeError {
			c.giveBack(cn, err)
			return v, err
		}
	}
	timeout := c.commandTimeout()
	if blocks(args) {
		timeout = 0 // BLPOP and its kind say themselves how long they block
	}
	v, err := cn.do(timeout, args...)
	if c.demoted(v) {
		cn.close()
	}
	c.giveBack(cn, err)
	return v, err
}

func blocks(args []string) bool { return strings.HasPrefix(strings.ToUpper(args[0]), "B") }

// demoted says whether the reply comes from a node that was a primary: a new connection leads to the one that is now.
func (c *client) demoted(v protocol.Value) bool {
	return v.Type == protocol.TypeError && strings.HasPrefix(v.Text, "READONLY ") && c.bug != KeepsReadOnly
}

func (c *client) take(ctx context.Context, addr string) (*conn, error) {
	c.mu.Lock()
	for len(c.idle[addr]) > 0 {
		idle := c.idle[addr]
		cn := idle[len(idle)-1]
		c.idle[addr] = idle[:len(idle)-1]
		if cn.isGone() {
			c.forget(cn)
			if c.bug == AcknowledgesLost {
				c.mu.Unlock()
				return nil, errClosed
			}
			continue
		}
		stale := cn.stale
		cn.stale = false
		c.mu.Unlock()
		if stale {
			if token, err := c.tokens.get(ctx); err == nil {
				c.renew(cn, token)
			}
		}
		return cn, nil
	}
	giveUp := c.bug == NeverReconnects && c.signedIn[addr] || c.bug == GivesUpWhenRefused && c.refused
	c.mu.Unlock()
	if giveUp {
		return nil, errClosed
	}
	cn, err := c.dial(ctx, addr, nil)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		var refused *authError
		c.refused = c.refused || errors.As(err, &refused)
		c.broken = c.broken || c.bug == KnowsOneWording && refused != nil && !strings.HasPrefix(refused.text, "WRONGPASS")
		if c.bug == StormsWhenRefused && refused != nil && !c.storming {
			c.storming = true
			c.work.Go(func() { c.storm(addr) })
		}
		return nil, err
	}
	again := c.signedIn[addr]
	c.signedIn[addr] = true
	c.all = append(c.all, cn)
	switch {
	case c.bug == AddsListeners && again:
		c.tokens.listen(func(token accessToken) { c.work.Go(func() { c.renew(cn, token) }) })
	case c.bug == LeaksConnections && again:
		c.work.Go(func() { c.leak(addr) })
	}
	return cn, nil
}

// leak opens a connection that nobody will use.
func (c *client) leak(addr string) {
	if spare, err := c.dial(c.ctx, addr, nil); err == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.all = append(c.all, spare)
	}
}

// storm tries to sign in without pause for as long as it is refused.
func (c *client) storm(addr string) {
	for c.ctx.Err() == nil {
		if cn, err := c.dial(c.ctx, addr, nil); err == nil {
			cn.close()
			return
		}
	}
}

func (c *client) giveBack(cn *conn, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	keeps := c.bug == KeepsAfterTimeout && errors.Is(err, context.DeadlineExceeded)
	if err != nil && !keeps {
		c.forget(cn)
		return
	}
	c.idle[cn.addr] = append(c.idle[cn.addr], cn)
}

// forget drops a dead connection. SkipsLaterConnections keeps it, as a list of weak references that nobody prunes would.
func (c *client) forget(cn *conn) {
	if c.bug != SkipsLaterConnections {
		c.all = slices.DeleteFunc(c.all, func(other *conn) bool { return other == cn })
	}
}

// subscribe opens the subscriber's connection and keeps it subscribed for as long as the client lives.
func (c *client) subscribe(ctx context.Context, channels []string, onMessage func(channel, text string)) error {
	cn, err := c.subscribeOnce(ctx, channels, onMessage)
	if err != nil {
		return err
	}
	c.work.Go(func() {
		for {
			select {
			case <-cn.gone:
			case <-c.ctx.Done():
				cn.close()
				return
			}
			for {
				if !sleep(c.ctx, 50*time.Millisecond) || c.bug == NeverReconnects {
					return
				}
				again := channels
				if c.bug == NeverResubscribes {
					again = nil
				}
				next, err := c.subscribeOnce(c.ctx, again, onMessage)
				if err == nil {
					c.mu.Lock()
					c.unsubscribed(cn)
					c.mu.Unlock()
					cn = next
					break
				}
			}
		}
	})
	return nil
}

// unsubscribed drops a subscriber's connection that is gone; the caller holds mu.
func (c *client) unsubscribed(cn *conn) {
	is := func(other *conn) bool { return other == cn }
	c.all, c.subscribed = slices.DeleteFunc(c.all, is), slices.DeleteFunc(c.subscribed, is)
}

func (c *client) subscribeOnce(ctx context.Context, channels []string, onMessage func(channel, text string)) (*conn, error) {
	confirmed := make(chan struct{}, len(channels))
	cn, err := c.dial(ctx, c.seed(), func(v protocol.Value) {
		switch {
		case len(v.Items) == 3 && v.Items[0].Text == "message" && c.bug != DropsMessages:
			onMessage(v.Items[1].Text, v.Items[2].Text)
		case len(v.Items) == 3 && v.Items[0].Text == "subscribe":
			confirmed <- struct{}{}
		}
	})
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.all, c.subscribed = append(c.all, cn), append(c.subscribed, cn)
	c.mu.Unlock()
	if len(channels) == 0 {
		return cn, nil
	}
	if _, err := cn.net.Write(encodeCommand(append([]string{"SUBSCRIBE"}, channels...)...)); err != nil {
		cn.close()
		return nil, err
	}
	timeout := time.NewTimer(c.commandTimeout())
	defer timeout.Stop()
	for range channels {
		select {
		case <-confirmed:
		case v := <-cn.replies:
			cn.close()
			return nil, &serverError{v.Text}
		case <-cn.gone:
			return nil, errClosed
		case <-timeout.C:
			cn.close()
			return nil, context.DeadlineExceeded
		}
	}
	return cn, nil
}

func (c *client) close() {
	c.stop()
	c.cancel()
	if c.tokens != nil && c.bug != KeepsRenewing {
		c.tokens.release()
	}
	c.mu.Lock()
	all := slices.Clone(c.all)
	c.mu.Unlock()
	for _, cn := range all {
		cn.close()
	}
	c.work.Wait()
}
