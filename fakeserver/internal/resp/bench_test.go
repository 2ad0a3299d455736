package resp

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tidwall/redcon"
)

// bareListener hands redcon the sockets as they are.
type bareListener struct{ net.Listener }

// signedInListener puts a guard before each connection and takes it as authenticated.
type signedInListener struct{ net.Listener }

func (l signedInListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	g := NewGuard(c, Options{})
	g.SetAuthenticated(true)
	return g, nil
}

// BenchmarkRedcon compares redcon behind the guard with bare redcon, over TCP, with 50 clients. An operation is one
// command. The last pair is one client whose commands are too large for redcon's first buffer.
func BenchmarkRedcon(b *testing.B) {
	for _, w := range []struct {
		name        string
		pipeline    int
		command     []byte
		parallelism int
	}{
		{"GET/P=1", 1, command("GET", "key:000000000001"), 25},
		{"GET/P=16", 16, command("GET", "key:000000000001"), 25},
		{"SET/P=16", 16, command("SET", "key:000000000001", "xxx"), 25},
		{"GET/P=64", 64, command("GET", "key:000000000001"), 25},
		{"SET/P=64", 64, command("SET", "key:000000000001", "xxx"), 25},
		{"SET-64KiB/P=1", 1, command("SET", "key:000000000001", string(make([]byte, 64<<10))), 1},
	} {
		for _, kind := range []struct {
			name string
			wrap func(net.Listener) net.Listener
		}{
			{"bare", func(l net.Listener) net.Listener { return bareListener{l} }},
			{"guard", func(l net.Listener) net.Listener { return signedInListener{l} }},
		} {
			b.Run(fmt.Sprintf("%s/%s", w.name, kind.name), func(b *testing.B) {
				ln, err := net.Listen("tcp", "127.0.0.1:0")
				require.NoError(b, err)
				startRedcon(b, kind.wrap(ln), func(conn redcon.Conn, _ redcon.Command) { conn.WriteString("OK") })
				b.SetParallelism(w.parallelism)
				b.ReportAllocs()
				b.ResetTimer()
				b.RunParallel(func(pb *testing.PB) {
					c, err := net.Dial("tcp", ln.Addr().String())
					if err != nil {
						b.Error(err)
						return
					}
					defer c.Close()
					batch := bytes.Repeat(w.command, w.pipeline)
					replies := make([]byte, w.pipeline*len("+OK\r\n"))
					for {
						n := 0
						for n < w.pipeline && pb.Next() {
							n++
						}
						if n == 0 {
							return
						}
						if _, err := c.Write(batch[:n*len(w.command)]); err != nil {
							b.Error(err)
							return
						}
						if _, err := io.ReadFull(c, replies[:n*len("+OK\r\n")]); err != nil {
							b.Error(err)
							return
						}
					}
				})
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commands/s")
			})
		}
	}
}

// BenchmarkGuard is the guard alone, from memory.
func BenchmarkGuard(b *testing.B) {
	one := command("SET", "key:000000000001", "xxx")
	batch := bytes.Repeat(one, 64)
	c := &scripted{}
	g := NewGuard(c, Options{})
	g.SetAuthenticated(true)
	p := make([]byte, redconBuffer)
	b.ReportAllocs()
	b.SetBytes(int64(len(one)))
	for i := 0; i < b.N; i += 64 {
		c.pieces = append(c.pieces[:0], batch)
		for n := 0; n < len(batch); {
			k, err := g.Read(p)
			if err != nil {
				b.Fatal(err)
			}
			n += k
		}
	}
}
