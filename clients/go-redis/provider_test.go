package main

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	driver "github.com/entracache/entracache/clients/go-driver"
	"github.com/entracache/entracache/clients/go-driver/drivertest"
	"github.com/redis/go-redis/v9/auth"
)

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

func startProvider(t *testing.T, i *drivertest.Issuer, username string) *provider {
	p := newProvider(i.Entra(username))
	t.Cleanup(p.entra.Close)
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

func wantTimes(t *testing.T, i *drivertest.Issuer, want ...time.Duration) {
	t.Helper()
	// 0.7 is not exact in binary.
	same := func(a, b time.Duration) bool { return (a - b).Abs() < time.Microsecond }
	if got := i.Requests(); !slices.EqualFunc(got, want, same) {
		t.Errorf("tokens were asked for at %v, want %v", got, want)
	}
}

func TestRefreshIsAnnouncedOncePerConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := &drivertest.Issuer{Lifetime: time.Hour}
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

		p.entra.Close()
		time.Sleep(24 * time.Hour)
		wantTimes(t, issuer, 0, 42*time.Minute)
	})
}

// Not in a bubble: its clock stands still while a goroutine waits for a mutex.
func TestConnectionsThatAreOpenedTogetherShareOneRequest(t *testing.T) {
	const connections = 10
	var ready, done sync.WaitGroup
	ready.Add(connections)
	issuer := &drivertest.Issuer{Lifetime: time.Hour, Fail: func(int) error {
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
	if n := len(issuer.Requests()); n != 1 {
		t.Errorf("%d connections asked for %d tokens, want 1", connections, n)
	}
}

func TestOneFailureIsNotAnnounced(t *testing.T) {
	for _, lifetime := range []time.Duration{6 * time.Second, time.Hour, 24 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			issuer := &drivertest.Issuer{Lifetime: lifetime, Fail: func(n int) error {
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
		issuer := &drivertest.Issuer{Lifetime: time.Hour, Fail: func(n int) error {
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
		if n := len(issuer.Requests()); n > 3*(3600/13+10) {
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
