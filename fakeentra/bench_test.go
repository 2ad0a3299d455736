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
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/entracache/entracache/fakeentra"
)

// BenchmarkTokens measures tokens over HTTPS with kept-alive connections against
// the bare signing rate of golang-jwt with a key of the same size. The two take
// turns in short rounds, so that a busy machine slows both alike. The client
// runs in the same process and its cost is part of the result.
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

	const clients, round = 100, 400
	// The handshakes of the clients are over before anything is measured.
	inParallel(b, clients, round, func(int) error { return request() })
	var signing, serving time.Duration
	latencies := make([]time.Duration, 0, b.N+round)
	b.ResetTimer()
	done := 0
	for ; done < b.N; done += round {
		start := time.Now()
		inParallel(b, runtime.GOMAXPROCS(0), round, func(int) error { return sign() })
		signing += time.Since(start)

		took := make([]time.Duration, round)
		start = time.Now()
		inParallel(b, clients, round, func(i int) error {
			began := time.Now()
			err := request()
			took[i] = time.Since(began)
			return err
		})
		serving += time.Since(start)
		latencies = append(latencies, took...)
	}
	slices.Sort(latencies)
	b.ReportMetric(float64(done)/serving.Seconds(), "tokens/s")
	b.ReportMetric(float64(done)/signing.Seconds(), "signatures/s")
	b.ReportMetric(100*signing.Seconds()/serving.Seconds(), "%-of-signing")
	b.ReportMetric(float64(latencies[len(latencies)*99/100])/float64(latencies[len(latencies)/2]), "p99/median")
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
