package fakeserver_test

import (
	"net"
	"runtime"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeserver"
	"github.com/entracache/entracache/fakeserver/internal/token/tokentest"
)

// massive is as many connections as a large application has.
const massive = 10_000

// BenchmarkMassExpiry lets the tokens of 10,000 connections expire at the same
// instant. The metrics are how late the server closed a connection, by its
// events, and how late its client, another process on the same machine, saw it. The
// same clients see "bare" sockets closed by nothing but the system call, on all
// processors: quicker it cannot be on this machine.
func BenchmarkMassExpiry(b *testing.B) {
	b.Run("bare", func(b *testing.B) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(b, err)
		defer ln.Close()
		var sockets []*net.TCPConn
		accepted := make(chan struct{})
		go func() {
			defer close(accepted)
			for len(sockets) < massive {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				sockets = append(sockets, c.(*net.TCPConn))
			}
		}()
		clients := holdThem(b, held{Addr: ln.Addr().String(), N: massive, Watch: true})
		b.Cleanup(clients.release)
		<-accepted
		cpu, begin := cpuTime(b), time.Now()
		var next atomic.Int64
		for range runtime.GOMAXPROCS(0) {
			go func() {
				for i := next.Add(1); i <= massive; i = next.Add(1) {
					_ = sockets[i-1].CloseWrite()
				}
			}()
		}
		seen := clients.ends(b)
		b.ReportMetric(float64((cpuTime(b)-cpu).Microseconds())/massive, "cpu-µs/conn")
		reportLateness(b, "seen", seen, begin)
		b.ReportMetric(0, "ns/op") // it says nothing
		for _, c := range sockets {
			_ = c.Close()
		}
	})
	for name, encrypted := range map[string]bool{"plain": false, "TLS": true} {
		b.Run(name, func(b *testing.B) {
			w := newMass(b, encrypted)
			// They are renewed with a token that has little time left, when all are there.
			const left = 4 * time.Second
			var exp time.Time
			h := w.held(b, time.Now().Add(time.Hour), massive)
			h.then = func() string {
				exp = time.Now().Add(left).Truncate(time.Second)
				return array("AUTH", oid, w.iss.Token(b, oid, exp.Add(-time.Hour), time.Hour))
			}
			clients := holdThem(b, h)
			b.Cleanup(clients.release)
			require.True(b, time.Now().Before(exp), "this machine is too slow to renew in time")
			time.Sleep(time.Until(exp.Add(-100 * time.Millisecond)))
			cpu := cpuTime(b)
			seen := clients.ends(b)
			var closed []int64
			_, err := w.Wait(b.Context(), func(e fakeserver.Event) bool {
				if e.Kind == fakeserver.EventConnectionClosed && e.Reason == fakeserver.ReasonTokenExpired {
					closed = append(closed, e.Time.UnixNano())
				}
				return len(closed) == massive
			})
			require.NoError(b, err)
			b.ReportMetric(float64((cpuTime(b)-cpu).Microseconds())/massive, "cpu-µs/conn")
			slices.Sort(closed)
			reportLateness(b, "closed", closed, exp)
			reportLateness(b, "seen", seen, exp)
			b.ReportMetric(0, "ns/op") // it says nothing
		})
	}
}

// BenchmarkDisableAccessKeys cuts 10,000 connections over TLS by one change of
// the setting. The metrics are when the clients, in another process, saw the end, and what is
// left behind: goroutines, and bytes of live memory for each connection, events
// included.
func BenchmarkDisableAccessKeys(b *testing.B) {
	w := newMass(b, true)
	w.hold(b, time.Now().Add(time.Hour), 16).release() // what is made once does not count
	require.Eventually(b, func() bool { return len(w.Connections()) == 0 }, patience, time.Millisecond)
	before, _ := memory()
	goroutines := runtime.NumGoroutine()
	clients := w.hold(b, time.Now().Add(time.Hour), massive)
	cpu, begin := cpuTime(b), time.Now()
	require.NoError(b, w.DisableAccessKeys())
	took := time.Since(begin)
	seen := clients.ends(b)
	reportLateness(b, "seen", seen, begin)
	b.ReportMetric(float64(took.Microseconds())/1000, "call-ms")
	clients.release()
	// Eventually looks in a goroutine of its own.
	require.Eventually(b, func() bool { return runtime.NumGoroutine() <= goroutines+1 }, patience, time.Millisecond)
	spent := cpuTime(b) - cpu
	after, _ := memory()
	b.ReportMetric(float64(spent.Microseconds())/massive, "cpu-µs/conn")
	b.ReportMetric(float64(max(0, after-before))/massive, "left-B/conn")
	b.ReportMetric(0, "ns/op") // it says nothing
}

// cpuTime is what this process has had of the processors.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func reportLateness(b *testing.B, what string, times []int64, due time.Time) {
	b.Helper()
	ms := func(i int) float64 { return float64(times[i]-due.UnixNano()) / 1e6 }
	b.ReportMetric(ms(len(times)/2), what+"-p50-ms")
	b.ReportMetric(ms(len(times)*99/100), what+"-p99-ms")
	b.ReportMetric(ms(len(times)-1), what+"-max-ms")
}

type mass struct {
	*fakeserver.Server
	iss       *tokentest.Issuer
	encrypted bool
}

func newMass(b *testing.B, encrypted bool) mass {
	iss := tokentest.New(b)
	s := fakeserver.RunT(b, fakeserver.WithPlainAddr("127.0.0.1:0"), fakeserver.WithTokensOnPlainPort(),
		fakeserver.WithAccessKeys("key-one", "key-two"), fakeserver.WithIssuer(iss.URL()), fakeserver.WithIssuerCA(iss.CAPEM()))
	require.NoError(b, s.Assign(oid, fakeserver.DataContributor))
	return mass{s, iss, encrypted}
}

// held are connections that are signed in until then.
func (w mass) held(b *testing.B, exp time.Time, n int) held {
	now := time.Now()
	h := held{Addr: w.PlainAddr(), TLS: w.encrypted, N: n, Watch: true,
		Hello: array("AUTH", oid, w.iss.Token(b, oid, now, exp.Sub(now))) + array("PING")}
	if w.encrypted {
		h.Addr = w.Addr()
	}
	return h
}

// hold makes connections that are signed in until then.
func (w mass) hold(b *testing.B, exp time.Time, n int) holding {
	clients := holdThem(b, w.held(b, exp, n))
	b.Cleanup(clients.release)
	return clients
}
