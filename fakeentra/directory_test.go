package fakeentra_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jonboulle/clockwork"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeentra"
)

func TestSecrets(t *testing.T) {
	clock := clockwork.NewFakeClockAt(certificateEpoch)
	s := fakeentra.RunT(t, fakeentra.WithClock(clock))
	app := s.RegisterApp("orders", fakeentra.WithSecret(fakeentra.Secret{ID: "old", Value: "fake-secret-old", Expires: clock.Now().Add(time.Hour)}))
	client := newClient(t, s)
	signIn := func(secret string) (int, fakeentra.Request) {
		a := post(t, client, tokenURL(s), tokenForm(app, "client_secret", secret))
		return a.status, last(s)
	}

	status, logged := signIn(app.ClientSecret)
	assert.Equal(t, http.StatusOK, status)
	assert.Equal(t, fakeentra.CredentialSecret, logged.Credential)
	assert.Equal(t, app.Secrets()[0].ID, logged.CredentialID)
	status, logged = signIn("fake-secret-old")
	assert.Equal(t, http.StatusOK, status)
	assert.Equal(t, "old", logged.CredentialID)

	clock.Advance(time.Hour)
	status, logged = signIn("fake-secret-old")
	assert.Equal(t, http.StatusUnauthorized, status)
	assert.Equal(t, "AADSTS7000222", logged.Error)
	assert.Equal(t, "old", logged.CredentialID)

	added, err := app.AddSecret(fakeentra.Secret{})
	require.NoError(t, err)
	status, _ = signIn(added.Value)
	assert.Equal(t, http.StatusOK, status)
	_, err = app.AddSecret(fakeentra.Secret{Value: added.Value})
	require.ErrorContains(t, err, "expected a new one")

	require.True(t, app.RemoveSecret(added.ID))
	require.False(t, app.RemoveSecret(added.ID))
	status, logged = signIn(added.Value)
	assert.Equal(t, http.StatusUnauthorized, status)
	assert.Equal(t, "AADSTS7000215", logged.Error)
	assert.Empty(t, logged.CredentialID)
	status, _ = signIn(app.ClientSecret)
	assert.Equal(t, http.StatusOK, status)
	assert.NotContains(t, string(mustJSON(t, s.Requests())), "fake-secret")
}

func TestAppsWithoutARandomSecret(t *testing.T) {
	s := fakeentra.RunT(t)
	app := s.RegisterApp("orders", fakeentra.WithoutClientSecret(), fakeentra.WithSecret(fakeentra.Secret{Value: "fake-secret-only"}))
	assert.Equal(t, "fake-secret-only", app.ClientSecret)
	assert.Len(t, app.Secrets(), 1)
	assert.Empty(t, s.RegisterApp("none", fakeentra.WithoutClientSecret()).Secrets())
	_, err := s.AddApp("orders", fakeentra.WithRedirectURIs("nowhere"))
	require.ErrorContains(t, err, "expected an absolute URI")
	_, err = s.AddApp("orders", fakeentra.WithFederatedCredential(fakeentra.FederatedCredential{}))
	require.ErrorContains(t, err, "issuer's URL")
}

func TestServicePrincipalsOfOneApplication(t *testing.T) {
	s := fakeentra.RunT(t)
	home := s.RegisterApp("orders")
	tenant := s.AddTenant()
	away, err := tenant.AddServicePrincipal(home, "")
	require.NoError(t, err)
	assert.NotEqual(t, home.ObjectID, away.ObjectID)
	_, err = tenant.AddServicePrincipal(home, "")
	require.ErrorContains(t, err, "taken")
	_, err = s.AddTenant().AddServicePrincipal(home, "x")
	require.ErrorContains(t, err, "expected a GUID")

	client := newClient(t, s)
	_, err = home.AddSecret(fakeentra.Secret{Value: "fake-secret-shared"})
	require.NoError(t, err)
	for _, app := range []*fakeentra.App{home, away} {
		a := post(t, client, s.URL()+"/"+app.TenantID+"/oauth2/v2.0/token", tokenForm(app, "client_secret", "fake-secret-shared"))
		require.Equal(t, http.StatusOK, a.status, a.body)
		token, _ := a.decode(t)["access_token"].(string)
		claims := decode(t, token).claims
		assert.Equal(t, app.ObjectID, claims["oid"])
		assert.Equal(t, app.TenantID, claims["tid"])
		assert.Equal(t, home.ClientID, claims["appid"])
	}
	home.SetDefect(fakeentra.DefectExpired)
	assert.Equal(t, fakeentra.DefectNone, away.Defect(), "a service principal's own")
}

func TestIDsAreUniqueInATenant(t *testing.T) {
	s := fakeentra.RunT(t)
	app := s.RegisterApp("orders")
	const taken = `taken by app "orders"`
	_, err := s.AddUser("Ada", fakeentra.WithUserObjectID(app.ObjectID))
	require.ErrorContains(t, err, taken)
	_, err = s.AddGroup("readers", app.ClientID)
	require.ErrorContains(t, err, taken)
	_, err = s.AddManagedIdentity("vm", fakeentra.WithIdentityObjectID(app.ObjectID))
	require.ErrorContains(t, err, taken)
	_, err = s.AddApp("both", fakeentra.WithClientID(unknownTenantID), fakeentra.WithObjectID(unknownTenantID))
	require.ErrorContains(t, err, "expected different")
	_, err = s.AddManagedIdentity("vm", fakeentra.WithIdentityObjectID(app.ObjectID))
	require.Error(t, err)
	_, err = s.AddManagedIdentity("vm")
	require.NoError(t, err, "what was refused has taken nothing")

	s.RegisterUser("Ada")
	_, err = s.AddUser("ADA")
	require.ErrorContains(t, err, "principal name")
	for want, opt := range map[string]fakeentra.UserOption{
		"expected a GUID":     fakeentra.WithUserObjectID("x"),
		"expected one like":   fakeentra.WithPrincipalName("ada"),
		"expected some text":  fakeentra.WithPassword(""),
		`got "a b@x.example"`: fakeentra.WithPrincipalName("a b@x.example"),
	} {
		_, err = s.AddUser("Bob", opt)
		require.ErrorContains(t, err, want)
	}
	_, err = s.AddGroup("readers", "", "Ada")
	require.ErrorContains(t, err, "expected a GUID")
	_, err = s.AddManagedIdentity("x", fakeentra.WithIdentityResourceID("vm"))
	require.ErrorContains(t, err, "expected a path")
	require.Panics(t, func() { s.RegisterUser("ada") })
	require.Len(t, s.DefaultTenant().Users(), 1)
	require.Len(t, s.DefaultTenant().Apps(), 1)
}

func TestGroups(t *testing.T) {
	for _, n := range []int{0, 1, 200, 201} {
		for _, claim := range []bool{true, false} {
			t.Run(fmt.Sprint(n, claim), func(t *testing.T) {
				var opts []fakeentra.Option
				if claim {
					opts = append(opts, fakeentra.WithGroupsClaim())
				}
				s := fakeentra.RunT(t, opts...)
				app := s.RegisterApp("orders", fakeentra.WithPublicClient())
				ada := s.RegisterUser("Ada")
				for i := range n {
					_, err := s.AddGroup(fmt.Sprint(i), "", ada.ObjectID, uuid.NewString())
					require.NoError(t, err)
				}
				a := post(t, newClient(t, s), tokenURL(s), values("grant_type", "password", "client_id", app.ClientID,
					"username", ada.PrincipalName, "password", ada.Password, "scope", fakeentra.RedisScope))
				token, _ := a.decode(t)["access_token"].(string)
				claims := decode(t, token).claims
				groups, _ := claims["groups"].([]any)
				switch {
				case claim && n > 200:
					assert.Empty(t, groups)
					assert.Equal(t, map[string]any{"groups": "src1"}, claims["_claim_names"])
					assert.Contains(t, fmt.Sprint(claims["_claim_sources"]), "/users/"+ada.ObjectID+"/getMemberObjects")
				case claim:
					assert.Len(t, groups, n)
					assert.NotContains(t, claims, "_claim_names")
				default:
					assert.NotContains(t, claims, "groups")
				}
				assert.Less(t, len(token), 16384)
			})
		}
	}
}

func TestTenantsByDomain(t *testing.T) {
	s := fakeentra.RunT(t)
	tenant := s.AddTenant()
	app := tenant.RegisterApp("orders")
	client := newClient(t, s)
	doc := get(t, client, s.URL()+"/"+tenant.Domain+"/v2.0/.well-known/openid-configuration").decode(t)
	assert.Equal(t, tenant.Authority()+"/v2.0", doc["issuer"])
	assert.Equal(t, tenant.Authority()+"/oauth2/v2.0/token", doc["token_endpoint"])
	a := post(t, client, s.URL()+"/"+tenant.Domain+"/oauth2/v2.0/token", tokenForm(app))
	assert.Equal(t, http.StatusOK, a.status, a.body)
}
