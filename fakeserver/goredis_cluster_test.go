package fakeserver_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeserver"
	"github.com/entracache/entracache/fakeserver/internal/token/tokentest"
)

// TestWithGoRedisCluster lets a real cluster client, signed in with tokens over
// TLS, live through a slot migration, a failover, scaling out and in, and a
// reboot, with writers at work all the time: no acknowledged write is lost, and
// the client finds its way by itself.
func TestWithGoRedisCluster(t *testing.T) {
	t.Parallel()
	for _, profile := range []fakeserver.Profile{fakeserver.ProfileAzureCache60, fakeserver.ProfileManagedRedis74} {
		t.Run(string(profile), func(t *testing.T) {
			t.Parallel()
			iss := tokentest.New(t)
			s := fakeserver.RunT(t, fakeserver.WithIssuer(iss.URL()), fakeserver.WithIssuerCA(iss.CAPEM()), fakeserver.WithShards(3),
				fakeserver.WithProfile(profile), fakeserver.WithCertificateForHostOnly())
			require.NoError(t, s.Assign(oid, fakeserver.DataOwner))
			pool := x509.NewCertPool()
			require.True(t, pool.AppendCertsFromPEM(s.CAPEM()))
			rdb := redis.NewClusterClient(&redis.ClusterOptions{
				Addrs: []string{s.Addr()},
				// The nodes are addressed by IP, and the certificate names the
				// host only: the name must be given.
				TLSConfig:    &tls.Config{RootCAs: pool, ServerName: "localhost"},
				MaxRedirects: 16, MaxRetryBackoff: 100 * time.Millisecond, DialerRetries: 1, ReadOnly: profile == fakeserver.ProfileManagedRedis74,
				// It does not ask for the slots when a node that was removed refuses its
				// connections, but only when they are so old, by default a minute.
				ClusterStateReloadInterval: time.Second,
				CredentialsProviderContext: func(context.Context) (string, string, error) {
					return oid, iss.Token(t, oid, time.Now(), time.Hour), nil
				},
			})
			defer func() { require.NoError(t, rdb.Close()) }()
			ctx, cancel := context.WithTimeout(t.Context(), 6*patience)
			defer cancel()

			var acknowledged [4]atomic.Int64
			stop := make(chan struct{})
			var writers sync.WaitGroup
			halt := sync.OnceFunc(func() { close(stop); writers.Wait() })
			defer func() {
				halt()
				for _, e := range s.Events() {
					assert.NotEqual(t, fakeserver.ReasonPanic, e.Reason, e.Detail)
				}
			}()
			for i := range acknowledged {
				writers.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
						}
						err := rdb.RPush(ctx, fmt.Sprint("list", i), "x").Err()
						var refusal redis.Error
						switch {
						case err == nil:
							acknowledged[i].Add(1)
						case errors.As(err, &refusal):
							assert.NoError(t, err, "the client did not follow a redirection")
						default:
							// A connection was cut, or a node is down.
						}
					}
				})
			}
			progress := func() {
				t.Helper()
				var before [4]int64
				for i := range acknowledged {
					before[i] = acknowledged[i].Load()
				}
				require.Eventually(t, func() bool {
					for i := range acknowledged {
						if acknowledged[i].Load() < before[i]+5 {
							return false
						}
					}
					return true
				}, 2*patience, time.Millisecond)
			}
			progress()

			slot, err := rdb.ClusterKeySlot(ctx, "list0").Result()
			require.NoError(t, err)
			if s.BeginSlotMigration(int(slot), 0) != nil { // it is there already
				require.NoError(t, s.BeginSlotMigration(int(slot), 1))
			}
			progress()
			_, err = s.MoveSlotKeys(int(slot), 1)
			require.NoError(t, err)
			progress()
			require.NoError(t, s.FinishSlotMigration(int(slot)))
			progress()

			require.NoError(t, s.Failover())
			progress()
			require.NoError(t, s.Failover(fakeserver.FailoverShards(1), fakeserver.FailoverTakes(200*time.Millisecond)))
			progress()
			require.NoError(t, s.Scale(fakeserver.ScaleShards(5)))
			progress()
			require.NoError(t, s.Scale(fakeserver.ScaleShards(2)))
			progress()
			require.NoError(t, s.Reboot(fakeserver.RebootNodes(fakeserver.RebootPrimaryNode), fakeserver.RebootTakes(100*time.Millisecond)))
			progress()
			halt()
			for i := range acknowledged {
				reply, err := s.Do("LLEN", fmt.Sprint("list", i))
				require.NoError(t, err)
				var n int64
				_, err = fmt.Sscanf(reply, ":%d\r\n", &n)
				require.NoError(t, err)
				assert.GreaterOrEqual(t, n, acknowledged[i].Load(), "an acknowledged write was lost")
			}

			sub := rdb.Subscribe(ctx, "news")
			_, err = sub.Receive(ctx)
			require.NoError(t, err)
			require.NoError(t, rdb.Publish(ctx, "news", "hello").Err())
			message, err := sub.ReceiveMessage(ctx)
			require.NoError(t, err)
			assert.Equal(t, "hello", message.Payload)
			require.NoError(t, sub.Close())
			_, err = rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
				p.Set(ctx, "{t}1", "x", 0)
				p.Incr(ctx, "{t}2")
				return nil
			})
			require.NoError(t, err)
			require.NoError(t, rdb.Eval(ctx, "return redis.call('SET', KEYS[1], ARGV[1])", []string{"k"}, "v").Err())
			assert.Equal(t, "v", rdb.Get(ctx, "k").Val())
		})
	}
}
