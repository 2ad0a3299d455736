package fakeserver_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeserver"
	"github.com/entracache/entracache/fakeserver/internal/token/tokentest"
)

// BenchmarkCommands is the server as clients see it: 50 connections over TCP,
// signed in with a token as a Data Contributor. An operation is one command.
// The program in bench compares the server with others.
func BenchmarkCommands(b *testing.B) {
	iss := tokentest.New(b)
	s := fakeserver.RunT(b, fakeserver.WithPlainAddr("127.0.0.1:0"), fakeserver.WithTokensOnPlainPort(),
		fakeserver.WithIssuer(iss.URL()), fakeserver.WithIssuerCA(iss.CAPEM()))
	require.NoError(b, s.Assign(oid, fakeserver.DataContributor))
	auth := array("AUTH", oid, iss.Token(b, oid, time.Now(), time.Hour))
	connect := func(encrypted bool) (net.Conn, error) {
		var c net.Conn
		var err error
		if encrypted {
			c, err = tls.Dial("tcp", s.Addr(), &tls.Config{InsecureSkipVerify: true}) // it is a benchmark
		} else {
			c, err = net.Dial("tcp", s.PlainAddr())
		}
		if err != nil {
			return nil, err
		}
		if _, err := c.Write([]byte(auth)); err != nil {
			return nil, err
		}
		_, err = io.ReadFull(c, make([]byte, len("+OK\r\n")))
		return c, err
	}
	for _, load := range []struct {
		name      string
		pipeline  int
		encrypted bool
	}{{"P=64", 64, false}, {"P=1", 1, false}, {"P=1/TLS", 1, true}} {
		for _, command := range []struct {
			args  []string
			reply string
		}{
			{[]string{"SET", "key:1", "xxx"}, "+OK\r\n"},
			{[]string{"GET", "key:1"}, "$3\r\nxxx\r\n"},
			{[]string{"HGET", "hash", "field"}, "$1\r\nv\r\n"},
			{[]string{"SET", "key:2", "xxx", "EX", "60"}, "+OK\r\n"},
		} {
			b.Run(fmt.Sprintf("%s/%s-%d", load.name, command.args[0], len(command.args)), func(b *testing.B) {
				_, err := s.Do("HSET", "hash", "field", "v")
				require.NoError(b, err)
				_, err = s.Do("SET", "key:1", "xxx")
				require.NoError(b, err)
				one := []byte(array(command.args...))
				b.SetParallelism(25)
				b.ReportAllocs()
				b.ResetTimer()
				b.RunParallel(func(pb *testing.PB) {
					c, err := connect(load.encrypted)
					if err != nil {
						b.Error(err)
						return
					}
					defer c.Close()
					batch, replies := bytes.Repeat(one, load.pipeline), make([]byte, load.pipeline*len(command.reply))
					for {
						n := 0
						for n < load.pipeline && pb.Next() {
							n++
						}
						if n == 0 {
							return
						}
						_, err := c.Write(batch[:n*len(one)])
						if err == nil {
							_, err = io.ReadFull(c, replies[:n*len(command.reply)])
						}
						if err != nil || !bytes.HasPrefix(replies, []byte(command.reply)) {
							b.Errorf("got %q: %v", replies[:len(command.reply)], err)
							return
						}
					}
				})
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commands/s")
			})
		}
	}
}
