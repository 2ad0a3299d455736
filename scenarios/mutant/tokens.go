package mutant

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/entracache/entracache/scenarios/protocol"
)

// accessToken is a token with what the client needs to know of it.
type accessToken struct {
	raw      string
	objectID string
	received time.Time
	expires  time.Time
}

// refreshRatio is the part of a token's life after which it is renewed: the ratio that Redis' own Entra extensions use.
const refreshRatio = 0.7

// minRefresh is the shortest time between two refreshes.
const minRefresh = 200 * time.Millisecond

// tokenSource fetches a token, renews it in the background and tells its listeners.
type tokenSource struct {
	bug    Bug
	http   *http.Client
	form   url.Values
	url    string
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu        sync.Mutex
	current   *accessToken
	first     *accessToken
	listeners map[int]func(accessToken)
	next      int
	renewing  bool
	fetching  int // requests in flight
	users     int // clients
}

func newTokenSource(bug Bug, r protocol.Request) *tokenSource {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(r.Entra.CAPEM))
	rate := 1
	if r.Options != nil {
		rate = max(rate, r.Options.ClockRate)
	}
	s := &tokenSource{
		bug: bug,
		http: &http.Client{
			Timeout:   5 * time.Second * time.Duration(rate),
			Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true},
		},
		url: r.Entra.Authority + "/oauth2/v2.0/token",
		form: url.Values{
			"grant_type": {"client_credentials"}, "client_id": {r.Credential.ClientID}, "client_secret": {r.Credential.ClientSecret},
			"scope": {strings.Join(r.Scopes, " ")},
		},
		listeners: map[int]func(accessToken){},
	}
	if bug == AsksForResource {
		s.url = r.Entra.Authority + "/oauth2/token"
		s.form.Del("scope")
		s.form.Set("resource", "https://redis.azure.com")
	}
	return s
}

// get returns the current token, fetching the first one.
func (s *tokenSource) get(ctx context.Context) (accessToken, error) {
	s.mu.Lock()
	current, first := s.current, s.first
	s.mu.Unlock()
	switch {
	case s.bug == ReusesFirstToken && first != nil:
		return *first, nil
	case s.bug == NeverRefreshes && first != nil:
		return *first, nil
	case s.bug == TokenPerCommand:
		return s.fetch(ctx)
	case current != nil && time.Now().Before(current.expires):
		return *current, nil
	case s.bug == GivesUpAfterOneFailure && current != nil:
		return *current, nil
	}
	token, err := s.fetch(ctx)
	if err != nil {
		return token, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current = &token
	if s.first == nil {
		s.first = &token
	}
	if !s.renewing {
		s.renewing = true
		ctx, cancel := context.WithCancel(context.Background())
		s.cancel = cancel
		s.done.Go(func() { s.renew(ctx) })
	}
	return token, nil
}

// listen calls f with every renewed token until stop is called.
func (s *tokenSource) listen(f func(accessToken)) (stop func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := s.next
	if s.bug != KnowsOneListener {
		s.next++
	}
	s.listeners[id] = f
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.listeners, id)
	}
}

func (s *tokenSource) renew(ctx context.Context) {
	if s.bug == NeverRefreshes {
		return
	}
	for {
		s.mu.Lock()
		current := *s.current
		s.mu.Unlock()
		life := current.expires.Sub(current.received)
		due := time.Duration(float64(life) * refreshRatio)
		if s.bug == RefreshesTooLate {
			due = life - life/60 // a minute of an hour
		}
		if s.bug == TwoMinutesBefore {
			due = life - 2*time.Minute
		}
		// A token that came expired must not make the client ask without pause.
		if !sleep(ctx, max(time.Until(current.received.Add(due)), minRefresh)) {
			return
		}
		token, err := s.fetch(ctx)
		for err != nil {
			if s.bug == GivesUpAfterOneFailure || !sleep(ctx, max(life/100, 10*time.Millisecond)) {
				return
			}
			token, err = s.fetch(ctx)
		}
		s.mu.Lock()
		s.current = &token
		listeners := make([]func(accessToken), 0, len(s.listeners))
		for _, f := range s.listeners {
			listeners = append(listeners, f)
		}
		s.mu.Unlock()
		for _, f := range listeners {
			f(token)
		}
		if s.bug == StopsAfterFirstRefresh {
			return
		}
	}
}

func (s *tokenSource) fetch(ctx context.Context) (accessToken, error) {
	s.count(1)
	defer s.count(-1)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, strings.NewReader(s.form.Encode()))
	if err != nil {
		return accessToken{}, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := s.http.Do(req)
	if err != nil {
		return accessToken{}, err
	}
	defer resp.Body.Close()
	var body struct {
		AccessToken string `json:"access_token"`
		Error       string `json:"error_description"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil || resp.StatusCode != http.StatusOK {
		return accessToken{}, fmt.Errorf("the issuer answered HTTP %d: %s", resp.StatusCode, body.Error)
	}
	return parseToken(body.AccessToken)
}

func (s *tokenSource) count(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fetching += n
}

// busy tells whether a request is in flight.
func (s *tokenSource) busy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fetching > 0
}

// parseToken reads the claims without checking the signature: that is the cache's business.
func parseToken(raw string) (accessToken, error) {
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		return accessToken{}, fmt.Errorf("the issuer gave something that is no JWT")
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return accessToken{}, fmt.Errorf("the token's payload is not base64url: %w", err)
	}
	var claims struct {
		ObjectID string `json:"oid"`
		Expires  int64  `json:"exp"`
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		return accessToken{}, fmt.Errorf("the token's payload is not JSON: %w", err)
	}
	return accessToken{raw: raw, objectID: claims.ObjectID, received: time.Now(), expires: time.Unix(claims.Expires, 0)}, nil
}

func (s *tokenSource) use() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users++
}

// release ends the renewal once no client uses it any more.
func (s *tokenSource) release() {
	s.mu.Lock()
	cancel := s.cancel
	s.users--
	used := s.users > 0 && s.bug != ClosesSharedProvider
	s.mu.Unlock()
	if used {
		return
	}
	if cancel != nil {
		cancel()
	}
	s.done.Wait()
}

// sleep tells whether the time passed before the context ended.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
