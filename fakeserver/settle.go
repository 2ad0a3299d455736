package fakeserver

import (
	"net"
	"runtime"
	"syscall"
	"time"

	"github.com/entracache/entracache/fakeserver/internal/acl"
	"github.com/entracache/entracache/fakeserver/internal/pipe"
)

// Redis runs the commands of all connections in one thread, so an UNSUBSCRIBE
// that was sent before another connection's PUBLISH comes before it. Here every
// connection has a goroutine, and which of two runs first when both have become
// readable is chance. So a PUBLISH first lets those whom it would reach finish
// what they have sent.

const (
	// settleMost is how many receivers are looked at: beyond it the order
	// matters less than the time.
	settleMost = 64
	// settleTurns is how often others get their turn before it is slept: usually
	// the receiver runs already. It is no time, because in a testing/synctest
	// bubble that stands still while anybody runs.
	settleTurns = 1000
	// settlePause is how long is slept then, each time.
	settlePause = 200 * time.Microsecond
	// settleWait bounds the wait for one receiver, until it reads again. On a
	// busy machine it may not get to run for a while.
	settleWait = 100 * time.Millisecond
)

// settle waits until the connections that are subscribed to the channel have
// run what they had sent.
func (h *hub) settle(from *connection, channel string) {
	h.mu.Lock()
	var receivers []*connection
	add := func(subs map[*subscriber]struct{}) {
		for sub := range subs {
			if sub.c != from && len(receivers) < settleMost {
				receivers = append(receivers, sub.c)
			}
		}
	}
	add(h.channels[channel])
	add(h.shards[channel])
	for pattern, subs := range h.patterns {
		if acl.MatchGlob(pattern, []byte(channel)) {
			add(subs)
		}
	}
	h.mu.Unlock()
	for _, c := range receivers {
		if c.settled() {
			continue
		}
		round := c.rounds.Load()
		if c.unsettled.Load() == int64(round) {
			continue // it had its time: most likely its client does not read
		}
		deadline := time.Now().Add(settleWait)
		for turns := 0; c.rounds.Load() == round && !c.settled(); turns++ {
			if turns < settleTurns {
				runtime.Gosched()
				continue
			}
			if time.Now().After(deadline) {
				c.unsettled.Store(int64(round))
				break
			}
			time.Sleep(settlePause)
		}
	}
}

// settled says whether the connection has nothing to do: its goroutine waits
// for the client, or for data in a blocking command, and nothing has come from
// the client meanwhile.
func (c *connection) settled() bool {
	if !c.alive() || c.unblock.Load() != nil || c.postponed.Load() {
		return true
	}
	return c.reading.Load() && !unread(c.socket)
}

// unread says whether the socket holds bytes that were not read yet. Where that
// cannot be told it says no.
func unread(conn net.Conn) bool {
	if memory, ok := conn.(*pipe.Conn); ok {
		return memory.Unread()
	}
	raw, ok := conn.(syscall.Conn)
	if !ok {
		return false
	}
	control, err := raw.SyscallConn()
	if err != nil {
		return false
	}
	some := false
	_ = control.Control(func(fd uintptr) { some = peek(fd) })
	return some
}
