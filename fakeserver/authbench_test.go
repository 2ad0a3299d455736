package fakeserver_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeserver"
	"github.com/entracache/entracache/fakeserver/internal/token/tokentest"
)

// BenchmarkSignIn is a pool that signs in again and again with the same token, over
// pipelined connections, beside PING over the same; and tokens that come for the
// first time. An operation is one command.
func BenchmarkSignIn(b *testing.B) {
	const pipeline, different = 64, 66 * 64 // more tokens than are remembered
	iss := tokentest.New(b)
	s := fakeserver.RunT(b, fakeserver.WithPlainAddr("127.0.0.1:0"), fakeserver.WithTokensOnPlainPort(),
		fakeserver.WithIssuer(iss.URL()), fakeserver.WithIssuerCA(iss.CAPEM()))
	require.NoError(b, s.Assign(oid, fakeserver.DataContributor))
	auth := array("AUTH", oid, iss.Token(b, oid, time.Now(), 24*time.Hour))
	batch := func(n int, command func(i int) string) []byte {
		var all bytes.Buffer
		for i := range n {
			all.WriteString(command(i))
		}
		return all.Bytes()
	}
	var fresh [][]byte
	for _, bench := range []struct {
		name    string
		reply   string
		batches func() [][]byte
	}{
		{"PING", "+PONG\r\n", func() [][]byte { return [][]byte{batch(pipeline, func(int) string { return array("PING") })} }},
		{"AUTH-same", "+OK\r\n", func() [][]byte { return [][]byte{batch(pipeline, func(int) string { return auth })} }},
		{"AUTH-new", "+OK\r\n", func() [][]byte {
			for len(fresh) < different/pipeline {
				fresh = append(fresh, batch(pipeline, func(int) string {
					claims := tokentest.Claims(oid, time.Now(), 24*time.Hour)
					claims["uti"] = uuid.NewString()
					return array("AUTH", oid, iss.Sign(b, claims))
				}))
			}
			return fresh
		}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			batches := make(chan []byte)
			stop := make(chan struct{})
			all := bench.batches()
			go func() {
				for i := 0; ; i++ {
					select {
					case batches <- all[i%len(all)]:
					case <-stop:
						return
					}
				}
			}()
			defer close(stop)
			b.SetParallelism(8)
			b.ReportAllocs()
			begin := cpuTime(b)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				c, err := net.Dial("tcp", s.PlainAddr())
				if err != nil {
					b.Error(err)
					return
				}
				defer c.Close()
				replies := make([]byte, pipeline*len(bench.reply))
				_, _ = fmt.Fprint(c, auth)
				_, err = io.ReadFull(c, replies[:len("+OK\r\n")])
				for more := true; more && err == nil; {
					n := 0
					for n < pipeline && pb.Next() {
						n++
					}
					if more = n == pipeline; n == 0 {
						return
					}
					all := <-batches
					if _, err = c.Write(all[:len(all)/pipeline*n]); err == nil {
						_, err = io.ReadFull(c, replies[:n*len(bench.reply)])
					}
				}
				if err != nil || !bytes.HasPrefix(replies, []byte(bench.reply)) {
					b.Errorf("got %q: %v", replies[:len(bench.reply)], err)
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commands/s")
			b.ReportMetric(float64(cpuTime(b)-begin)/float64(b.N), "cpu-ns/op")
		})
	}
}
