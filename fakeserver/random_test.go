package fakeserver_test

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeserver"
	"github.com/entracache/entracache/fakeserver/internal/command"
)

// TestRandomCommands runs commands with arguments that are words of the
// protocol in no sensible order. Each must be answered exactly once, soon, and
// without a panic. The seed is fixed, so that a failure is one of the change
// under test; raise n to look for new ones.
func TestRandomCommands(t *testing.T) {
	t.Parallel()
	const (
		n    = 15_000
		seed = 20261123
	)
	words := strings.Split("k1 k2 k3 l z h s st 0 1 -1 2 10 -100 9223372036854775807 -9223372036854775808 4294967296 0x10 1e5 1.5 inf -inf nan "+
		"(1 [a + - * $ > EX PX NX XX GET COUNT LIMIT WITHSCORES WEIGHTS AGGREGATE MIN STREAMS GROUP STORE km MATCH a b KEEPTTL BEFORE LEFT "+
		"AND NOT ENCODING USAGE CREATE MKSTREAM 1-1 0-0 MAXLEN ~ = WITHCOORD ASC ID LOAD FLUSH CH INCR g c ", " ")
	skip := map[string]bool{
		// These wait, close, or answer more than once.
		"subscribe": true, "psubscribe": true, "unsubscribe": true, "punsubscribe": true, "multi": true, "blpop": true, "brpop": true,
		"brpoplpush": true, "bzpopmin": true, "bzpopmax": true, "wait": true, "host:": true, "post": true, "client": true, "auth": true, "hello": true, "monitor": true,
	}
	w := newWorld(t, fakeserver.WithPlainAddr("127.0.0.1:0"))
	table, err := command.ForLevel("6.0")
	require.NoError(t, err)
	var names []*command.Command
	for _, cmd := range table.All() {
		if !skip[cmd.Name] {
			names = append(names, cmd)
		}
	}
	r := rand.New(rand.NewPCG(seed, 1)) // it is to be repeatable
	var clients []*client
	for _, proto := range []string{"2", "3"} {
		c := dialPlain(t, w.Server)
		c.do("HELLO", proto, "AUTH", "default", "key-one")
		clients = append(clients, c)
	}
	for i := range n {
		c, cmd := clients[i%2], names[r.IntN(len(names))]
		args, more := []string{cmd.Name}, cmd.Arity-1
		if cmd.Arity < 0 {
			more = -cmd.Arity - 1 + r.IntN(5)
		}
		for range more {
			args = append(args, words[r.IntN(len(words))])
		}
		c.send(array(args...) + array("ECHO", "marker"))
		reply, err := c.next(patience)
		require.NoError(t, err, "%q", args)
		require.NotContains(t, reply, "internal error", "%q", args)
		after, err := c.next(patience)
		require.NoError(t, err, "%q", args)
		require.Equal(t, "$6\r\nmarker\r\n", after, "%q answered %.60q and more", args, reply)
		w.clock.Advance(time.Millisecond)
	}
}
