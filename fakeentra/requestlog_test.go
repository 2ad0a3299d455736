package fakeentra_test

import (
	"fmt"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeentra"
)

func ask(t *testing.T, s *fakeentra.Server, times int) {
	t.Helper()
	for range times {
		s.Handler().ServeHTTP(httptest.NewRecorder(), keysRequest(t))
	}
}

func TestRequestLogTellsWhatItHasDropped(t *testing.T) {
	s := fakeentra.RunT(t, fakeentra.WithRequestLogLimit(8))
	ask(t, s, 8)
	log := s.Requests()
	require.Len(t, log, 8)
	require.Equal(t, int64(1), log[0].Seq)

	ask(t, s, 1)
	log = s.Requests()
	require.Equal(t, fakeentra.EndpointLog, log[0].Endpoint)
	require.Equal(t, fakeentra.OutcomeGap, log[0].Outcome)
	require.Equal(t, int64(3), log[0].Seq, "the last one that is missing")
	require.Equal(t, int64(3), log[0].Dropped)
	require.Len(t, log, 7)

	ask(t, s, 100)
	log = s.Requests()
	require.LessOrEqual(t, len(log), 8)
	require.Equal(t, int64(109), log[len(log)-1].Seq)
	require.Equal(t, log[0].Seq, log[0].Dropped, "everything up to here")
	for i, r := range log[1:] {
		require.Equal(t, log[0].Seq+int64(i)+1, r.Seq, "nothing is missing without a gap")
		require.NotEqual(t, fakeentra.OutcomeGap, r.Outcome, "one gap is enough")
	}
}

func TestRequestsSince(t *testing.T) {
	s := fakeentra.RunT(t, fakeentra.WithRequestLogLimit(8))
	ask(t, s, 5)
	require.Len(t, s.RequestsSince(0), 5)
	require.Equal(t, int64(4), s.RequestsSince(3)[0].Seq)
	require.Empty(t, s.RequestsSince(5))
	require.Empty(t, s.RequestsSince(500))

	ask(t, s, 4) // 1 to 3 are gone
	require.Equal(t, fakeentra.OutcomeGap, s.RequestsSince(0)[0].Outcome)
	require.Equal(t, fakeentra.OutcomeGap, s.RequestsSince(2)[0].Outcome, "3 is missing to somebody who has seen 2")
	require.Equal(t, int64(4), s.RequestsSince(3)[0].Seq, "nothing is missing to somebody who has seen 3")
}

// Somebody who follows the log sees every entry once, in order, and is told of what
// they were too slow for.
func TestFollowingTheLog(t *testing.T) {
	const writers, each = 4, 200
	s := fakeentra.RunT(t, fakeentra.WithRequestLogLimit(16))
	var writing sync.WaitGroup
	for range writers {
		writing.Go(func() {
			for range each {
				s.Handler().ServeHTTP(httptest.NewRecorder(), keysRequest(t))
			}
		})
	}
	last := int64(0)
	_, err := s.WaitRequest(boundedContext(t), func(r fakeentra.Request) bool {
		if r.Outcome != fakeentra.OutcomeGap {
			assert.Equal(t, last+1, r.Seq)
		} else {
			assert.Greater(t, r.Seq, last)
		}
		last = r.Seq
		return r.Seq == writers*each
	})
	require.NoError(t, err)
	writing.Wait()
}

func TestRequestLogWithoutALimit(t *testing.T) {
	s := fakeentra.RunT(t, fakeentra.WithRequestLogLimit(0))
	ask(t, s, 50)
	require.Len(t, s.Requests(), 50)
}

func TestRequestLogLimitsThatMakeNoSense(t *testing.T) {
	for _, n := range []int{-1, 1, 3} {
		_, err := fakeentra.Start(fakeentra.WithRequestLogLimit(n))
		require.ErrorContains(t, err, "WithRequestLogLimit: expected 0 for no limit, or at least 4")
	}
}

// Clients take one field for another, and send somebody else's credential.
func TestMisplacedCredentialsStayOutOfTheLog(t *testing.T) {
	s := fakeentra.RunT(t, fakeentra.WithArcKeyFolder(t.TempDir()), fakeentra.WithIdentityHeader("fake-secret-of-the-machine"))
	app := s.RegisterApp("orders", fakeentra.WithPublicClient(), fakeentra.WithRedirectURIs(redirectURI))
	further, err := app.AddSecret(fakeentra.Secret{Value: app.ClientSecret + "-and-more", Expires: time.Now().Add(-time.Hour)})
	require.NoError(t, err)
	other := s.AddTenant().RegisterApp("billing")
	ada := s.RegisterUser("Ada")
	machine := s.RegisterManagedIdentity("vm", fakeentra.WithSystemAssigned())
	client := browser(t, s)

	// One of everything that the issuer gives out or is signed in with.
	secrets := map[string]string{
		"secret": app.ClientSecret, "expired secret": further.Value, "secret of another": other.ClientSecret, "password": ada.Password,
		"machine's secret": "fake-secret-of-the-machine",
		"assertion":        ownAssertion(s, app, certificates()[0], time.Now()).sign(t),
		"code":             authorizationCode(t, client, s.Authority(), app),
	}
	user := post(t, client, tokenURL(s), values("grant_type", "password", "client_id", app.ClientID, "username", ada.PrincipalName,
		"password", ada.Password, "scope", "openid offline_access "+fakeentra.RedisScope)).decode(t)
	device := post(t, client, s.Authority()+"/oauth2/v2.0/devicecode", values("client_id", app.ClientID, "scope", fakeentra.RedisScope)).decode(t)
	for name, from := range map[string]map[string]any{"access_token": user, "refresh_token": user, "id_token": user, "device_code": device} {
		secrets[name], _ = from[name].(string)
	}
	challenged := do(t, client, identityRequest(t, s, fakeentra.SourceAzureArc, machine))
	key, err := os.ReadFile(strings.TrimPrefix(challenged.header.Get("WWW-Authenticate"), "Basic realm="))
	require.NoError(t, err)
	secrets["Arc's key"] = string(key)

	for name, secret := range secrets {
		require.NotEmpty(t, secret, name)
		inText, inPath := "https://redis.azure.com/"+secret+" x", url.PathEscape(secret)
		before := len(s.Requests())
		for _, field := range []string{"client_id", "grant_type", "scope", "username", "redirect_uri", "nonsense"} {
			for _, value := range []string{secret, inText} {
				post(t, client, tokenURL(s), tokenForm(app, field, value, "client_secret", app.ClientID))
			}
		}
		post(t, client, tokenURL(s), tokenForm(app, "resource", secret))
		post(t, client, s.Authority()+"/oauth2/token", tokenForm(app, "resource", inText))
		post(t, client, s.Authority()+"/oauth2/token", tokenForm(app, "resource", fakeentra.RedisResource, "scope", secret))
		post(t, client, tokenURL(s), tokenForm(app, "scope", strings.Repeat("x", 500)+secret))
		for _, path := range []string{"/oauth2/v2.0/token", "/oauth2/v2.0/devicecode", "/nonsense"} {
			post(t, client, s.URL()+"/"+inPath+path, tokenForm(app, "client_secret", ""))
		}
		get(t, client, s.URL()+"/common/UserRealm/"+inPath)
		get(t, client, s.URL()+"/"+inPath+"/discovery/keys")
		get(t, client, s.Authority()+"/oauth2/v2.0/authorize?"+with(authorizeQuery(app), "client_id", secret).Encode())
		get(t, client, s.Authority()+"/oauth2/v2.0/authorize?"+with(authorizeQuery(app), "scope", inText).Encode())
		get(t, client, s.URL()+"/common/oauth2/deviceauth?client_id="+inPath+"&scope="+inPath)
		for _, source := range allSources {
			askIdentity(t, s, client, source, machine, "resource", secret)
			askIdentity(t, s, client, source, machine, "client_id", secret, "clientid", secret)
		}
		fault := s.Fail(fakeentra.Fault{Times: 1})
		post(t, client, tokenURL(s), tokenForm(app, "client_id", secret, "client_secret", ""))
		require.Equal(t, 1, fault.Fired())

		log := s.Requests()[before:]
		require.Greater(t, len(log), 30)
		for _, r := range log {
			text := string(mustJSON(t, r)) + fmt.Sprintf("%+v", r)
			require.NotContains(t, text, secret, "%s: %+v", name, r)
			require.NotContains(t, text, secret[:min(len(secret), 30)], "%s, in part: %+v", name, r)
		}
	}
	assert.Equal(t, fakeentra.RedisScope, last(s).Scope, "what is no secret stays")
}
