package fakeserver_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/auth"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeentra"
	"github.com/entracache/entracache/fakeserver"
)

// renewing is a credentials provider of the kind that go-redis documents: it has
// a token, and announces a new one when 0.7 of its life is over.
type renewing struct {
	objectID string
	fetch    func() (token string, life time.Duration, err error)

	mu        sync.Mutex
	current   string
	listeners map[auth.CredentialsListener]bool
}

func (p *renewing) Subscribe(l auth.CredentialsListener) (auth.Credentials, auth.UnsubscribeFunc, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.listeners[l] = true
	return auth.NewBasicCredentials(p.objectID, p.current), func() error {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.listeners, l)
		return nil
	}, nil
}

// run renews until the context is done.
func (p *renewing) run(ctx context.Context, t *testing.T) {
	for {
		token, life, err := p.fetch()
		require.NoError(t, err)
		p.mu.Lock()
		p.current = token
		var tell []auth.CredentialsListener
		for l := range p.listeners {
			tell = append(tell, l)
		}
		p.mu.Unlock()
		for _, l := range tell {
			l.OnNext(auth.NewBasicCredentials(p.objectID, token))
		}
		select {
		case <-time.After(life * 7 / 10):
		case <-ctx.Done():
			return
		}
	}
}

// signIn asks the issuer for a token with a client secret.
func signIn(entra *fakeentra.Server, app *fakeentra.App) (token string, life time.Duration, err error) {
	client := http.Client{Transport: entra.Transport()}
	resp, err := client.PostForm(entra.Authority()+"/oauth2/v2.0/token", url.Values{
		"grant_type": {"client_credentials"}, "client_id": {app.ClientID}, "client_secret": {app.ClientSecret},
		"scope": {fakeentra.RedisScope},
	})
	if err != nil {
		return "", 0, err
	}
	defer resp.Body.Close()
	var answer struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int    `json:"expires_in"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || resp.StatusCode != http.StatusOK {
		return "", 0, fmt.Errorf("status %d: %w", resp.StatusCode, err)
	}
	return answer.AccessToken, time.Duration(answer.ExpiresIn) * time.Second, nil
}

// TestThreeDaysInABubble: go-redis, over TLS in memory, lives through three days of
// hourly tokens on one connection. Nothing here sleeps on the wall clock.
func TestThreeDaysInABubble(t *testing.T) {
	const days = 3
	begin := time.Now() // of the wall
	synctest.Test(t, func(t *testing.T) {
		entra := fakeentra.RunT(t, fakeentra.WithInMemory())
		app := entra.RegisterApp("orders")
		cache := fakeserver.RunT(t, fakeserver.WithInMemory(),
			fakeserver.WithIssuer(entra.Authority()), fakeserver.WithIssuerTransport(entra.Transport()))
		require.NoError(t, cache.Assign(app.ObjectID, fakeserver.DataContributor))

		ctx, cancel := context.WithCancel(t.Context())
		provider := &renewing{objectID: app.ObjectID, listeners: map[auth.CredentialsListener]bool{},
			fetch: func() (string, time.Duration, error) { return signIn(entra, app) }}
		var renewal sync.WaitGroup
		renewal.Go(func() { provider.run(ctx, t) })
		synctest.Wait()
		rdb := redis.NewClient(&redis.Options{
			Addr: cache.Addr(), Dialer: cache.Dial, Protocol: 3,
			StreamingCredentialsProvider: provider, PoolSize: 1, ConnMaxIdleTime: -1,
		})
		// go-redis renews a connection when it is used next, or opens another.
		for minutes := 0; minutes < days*24*60; minutes += 10 {
			require.NoError(t, rdb.Set(ctx, "minutes", minutes, 15*time.Minute).Err())
			time.Sleep(10 * time.Minute)
			require.Equal(t, fmt.Sprint(minutes), rdb.Get(ctx, "minutes").Val())
		}
		time.Sleep(10 * time.Minute)
		assert.ErrorIs(t, rdb.Get(ctx, "minutes").Err(), redis.Nil)

		require.NoError(t, rdb.Close())
		cancel()
		renewal.Wait()
		for _, e := range cache.Events() {
			if e.Kind == fakeserver.EventAuth {
				assert.Equal(t, fakeserver.OutcomeOK, e.Outcome, e.Detail)
			}
		}
		tokens := len(entra.Requests()) - 3 // two discovery documents and the keys
		assert.GreaterOrEqual(t, tokens, days*24)
		renewed, err := cache.WaitRenewed(t.Context(), app.ObjectID, days*12)
		require.NoError(t, err)
		assert.Positive(t, renewed[0].Lead)
	})
	took := time.Since(begin)
	t.Logf("%d days took %s", days, took)
	assert.Less(t, took, time.Minute)
}

// TestExpiryInABubble is exact to the nanosecond.
func TestExpiryInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		entra := fakeentra.RunT(t, fakeentra.WithInMemory())
		app := entra.RegisterApp("orders")
		cache := fakeserver.RunT(t, fakeserver.WithInMemory(), fakeserver.WithPlainAddr("127.0.0.1:0"), fakeserver.WithTokensOnPlainPort(),
			fakeserver.WithIssuer(entra.Authority()), fakeserver.WithIssuerTransport(entra.Transport()))
		require.NoError(t, cache.Assign(app.ObjectID, fakeserver.DataContributor))
		for _, addr := range []string{cache.Addr(), cache.PlainAddr()} {
			conn, err := cache.Dial(t.Context(), "tcp", addr)
			require.NoError(t, err)
			c := newClient(t, conn)
			token, life, err := signIn(entra, app)
			require.NoError(t, err)
			begin := time.Now()
			require.Equal(t, "+OK", c.line("AUTH", app.ObjectID, token))
			_ = c.conn.SetReadDeadline(time.Time{})
			_, err = c.conn.Read(make([]byte, 1))
			require.Error(t, err)
			assert.Equal(t, life, time.Since(begin))
		}
		e, err := cache.WaitSignedOut(t.Context(), app.ObjectID)
		require.NoError(t, err)
		assert.Equal(t, fakeserver.ReasonTokenExpired, e.Reason)
	})
}

// TestDial: in memory beside the TCP ports, with everything that happens there.
func TestDial(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string][]fakeserver.Option{"beside TCP": nil, "in memory only": {fakeserver.WithInMemory()}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, append(opts, fakeserver.WithPlainAddr("127.0.0.1:0"))...)
			dial := func(addr string) *client {
				t.Helper()
				conn, err := w.Dial(t.Context(), "tcp", addr)
				require.NoError(t, err)
				return newClient(t, conn)
			}
			c, plain := dial(w.Addr()), dial(w.PlainAddr())
			assert.Equal(t, "+OK", c.line("AUTH", "key-one"))
			assert.Equal(t, "+OK", plain.line("AUTH", "key-one"))
			assert.Contains(t, c.do("CLIENT", "LIST"), "addr="+c.conn.LocalAddr().String())
			assert.Equal(t, "+OK", c.line("SET", "a", "b"))
			assert.Equal(t, "$1\r\nb", plain.line("GET", "a"))

			w.Fail(fakeserver.Fault{Action: fakeserver.FaultReset, Command: "get"})
			plain.send(array("GET", "a"))
			assert.ErrorContains(t, plain.end(), "reset")
			w.RemoveFaults()
			require.NoError(t, w.Reboot())
			c.closed()

			_, err := w.Dial(t.Context(), "tcp", "127.0.0.1:1")
			assert.ErrorContains(t, err, "no port at")
			_, err = w.Dial(t.Context(), "udp", w.Addr())
			assert.ErrorContains(t, err, "udp")
			require.NoError(t, w.Close())
			_, err = w.Dial(t.Context(), "tcp", w.Addr())
			assert.ErrorContains(t, err, "refused")
		})
	}
}
