package scenarios

import (
	"fmt"
	"slices"
	"time"

	"github.com/entracache/entracache/fakeserver"
)

// connection is one connection of the client as the cache saw it, put together from the cache's events.
type connection struct {
	id         int64
	opened     time.Time
	tlsVersion string
	// proto is the RESP version last agreed on.
	proto int
	// signIns are all AUTH and HELLO … AUTH, refused ones too, in order.
	signIns []fakeserver.Event
	// closed is zero while the connection is open.
	closed      time.Time
	closeReason fakeserver.Reason
}

// accepted are the sign-ins that the cache accepted.
func (c *connection) accepted() []fakeserver.Event {
	var ok []fakeserver.Event
	for _, e := range c.signIns {
		if e.Outcome == fakeserver.OutcomeOK {
			ok = append(ok, e)
		}
	}
	return ok
}

// closedByCache tells whether the cache, and not the client, ended the connection.
func (c *connection) closedByCache() bool {
	return !c.closed.IsZero() && c.closeReason != fakeserver.ReasonClientClosed && c.closeReason != fakeserver.ReasonQuit
}

// connections puts the events of the cache together, in the order in which the connections were opened.
func connections(events []fakeserver.Event) []*connection {
	byID := map[int64]*connection{}
	var list []*connection
	for _, e := range events {
		c := byID[e.Conn]
		switch {
		case e.Kind == fakeserver.EventConnectionOpened:
			c = &connection{id: e.Conn, opened: e.Time, tlsVersion: e.TLSVersion, proto: 2}
			byID[e.Conn] = c
			list = append(list, c)
		case c == nil:
			continue
		case e.Kind == fakeserver.EventHello:
			c.proto = e.Proto
		case e.Kind == fakeserver.EventAuth:
			c.proto = e.Proto
			c.signIns = append(c.signIns, e)
		case e.Kind == fakeserver.EventConnectionClosed:
			c.closed, c.closeReason = e.Time, e.Reason
		}
	}
	return list
}

// signedIn are the connections on which at least one sign-in was accepted.
func signedIn(list []*connection) []*connection {
	return slices.DeleteFunc(slices.Clone(list), func(c *connection) bool { return len(c.accepted()) == 0 })
}

// renewedBefore checks that the connection got a newer token at least margin (on the world's clock) before each of its tokens expired, as
// far as time has come and the client has kept it. It returns what is wrong, or "".
func (w *World) renewedBefore(c *connection, margin time.Duration) string {
	ok := c.accepted()
	now := w.clock.Now()
	for i, e := range ok {
		if e.Token == nil {
			return fmt.Sprintf("connection %d signed in without a token", c.id)
		}
		due := e.Token.Expires.Add(-margin)
		if i+1 < len(ok) {
			// Every AUTH carries a token; only one that lasts longer is a renewal.
			next := slices.IndexFunc(ok[i+1:], func(n fakeserver.Event) bool {
				return n.Token != nil && n.Token.Expires.After(e.Token.Expires)
			})
			if next >= 0 && !ok[i+1+next].Time.After(due) {
				continue
			}
			if next >= 0 {
				return fmt.Sprintf("connection %d sent AUTH with a newer token at %s, when the old one had %s left",
					c.id, w.at(ok[i+1+next].Time), w.life(e.Token.Expires.Sub(ok[i+1+next].Time)))
			}
		}
		if now.Before(due) {
			continue // the time for it has not come yet
		}
		if !c.closed.IsZero() && !c.closedByCache() && c.closed.Before(due) {
			continue // the client has not kept the connection
		}
		if !c.closed.IsZero() {
			return fmt.Sprintf("no AUTH with a newer token on connection %d; it was closed at %s: %s", c.id, w.at(c.closed), c.closeReason)
		}
		return fmt.Sprintf("no AUTH with a newer token on connection %d by %s; its token expires at %s", c.id, w.at(now), w.at(e.Token.Expires))
	}
	return ""
}
