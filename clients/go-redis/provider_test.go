package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	driver "github.com/entracache/entracache/clients/go-driver"
	"github.com/golang-jwt/jwt/v5"
	"github.com/redis/go-redis/v9/auth"
)

// issuer stands in for Microsoft Entra. Its nth token lives for lifetime, unless fail says that the nth request fails.
type issuer struct {
	lifetime time.Duration
	fail     func(request int) error
	claims   jwt.MapClaims

	mu       sync.Mutex
	requests []time.Duration // when, since the start
	start    time.Time
}

func (i *issuer) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.requests = append(i.requests, time.Since(i.start))
	if i.fail != nil {
		if err := i.fail(len(i.requests)); err != nil {
			return azcore.AccessToken{}, err
		}
	}
	claims := jwt.MapClaims{"uti": fmt.Sprint(len(i.requests))}
	for name, value := range i.claims {
		claims[name] = value
	}
	signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte("key"))
	return azcore.AccessToken{Token: signed, ExpiresOn: time.Now().Add(i.lifetime)}, err
}

func (i *issuer) times() []time.Duration {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Clone(i.requests)
}

// listener stands in for a connection of go-redis.
type listener struct {
	mu   sync.Mutex
	next []auth.Credentials
	errs []error
}

func (l *listener) OnNext(c auth.Credentials) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next = append(l.next, c)
}

func (l *listener) OnError(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.errs = append(l.errs, err)
}

func (l *listener) heard() (tokens, errs int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.next), len(l.errs)
}

func startProvider(t *testing.T, i *issuer, username string) *provider {
	i.start = time.Now()
	if i.claims == nil {
		i.claims = jwt.MapClaims{"oid": "the object ID"}
	}
	p := newProvider(func() (azcore.TokenCredential, error) { return i, nil }, []string{"scope"}, username)
	t.Cleanup(p.Close)
	return p
}

func subscribe(t *testing.T, p *provider, l auth.CredentialsListener) (auth.Credentials, auth.UnsubscribeFunc) {
	t.Helper()
	credentials, unsubscribe, err := p.Subscribe(l)
	if err != nil {
		t.Fatal(err)
	}
	return credentials, unsubscribe
}

func wantTimes(t *testing.T, i *issuer, want ...time.Duration) {
	t.Helper()
	// 0.7 is not exact in binary.
	same := func(a, b time.Duration) bool { return (a - b).Abs() < time.Microsecond }
	if got := i.times(); !slices.EqualFunc(got, want, same) {
		t.Errorf("tokens were asked for at %v, want %v", got, want)
	}
}

func TestRefreshIsAnnouncedOncePerConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := &issuer{lifetime: time.Hour}
		p := startProvider(t, issuer, "")
		a, b, gone := &listener{}, &listener{}, &listener{}
		first, _ := subscribe(t, p, a)
		subscribe(t, p, a) // as go-redis does when it initialises a connection again
		subscribe(t, p, b)
		_, unsubscribe := subscribe(t, p, gone)
		_ = unsubscribe()
		_ = unsubscribe()
		if user, _ := first.BasicAuth(); user != "the object ID" {
			t.Errorf("user name %q, want the object ID", user)
		}

		time.Sleep(43 * time.Minute)
		synctest.Wait()
		wantTimes(t, issuer, 0, 42*time.Minute)
		for _, l := range []*listener{a, b} {
			if tokens, errs := l.heard(); tokens != 1 || errs != 0 {
				t.Errorf("a connection heard of %d tokens and %d errors, want 1 and 0", tokens, errs)
			}
		}
		if tokens, _ := gone.heard(); tokens != 0 {
			t.Error("a connection that unsubscribed was called")
		}
		if now, _ := subscribe(t, p, &listener{}); now != a.next[0] || now == first {
			t.Error("a new connection did not get the refreshed token")
		}

		p.Close()
		time.Sleep(24 * time.Hour)
		wantTimes(t, issuer, 0, 42*time.Minute)
	})
}

// Not in a bubble: its clock stands still while a goroutine waits for a mutex.
func TestConnectionsThatAreOpenedTogetherShareOneRequest(t *testing.T) {
	const connections = 10
	var ready, done sync.WaitGroup
	ready.Add(connections)
	issuer := &issuer{lifetime: time.Hour, fail: func(int) error {
		ready.Wait() // answers when every connection is on its way
		return nil
	}}
	p := startProvider(t, issuer, "by hand")
	for range connections {
		done.Go(func() {
			ready.Done()
			credentials, _, err := p.Subscribe(&listener{})
			if err != nil {
				t.Error(err)
			} else if user, _ := credentials.BasicAuth(); user != "by hand" {
				t.Errorf("user name %q, want the configured one", user)
			}
		})
	}
	done.Wait()
	if n := len(issuer.times()); n != 1 {
		t.Errorf("%d connections asked for %d tokens, want 1", connections, n)
	}
}

func TestOneFailureIsNotAnnounced(t *testing.T) {
	for _, lifetime := range []time.Duration{6 * time.Second, time.Hour, 24 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			issuer := &issuer{lifetime: lifetime, fail: func(n int) error {
				if n == 2 {
					return errors.New("503")
				}
				return nil
			}}
			p := startProvider(t, issuer, "")
			l := &listener{}
			subscribe(t, p, l)
			time.Sleep(lifetime * 8 / 10)
			if tokens, errs := l.heard(); tokens != 1 || errs != 0 {
				t.Errorf("the connection heard of %d tokens and %d errors, want 1 and 0", tokens, errs)
			}
			refresh := lifetime * 7 / 10
			wantTimes(t, issuer, 0, refresh, refresh+min(time.Second, lifetime/3600))
		})
	}
}

func TestOutageLongerThanTheToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		down.Store(true)
		issuer := &issuer{lifetime: time.Hour, fail: func(n int) error {
			if n > 1 && down.Load() {
				return errors.New("refused")
			}
			return nil
		}}
		p := startProvider(t, issuer, "")
		l := &listener{}
		subscribe(t, p, l)
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if tokens, errs := l.heard(); tokens != 0 || errs == 0 {
			t.Errorf("in the outage the connection heard of %d tokens and %d errors, want 0 and some", tokens, errs)
		}
		// Rounds at 0.7 of what is left, then 13 s apart: 1 s and 2 s between the attempts, 10 s after them.
		if n := len(issuer.times()); n > 3*(3600/13+10) {
			t.Errorf("%d token requests in an outage of an hour", n)
		}
		_, _, err := p.Subscribe(&listener{})
		if noToken := new(driver.TokenError); !errors.As(err, &noToken) || library.FailureOf(err).Kind != "token" {
			t.Errorf("a new connection got %v, want an error of kind token", err)
		}

		down.Store(false)
		time.Sleep(time.Minute)
		synctest.Wait()
		if tokens, _ := l.heard(); tokens != 1 {
			t.Errorf("after the outage the connection heard of %d tokens, want 1", tokens)
		}
	})
}

func TestTokensThatAreOfNoUse(t *testing.T) {
	for name, issuer := range map[string]*issuer{
		"expired":           {lifetime: -time.Minute},
		"without object ID": {lifetime: time.Hour, claims: jwt.MapClaims{"sub": "x"}},
	} {
		t.Run(name, func(t *testing.T) {
			if _, _, err := startProvider(t, issuer, "").Subscribe(&listener{}); library.FailureOf(errOrNone(err)).Kind != "token" {
				t.Errorf("got %v, want an error of kind token", err)
			}
		})
	}
}

func errOrNone(err error) error {
	if err == nil {
		return errors.New("no error")
	}
	return err
}
