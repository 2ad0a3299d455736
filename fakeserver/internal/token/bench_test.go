//go:build unix

package token_test

import (
	"context"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeserver/internal/token"
	"github.com/entracache/entracache/fakeserver/internal/token/tokentest"
)

// different is how many tokens the benchmarks of first-time tokens go around in:
// more than a Validator remembers, so that none is met again.
const different = 4200

// BenchmarkValidate shows, on all cores, what a token costs: one that was seen
// before, one that was not, and beside them what golang-jwt needs for the bare RSA
// verification and for Parse.
func BenchmarkValidate(b *testing.B) {
	iss := tokentest.New(b)
	fresh := func(b *testing.B) *token.Validator {
		v, err := token.New(token.Config{Issuer: iss.URL(), CAPEM: iss.CAPEM(), Audiences: []string{tokentest.Audience}})
		require.NoError(b, err)
		_, err = v.Validate(context.Background(), oid, iss.Token(b, oid, time.Now(), time.Hour))
		require.NoError(b, err)
		return v
	}
	tokens := make([]string, different)
	for i := range tokens {
		claims := tokentest.Claims(oid, time.Now(), time.Hour)
		claims["uti"] = uuid.NewString()
		tokens[i] = iss.Sign(b, claims)
	}
	key := &tokentest.Key("k1").PublicKey
	run := func(b *testing.B, one func(i int) error) {
		var n atomic.Int64
		b.ReportAllocs()
		begin := cpuTime()
		b.ResetTimer()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if err := one(int(n.Add(1)-1) % different); err != nil {
					b.Error(err)
					return
				}
			}
		})
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tokens/s")
		b.ReportMetric(float64(cpuTime()-begin)/float64(b.N), "cpu-ns/op")
	}
	b.Run("seen", func(b *testing.B) {
		v := fresh(b)
		run(b, func(int) error { _, err := v.Validate(context.Background(), oid, tokens[0]); return err })
	})
	b.Run("new", func(b *testing.B) {
		v := fresh(b)
		run(b, func(i int) error { _, err := v.Validate(context.Background(), oid, tokens[i]); return err })
	})
	b.Run("golang-jwt-Parse", func(b *testing.B) {
		run(b, func(i int) error {
			_, err := jwt.Parse(tokens[i], func(*jwt.Token) (any, error) { return key, nil })
			return err
		})
	})
	b.Run("golang-jwt-Verify", func(b *testing.B) {
		type parts struct {
			text string
			sig  []byte
		}
		split := make([]parts, different)
		for i, compact := range tokens {
			tok, text, err := jwt.NewParser().ParseUnverified(compact, jwt.MapClaims{})
			require.NoError(b, err)
			sig, err := jwt.NewParser().DecodeSegment(text[2])
			require.NoError(b, err)
			split[i] = parts{compact[:len(compact)-len(text[2])-1], sig}
			_ = tok
		}
		run(b, func(i int) error { return jwt.SigningMethodRS256.Verify(split[i].text, split[i].sig, key) })
	})
}

// cpuTime is what the process has used so far. On a machine that others use too it
// compares better than the time on the wall.
func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
