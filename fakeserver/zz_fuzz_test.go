package fakeserver_test

import (
	"math/rand/v2"
	"testing"
	"time"
	"strings"

	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeserver"
	"github.com/entracache/entracache/fakeserver/internal/command"
)

func TestZZFuzz(t *testing.T) {
	w := newWorld(t, fakeserver.WithPlainAddr("127.0.0.1:0"))
	table, _ := command.ForLevel("6.0")
	words := []string{"k1", "k2", "k3", "l", "z", "h", "s", "st", "0", "1", "-1", "2", "10", "-100", "9223372036854775807", "-9223372036854775808", "4294967296", "0x10", "1e5", "1.5", "inf", "-inf", "nan", "", "(1", "[a", "+", "-", "*", "$", ">", "EX", "PX", "NX", "XX", "GET", "COUNT", "LIMIT", "WITHSCORES", "WEIGHTS", "AGGREGATE", "MIN", "STREAMS", "GROUP", "BLOCK", "STORE", "km", "MATCH", "a", "b", "KEEPTTL", "BEFORE", "LEFT", "AND", "NOT", "return redis.call('get','k1')", "ENCODING", "USAGE", "CREATE", "MKSTREAM", "1-1", "0-0", "MAXLEN", "~", "=", "WITHCOORD", "ASC", "ID", "LOAD", "FLUSH", "CH", "INCR", "g", "c"}
	end := time.Now().Add(25 * time.Second)
	n := 0
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 1))
	all := table.All()
	for time.Now().Before(end) {
		c := dialPlain(t, w.Server)
		require.Equal(t, "+OK", c.line("AUTH", "key-one"))
		if r.IntN(2) == 0 { c.do("HELLO", "3") }
		for range 200 {
			cmd := all[r.IntN(len(all))]
			switch cmd.Name {
			case "subscribe", "psubscribe", "unsubscribe", "punsubscribe", "multi", "blpop", "brpop", "brpoplpush", "bzpopmin", "bzpopmax", "wait", "host:", "post", "xread", "xreadgroup", "client", "auth", "hello", "exec":
				continue
			}
			args := []string{cmd.Name}
			k := cmd.Arity - 1
			if cmd.Arity < 0 { k = -cmd.Arity - 1 + r.IntN(5) }
			for range k { args = append(args, words[r.IntN(len(words))]) }
			n++
			c.send(array(args...) + array("ECHO", "m"))
			rep, err := c.next(5 * time.Second)
			if err != nil { t.Logf("%q: %v", args, err); break }
			m, err := c.next(5 * time.Second)
			if err != nil { t.Logf("AFTER %q -> %q: %v", args, rep, err); break }
			if m != "$1\r\nm\r\n" { t.Logf("DESYNC %q: %.100q %.100q", args, rep, m); break }
			if strings.HasPrefix(rep, "-ERR internal") { t.Logf("%q %q", args, rep) }
		}
		c.conn.Close()
	}
	t.Log(n)
	seen := map[string]int{}
	for _, e := range w.Events() { if e.Reason == fakeserver.ReasonPanic && e.Detail != "" { 
		seen[e.Command]++; if seen[e.Command] == 1 { lines := strings.Split(e.Detail, "\n"); out := lines[0]; for _, l := range lines { if strings.Contains(l, "miniredis/v2@v2.40.0/") { out += " " + l } }; t.Log(e.Command, out[:min(len(out), 500)]) } } }
	t.Log(seen)
}
