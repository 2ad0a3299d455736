//go:build unix

package fakeentra_test

import (
	"crypto/rand"
	"crypto/rsa"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/entracache/entracache/fakeentra"
)

// BenchmarkTokens measures tokens over HTTPS with kept-alive connections against
// the bare signing rate of golang-jwt with a key of the same size. The two take
// turns in short rounds, so that a busy machine slows both alike, and the medians
// of the rounds are reported. The client runs in the same process and its cost is
// part of the result; where others use the processors too, the ratio of processor
// time ("%-of-signing-cpu") is the one to go by.
func BenchmarkTokens(b *testing.B) {
	s, err := fakeentra.Start()
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	app := s.RegisterApp("orders")
	client := newClient(b, s)
	client.Transport.(*http.Transport).ForceAttemptHTTP2 = false
	form := tokenForm(app).Encode()
	request := func() error {
		resp, err := client.Post(tokenURL(s), "application/x-www-form-urlencoded", strings.NewReader(form))
		if err != nil {
			return err
		}
		defer func() { _ = resp.Body.Close() }()
		if resp.StatusCode != http.StatusOK {
			b.Errorf("status %d", resp.StatusCode)
		}
		_, err = io.Copy(io.Discard, resp.Body)
		return err
	}

	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		b.Fatal(err)
	}
	claims := jwt.MapClaims(decode(b, mustToken(b, s, client, app)).claims)
	sign := func() error {
		_, err := jwt.NewWithClaims(jwt.SigningMethodRS256, claims).SignedString(key)
		return err
	}

	const clients, round = 100, 500
	// The handshakes of the clients are over before anything is measured.
	inParallel(b, clients, round, func(int) error { return request() })
	type turn struct{ signing, serving time.Duration }
	var wall, cpu []turn
	var tails []float64
	b.ResetTimer()
	done := 0
	for ; done < b.N; done += round {
		var w, c turn
		w.signing, c.signing = timed(func() {
			inParallel(b, runtime.GOMAXPROCS(0), round, func(int) error { return sign() })
		})
		took := make([]time.Duration, round)
		w.serving, c.serving = timed(func() {
			inParallel(b, clients, round, func(i int) error {
				began := time.Now()
				err := request()
				took[i] = time.Since(began)
				return err
			})
		})
		wall, cpu = append(wall, w), append(cpu, c)
		// All clients begin at once: their first requests wait less and less.
		took = took[clients:]
		slices.Sort(took)
		tails = append(tails, float64(took[len(took)*99/100])/float64(took[len(took)/2]))
	}
	median := func(turns []turn, of func(turn) float64) float64 {
		values := make([]float64, len(turns))
		for i, t := range turns {
			values[i] = of(t)
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	ratio := func(t turn) float64 { return 100 * t.signing.Seconds() / t.serving.Seconds() }
	slices.Sort(tails)
	b.ReportMetric(median(wall, func(t turn) float64 { return round / t.serving.Seconds() }), "tokens/s")
	b.ReportMetric(median(wall, func(t turn) float64 { return round / t.signing.Seconds() }), "signatures/s")
	b.ReportMetric(median(wall, ratio), "%-of-signing")
	b.ReportMetric(median(cpu, ratio), "%-of-signing-cpu")
	b.ReportMetric(tails[len(tails)/2], "p99/median")
}

// timed tells how long something takes by the wall clock, and how much of the
// processors' time this process uses for it.
func timed(do func()) (wall, cpu time.Duration) {
	used := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			panic(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	start, before := time.Now(), used()
	do()
	return time.Since(start), used() - before
}

func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		s, err := fakeentra.Start()
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func inParallel(b *testing.B, workers, n int, f func(i int) error) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				if err := f(int(i)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}
