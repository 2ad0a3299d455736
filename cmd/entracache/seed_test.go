package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeentra"
)

// accessToken reads an answer of the issuer's.
func accessToken(t *testing.T, resp *http.Response, err error) string {
	t.Helper()
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	var body struct {
		AccessToken string `json:"access_token"`
	}
	require.NoError(t, json.Unmarshal(text, &body))
	require.NotEmpty(t, body.AccessToken, "%s: %s", resp.Status, text)
	return body.AccessToken
}

// identityToken asks an endpoint of the machine for a token of its own identity.
func identityToken(t *testing.T, endpoint, header, value string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet,
		endpoint+"?api-version=2019-08-01&resource="+url.QueryEscape(fakeentra.RedisResource), nil)
	require.NoError(t, err)
	req.Header.Set(header, value)
	resp, err := http.DefaultClient.Do(req)
	return accessToken(t, resp, err)
}

// TestSeedSignsIn: everybody whom the README names can sign in as it says, to the issuer and to the cache.
func TestSeedSignsIn(t *testing.T) {
	s := serve(t, append(anyPorts, "--metadata-addr", "127.0.0.1:0")...)
	trust, err := s.trust()
	require.NoError(t, err)
	resp, err := (&http.Client{Transport: &http.Transport{TLSClientConfig: trust, DisableKeepAlives: true}}).PostForm(s.Entra.Authority+"/oauth2/v2.0/token",
		url.Values{"grant_type": {"password"}, "client_id": {"e0000000-0000-4000-8000-00000000c11e"}, "scope": {fakeentra.RedisScope},
			"username": {"ada@fake-e0000000.onmicrosoft.com"}, "password": {"fake-secret-of-ada"}})
	ada := accessToken(t, resp, err)

	const ofAda, ofMachine = "e0000000-0000-4000-8000-0000000000b3", "e0000000-0000-4000-8000-0000000000b2"
	for _, tt := range []struct{ name, objectID, token string }{
		{"user", ofAda, ada},
		{"machine by IMDS", ofMachine, identityToken(t, s.Entra.MetadataURL+"/metadata/identity/oauth2/token", "Metadata", "true")},
		{"machine by App Service", ofMachine, identityToken(t, s.Entra.MetadataURL+"/msi/token", "X-IDENTITY-HEADER", "fake-secret-of-the-machine")},
	} {
		c := redis.NewClient(&redis.Options{Addr: s.cacheAddr(), Username: tt.objectID, Password: tt.token, TLSConfig: trust, MaxRetries: -1})
		assert.NoError(t, c.FlushAll(t.Context()).Err(), "%s: Data Owner", tt.name)
		require.NoError(t, c.Close())
	}
}

// TestSeedMakesRoom: a system-assigned identity of one's own is that of the machine.
func TestSeedMakesRoom(t *testing.T) {
	s := serve(t, append(anyPorts, "--metadata-addr", "127.0.0.1:0", "--directory", write(t, "directory.yaml", `tenants:
  - id: `+seedTenantID+`
    managed-identities:
      - {name: machine, system-assigned: true, object-id: e0000000-0000-4000-8000-0000000f00d2}
`))...)
	token := identityToken(t, s.Entra.MetadataURL+"/metadata/identity/oauth2/token", "Metadata", "true")
	trust, err := s.trust()
	require.NoError(t, err)
	c := redis.NewClient(&redis.Options{Addr: s.cacheAddr(), Username: "e0000000-0000-4000-8000-0000000f00d2", Password: token, TLSConfig: trust, MaxRetries: -1})
	defer c.Close()
	assert.ErrorContains(t, c.Ping(t.Context()).Err(), "WRONGPASS", "nothing is assigned to it")

	code, _, stderr := command(t, append([]string{"serve", "--directory", write(t, "directory.yaml", `tenants:
  - id: `+seedTenantID+`
    users: [{name: Eve, object-id: `+seedUserObjectID+`}]
`)}, anyPorts...)...)
	assert.Equal(t, exitUsage, code)
	assertRefused(t, stderr, "--directory", "Eve")
}
