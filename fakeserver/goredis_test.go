package fakeserver_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeserver"
	"github.com/entracache/entracache/fakeserver/internal/token/tokentest"
)

// TestWithGoRedis uses the fake as a real client library does: sign-in by a
// credentials provider, a pool, pub/sub, a transaction, a blocking pop.
func TestWithGoRedis(t *testing.T) {
	t.Parallel()
	iss := tokentest.New(t)
	s := fakeserver.RunT(t, fakeserver.WithIssuer(iss.URL()), fakeserver.WithIssuerCA(iss.CAPEM()))
	require.NoError(t, s.Assign(oid, fakeserver.DataContributor))
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(s.CAPEM()))
	for _, proto := range []int{2, 3} {
		rdb := redis.NewClient(&redis.Options{
			Addr: s.Addr(), Protocol: proto, TLSConfig: &tls.Config{RootCAs: pool},
			CredentialsProviderContext: func(context.Context) (string, string, error) {
				return oid, iss.Token(t, oid, time.Now(), time.Hour), nil
			},
		})
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		require.NoError(t, rdb.Set(ctx, "k", "v", time.Minute).Err())
		assert.Equal(t, "v", rdb.Get(ctx, "k").Val())
		require.NoError(t, rdb.HSet(ctx, "h", "a", "1", "b", "2").Err())
		assert.Equal(t, map[string]string{"a": "1", "b": "2"}, rdb.HGetAll(ctx, "h").Val())
		require.NoError(t, rdb.ZAdd(ctx, "z", redis.Z{Score: 1.5, Member: "m"}).Err())
		assert.Equal(t, []redis.Z{{Score: 1.5, Member: "m"}}, rdb.ZRangeWithScores(ctx, "z", 0, -1).Val())
		assert.ErrorContains(t, rdb.FlushAll(ctx).Err(), "NOPERM")
		assert.ErrorContains(t, rdb.ConfigGet(ctx, "*").Err(), "unknown command")

		sub := rdb.Subscribe(ctx, "c")
		_, err := sub.Receive(ctx)
		require.NoError(t, err)
		require.NoError(t, rdb.Publish(ctx, "c", "hello").Err())
		msg, err := sub.ReceiveMessage(ctx)
		require.NoError(t, err)
		assert.Equal(t, "hello", msg.Payload)
		require.NoError(t, sub.Close())

		err = rdb.Watch(ctx, func(tx *redis.Tx) error {
			_, err := tx.TxPipelined(ctx, func(p redis.Pipeliner) error {
				p.Incr(ctx, "n")
				p.RPush(ctx, "list", "x")
				return nil
			})
			return err
		}, "n")
		require.NoError(t, err)
		assert.Equal(t, []string{"list", "x"}, rdb.BLPop(ctx, time.Second, "list").Val())
		require.NoError(t, rdb.Del(ctx, "k", "h", "z", "n").Err())
		require.NoError(t, rdb.Close())
		cancel()
	}
}
