package fakeserver

import (
	"bufio"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestPanicClosesOneConnection replaces a command by one that panics.
func TestPanicClosesOneConnection(t *testing.T) {
	s := RunT(t, WithPlainAddr("127.0.0.1:0"), WithAccessKeys("k", "l"))
	s.handlers[s.table.Lookup([]byte("echo")).ID] = func(q *request) {
		if string(q.args[1]) == "locked" {
			s.keyspace.Atomically(nil) // a nil function: panics with the keyspace locked
		}
		panic("on purpose")
	}
	for _, arg := range []string{"free", "locked"} {
		conn, err := net.Dial("tcp", s.PlainAddr())
		require.NoError(t, err)
		defer conn.Close()
		require.NoError(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
		_, err = fmt.Fprintf(conn, "AUTH k\r\nPING\r\nECHO %s\r\nSET must-not run\r\n", arg)
		require.NoError(t, err)
		lines := bufio.NewScanner(conn)
		var got []string
		for lines.Scan() {
			got = append(got, lines.Text())
		}
		assert.Equal(t, []string{"+OK", "+PONG", "-ERR internal error of the fake cache, which closes this connection"}, got)
	}
	conn, err := net.Dial("tcp", s.PlainAddr())
	require.NoError(t, err)
	defer conn.Close()
	_, err = fmt.Fprint(conn, "AUTH k\r\nEXISTS must-not\r\n")
	require.NoError(t, err)
	r := bufio.NewReader(conn)
	for _, want := range []string{"+OK\r\n", ":0\r\n"} {
		line, err := r.ReadString('\n')
		require.NoError(t, err)
		assert.Equal(t, want, line)
	}
	_, err = s.Wait(t.Context(), func(e Event) bool { return e.Kind == EventConnectionClosed && e.Reason == ReasonPanic })
	require.NoError(t, err)
}
