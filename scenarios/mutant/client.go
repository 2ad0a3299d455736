package mutant

import (
	"context"
	"errors"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
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
	broken     bool            // LosesConnectionOnDenial, BreaksWhenRefusedAgain, KnowsOneWording, BreaksWhileLoading
	subscriber *conn
}

func newClient(bug Bug, open protocol.Request) *client {
	c := &client{bug: bug, open: open, stop: func() {}, idle: map[string][]*conn{}, signedIn: map[string]bool{}}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	if open.Credential.Kind == protocol.CredentialClientSecret {
		c.tokens = newTokenSource(bug, open)
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

// renewAll sends AUTH with the new token on every connection, each as soon as its command in flight is answered.
func (c *client) renewAll(token accessToken) {
	c.mu.Lock()
	defer c.mu.Unlock()
	conns := c.all
	if c.bug == SkipsLaterConnections {
		conns = conns[:min(1, len(conns))]
	}
	for _, cn := range conns {
		switch {
		case c.bug == SkipsSubscribers && cn == c.subscriber:
		case c.bug == RenewsSeedOnly && cn.addr != c.seed():
		case cn.proto == 2 && cn == c.subscriber: // RESP2 cannot: the cache will close it, and it comes back
		case c.bug == SkipsIdleConnections && slices.Contains(c.idle[cn.addr], cn):
			cn.stale = true
		default:
			c.work.Go(func() { c.renew(cn, token) })
		}
	}
}

// command runs a command on a connection of the pool. A connection that turns out to be dead is replaced once.
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
	case c.bug == PretendsToBeConnected && err != nil:
		return protocol.Simple("QUEUED"), nil
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
	if (errors.Is(err, errClosed) || c.demoted(v)) && c.bug != NeverReconnects {
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
	if strings.HasPrefix(strings.ToUpper(args[0]), "B") {
		timeout = 0 // BLPOP and its kind say themselves how long they block
	}
	v, err := cn.do(timeout, args...)
	if c.demoted(v) {
		cn.close()
	}
	c.giveBack(cn, err)
	return v, err
}

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
		return nil, err
	}
	c.signedIn[addr] = true
	c.all = append(c.all, cn)
	return cn, nil
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
					cn = next
					break
				}
			}
		}
	})
	return nil
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
	c.all = slices.DeleteFunc(c.all, func(other *conn) bool { return other == c.subscriber })
	c.all, c.subscriber = append(c.all, cn), cn
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
	if c.tokens != nil {
		c.tokens.close()
	}
	c.mu.Lock()
	all := slices.Clone(c.all)
	c.mu.Unlock()
	for _, cn := range all {
		cn.close()
	}
	c.work.Wait()
}
