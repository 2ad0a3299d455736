package mutant

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/entracache/entracache/scenarios/protocol"
)

// accessToken is a token with what the client needs to know of it.
type accessToken struct {
	raw       string
	objectID  string
	issued    time.Time
	received  time.Time
	expires   time.Time
	refreshIn int64 // as the answer says it; 0 if it does not
}

// issuerError is a token request that the issuer answered with an error.
type issuerError struct {
	status     int
	retryAfter time.Duration
	text       string
}

func (e *issuerError) Error() string {
	return fmt.Sprintf("the issuer answered HTTP %d: %s", e.status, e.text)
}

// refreshRatio is the part of a token's life after which it is renewed: the ratio that Redis' own Entra extensions use.
const refreshRatio = 0.7

// minRefresh is the shortest time between two refreshes.
const minRefresh = 200 * time.Millisecond

// tokenSource fetches a token, renews it in the background and tells its listeners.
type tokenSource struct {
	bug        Bug
	http       *http.Client
	credential protocol.Credential
	form       url.Values
	url        string
	getenv     func(string) string
	cancel     context.CancelFunc
	done       sync.WaitGroup
	fileOnce   sync.Once // ReadsFileOnce
	file       []byte    // ReadsFileOnce

	mu        sync.Mutex
	current   *accessToken
	first     *accessToken
	listeners map[int]func(accessToken)
	next      int
	renewing  bool
	fetching  int   // requests in flight
	users     int   // clients
	failures  int   // of renewals
	final     error // why no token is asked for any more; with the bugs that have such a reason
}

func newTokenSource(bug Bug, r protocol.Request, getenv func(string) string) *tokenSource {
	pool := x509.NewCertPool()
	entra := protocol.Entra{}
	if r.Entra != nil { // it has none for a managed identity
		entra = *r.Entra
	}
	pool.AppendCertsFromPEM([]byte(entra.CAPEM))
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
		credential: *r.Credential,
		getenv:     getenv,
		url:        entra.Authority + "/oauth2/v2.0/token",
		form: url.Values{
			"grant_type": {"client_credentials"}, "client_id": {r.Credential.ClientID}, "scope": {strings.Join(r.Scopes, " ")},
		},
		listeners: map[int]func(accessToken){},
	}
	switch bug {
	case HammersTheIssuer, AlwaysWithinMargin: // fast enough to be a storm on any machine
		s.http.Transport.(*http.Transport).DisableKeepAlives = false
	case GivesUpAfterASecond:
		s.http.Timeout = time.Second * time.Duration(rate)
	}
	if bug == AsksForResource {
		s.url = entra.Authority + "/oauth2/token"
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
		due, least := time.Duration(float64(life)*refreshRatio), minRefresh
		switch {
		case s.bug == RefreshesTooLate:
			due = life - life/60 // a minute of an hour
		case s.bug == TwoMinutesBefore:
			due = life - 2*time.Minute
		case s.bug == CountsFromIssue:
			due = time.Duration(float64(current.expires.Sub(current.issued)) * 0.95)
		case s.bug == ReadsMilliseconds && current.refreshIn > 0:
			due = time.Duration(current.refreshIn) * time.Millisecond
		case s.bug == AlwaysWithinMargin:
			due, least = life-3*time.Second, 0
		}
		// A token that came expired must not make the client ask without pause.
		if !sleep(ctx, max(time.Until(current.received.Add(due)), least)) {
			return
		}
		token, err := s.fetch(ctx)
		for inARow := 1; err != nil; inARow++ {
			if !s.triesAgain(ctx, err, inARow, life) {
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
		for s.bug == LoopsOnSameToken && token.raw == current.raw && ctx.Err() == nil {
			token, _ = s.fetch(ctx)
		}
		if s.bug == StopsAfterFirstRefresh {
			return
		}
	}
}

// triesAgain waits until it is time for another request after one that failed. It tells whether there is to be one.
func (s *tokenSource) triesAgain(ctx context.Context, err error, inARow int, life time.Duration) bool {
	pause := max(life/100, 10*time.Millisecond)
	s.mu.Lock()
	s.failures++
	all := s.failures
	s.mu.Unlock()
	var answered *issuerError
	hasAnswer := errors.As(err, &answered)
	switch s.bug {
	case GivesUpAfterOneFailure:
		return false
	case GivesUpOnServerError:
		if hasAnswer && answered.status == http.StatusInternalServerError {
			return false
		}
	case TakesResetForTheEnd:
		if !hasAnswer {
			return false
		}
	case StopsAfterThreeFailures:
		if inARow == 3 {
			return false
		}
	case CountsFailuresForEver:
		if all == 5 {
			return false
		}
	case WaitsAHundredTimes:
		if hasAnswer {
			pause = max(pause, 100*answered.retryAfter)
		}
	case HammersTheIssuer:
		return ctx.Err() == nil
	}
	return sleep(ctx, pause)
}

// fetch asks the issuer for a token, unless the bug knows a reason why it never will again.
func (s *tokenSource) fetch(ctx context.Context) (accessToken, error) {
	s.mu.Lock()
	final := s.final
	s.mu.Unlock()
	if final != nil {
		return accessToken{}, final
	}
	token, err := s.request(ctx)
	var answered *issuerError
	var timeout net.Error
	if err != nil && (s.bug == GivesUpAtStart && s.hasNoToken() ||
		s.bug == GivesUpOnMachine && s.credential.Kind == protocol.CredentialManagedIdentity && errors.As(err, &answered) ||
		s.bug == TakesRefusalForFinal && errors.As(err, &answered) && answered.status == http.StatusUnauthorized ||
		s.bug == StuckAfterTimeout && errors.As(err, &timeout) && timeout.Timeout()) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.final = err
	}
	return token, err
}

func (s *tokenSource) hasNoToken() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.first == nil
}

func (s *tokenSource) request(ctx context.Context) (accessToken, error) {
	s.count(1)
	defer s.count(-1)
	req, err := s.tokenRequest(ctx)
	if err != nil {
		return accessToken{}, err
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return accessToken{}, err
	}
	defer resp.Body.Close()
	var body struct {
		AccessToken string      `json:"access_token"`
		ExpiresIn   json.Number `json:"expires_in"` // not in the answer of App Service
		RefreshIn   json.Number `json:"refresh_in"` // a string at the endpoint of v1.0, as expires_in is
		Error       string      `json:"error_description"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil || resp.StatusCode != http.StatusOK {
		seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
		return accessToken{}, &issuerError{resp.StatusCode, time.Duration(seconds) * time.Second, body.Error}
	}
	token, err := s.parseToken(body.AccessToken)
	token.refreshIn, _ = body.RefreshIn.Int64()
	seconds, _ := body.ExpiresIn.Int64()
	said := time.Duration(seconds) * time.Second
	switch {
	case s.bug == GoesByExpiresIn:
		token.expires = token.received.Add(said)
	case s.bug == MistrustsTheAnswer && err == nil && (said-time.Until(token.expires)).Abs() > said/4:
		return accessToken{}, fmt.Errorf("the token expires at %s, but the answer says in %s", token.expires, said)
	}
	return token, err
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
func (s *tokenSource) parseToken(raw string) (accessToken, error) {
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		return accessToken{}, fmt.Errorf("the issuer gave something that is no JWT")
	}
	encoding := base64.RawURLEncoding
	if s.bug == ReadsPlainBase64 {
		encoding = base64.RawStdEncoding
	}
	payload, err := encoding.DecodeString(parts[1])
	if err != nil {
		return accessToken{}, fmt.Errorf("the token's payload is not base64url: %w", err)
	}
	var claims struct {
		ObjectID string `json:"oid"`
		Issued   int64  `json:"iat"`
		Expires  int64  `json:"exp"`
		Version  string `json:"ver"`
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		return accessToken{}, fmt.Errorf("the token's payload is not JSON: %w", err)
	}
	switch s.bug {
	case ScansForObjectID:
		_, rest, _ := strings.Cut(string(payload), `"oid":"`)
		claims.ObjectID, _, _ = strings.Cut(rest, `"`)
	case InsistsOnVersion1:
		if claims.Version != "1.0" {
			return accessToken{}, fmt.Errorf("the token is of version %q: expected 1.0", claims.Version)
		}
	}
	return accessToken{
		raw: raw, objectID: claims.ObjectID, issued: time.Unix(claims.Issued, 0), received: time.Now(), expires: time.Unix(claims.Expires, 0),
	}, nil
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
