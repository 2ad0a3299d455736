package fakeserver

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/jonboulle/clockwork"
)

// WithMaxClients sets how many clients may be connected to a node. Default what
// the SKU allows (azure-docs cache-configure.md), and 10,000, which is Redis'
// default, where there is no SKU or no source for it.
//
// "Once the limit is reached Redis closes all the new connections, returning a
// 'max number of clients reached' error" (ibid.). Over TLS the error comes after
// the handshake; whether the service does the handshake has no source.
// Open-source Redis does not, so a TLS client of ProfileOSS60 and ProfileOSS70
// sees its connection closed without a word.
func WithMaxClients(n int) Option {
	return func(o *options) error {
		if n <= 0 {
			return fmt.Errorf("WithMaxClients: expected more than 0, got %d", n)
		}
		o.maxClients = n
		return nil
	}
}

// ServiceIdleTimeout is the service's: "Azure Cache for Redis has a 10-minute
// timeout for idle connections" (azure-docs cache-best-practices-connection.md).
const ServiceIdleTimeout = 10 * time.Minute

// WithIdleTimeout closes a connection, without a word, when it has sent no
// command for so long; the service's own is ServiceIdleTimeout. Default 0: idle
// connections live until their token expires, so that a test of token renewal
// may leave a client idle for an hour without asking for keepalive commands
// too.
//
// As in Redis, whose parameter timeout this is, a connection does not count as
// idle while it waits in a blocking command, is subscribed, or monitors. What
// the service counts has no source.
func WithIdleTimeout(d time.Duration) Option {
	return func(o *options) error {
		if d < 0 {
			return fmt.Errorf("WithIdleTimeout: expected 0 or more, got %s", d)
		}
		o.idleTimeout = d
		return nil
	}
}

// setLimits settles the limits once the options are known.
func (s *Server) setLimits() {
	s.config.start = map[string]string{}
	n := s.opts.maxClients
	if n == 0 {
		n = s.opts.sku.MaxClients()
	}
	if n > 0 {
		s.config.start["maxclients"] = strconv.Itoa(n)
	}
	s.apply("maxclients", s.setting("maxclients"))
	if seconds := s.opts.idleTimeout / time.Second; seconds > 0 {
		s.config.start["timeout"] = strconv.FormatInt(int64(seconds), 10)
	}
}

// MaxClients is how many clients may be connected to a node.
func (s *Server) MaxClients() int { return int(s.maxClients.Load()) }

// reserve takes one of the node's places for clients; false means that there is
// none left.
func (n *node) reserve() bool {
	if n.clients.Add(1) <= n.s.maxClients.Load() {
		return true
	}
	n.clients.Add(-1)
	return false
}

func (n *node) release() { n.clients.Add(-1) }

const tooManyClients = "ERR max number of clients reached"

// reject tells a client, without waiting for it, that there are too many.
func (s *Server) reject(socket net.Conn, tlsConfig *tls.Config) {
	s.stats.rejected.Add(1)
	s.record(Event{Kind: EventConnectionRejected, Outcome: OutcomeRefused, Reason: ReasonMaxClients,
		Detail: fmt.Sprintf("from %s: -%s (%d)", socket.RemoteAddr(), tooManyClients, s.maxClients.Load())})
	if tlsConfig != nil && s.prof.openUsers {
		_ = socket.Close()
		return
	}
	s.wg.Go(func() {
		defer socket.Close()
		ctx, cancel := context.WithTimeout(s.ctx, s.opts.handshakeTimeout)
		defer cancel()
		defer context.AfterFunc(ctx, func() { _ = socket.Close() })()
		conn := socket
		if tlsConfig != nil {
			encrypted := tls.Server(socket, tlsConfig)
			if encrypted.HandshakeContext(ctx) != nil {
				return
			}
			conn = encrypted
		}
		if _, err := io.WriteString(conn, "-"+tooManyClients+"\r\n"); err != nil {
			return
		}
		// What the client has sent meanwhile is read, or the system would tell
		// it of a reset instead of the error.
		if half, ok := conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
			_, _ = io.Copy(io.Discard, conn)
		}
	})
}

// idling closes a connection that has been idle for too long. Its timer looks
// when the connection would have been, had it done nothing since.
type idling struct {
	mu    sync.Mutex
	timer clockwork.Timer
}

// stop ends the looking.
func (x *idling) stop() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.timer != nil {
		x.timer.Stop()
		x.timer = nil
	}
}

// watchIdle begins to look, or looks anew after the timeout was changed.
func (c *connection) watchIdle() {
	limit := time.Duration(c.s.idleTimeout.Load())
	if limit == 0 || !c.alive() {
		return
	}
	now := c.s.opts.clock.Now()
	left := limit
	if !c.occupied() {
		left -= now.Sub(time.Unix(0, c.lastAt.Load()))
	}
	if left <= 0 {
		c.kill(ReasonIdle)
		return
	}
	c.idle.mu.Lock()
	defer c.idle.mu.Unlock()
	if c.idle.timer != nil {
		c.idle.timer.Stop()
	}
	c.idle.timer = c.s.opts.clock.AfterFunc(left, c.watchIdle)
}

// occupied says whether the connection does not count as idle although it sends
// nothing.
func (c *connection) occupied() bool {
	return c.unblock.Load() != nil || c.postponed.Load() || c.subscriptions() > 0 || c.monitoring.Load()
}
