package fakeentra_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/jonboulle/clockwork"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeentra"
)

const configured = `
tenants:
  - id: 6497C918-11ad-41e7-1b0f-7c518a87d0b0
    domain: contoso.onmicrosoft.com
    apps:
      - name: orders
        client-id: 11111111-2222-3333-4444-555555555555
        object-id: 21111111-2222-3333-4444-555555555555
        redirect-uris: [https://app.example/signed-in]
        secrets:
          - value: fake-secret-orders
          - id: old
            value: fake-secret-old
            expires: 2030-01-01T00:00:00Z
        certificates:
          - file: orders.pem
        federated-credentials:
          - name: cluster
            issuer: https://oidc.example/cluster
            subject: system:serviceaccount:default:orders
            keys-file: keys.json
        tokens:
          lifetime: 20h-28h
          expires-in: 30m
          refresh-in: 10m
          claims:
            roles: [reader]
      - name: console
        public: true
        defect: wrong-audience
    managed-identities:
      - name: vm
        system-assigned: true
      - name: worker
        client-id: 31111111-2222-3333-4444-555555555555
        object-id: 41111111-2222-3333-4444-555555555555
        resource-id: /subscriptions/x/worker
    users:
      - name: Ada Lovelace
        object-id: 51111111-2222-3333-4444-555555555555
        password: fake-secret-ada
      - name: Bob
        principal-name: bob@contoso.onmicrosoft.com
        disabled: true
        signed-in: true
    groups:
      - name: readers
        object-id: 61111111-2222-3333-4444-555555555555
        members: [orders, worker, ada.lovelace@contoso.onmicrosoft.com, 71111111-2222-3333-4444-555555555555]
  - domain: fabrikam.onmicrosoft.com
    service-principals:
      - client-id: 11111111-2222-3333-4444-555555555555
        object-id: 81111111-2222-3333-4444-555555555555
`

func writeConfig(t testing.TB) string {
	t.Helper()
	folder := t.TempDir()
	write := func(name string, data []byte) {
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), data, 0o600))
	}
	pem, err := certificates()[0].PEM()
	require.NoError(t, err)
	write("orders.pem", pem)
	other := newOtherIssuer(t)
	write("keys.json", other.keys(t))
	write("fakeentra.yaml", []byte(configured))
	return filepath.Join(folder, "fakeentra.yaml")
}

func TestConfigurationFile(t *testing.T) {
	clock := clockwork.NewFakeClockAt(certificateEpoch.AddDate(0, 1, 0))
	config, err := fakeentra.LoadConfig(writeConfig(t))
	require.NoError(t, err)
	s := fakeentra.RunT(t, fakeentra.WithClock(clock), fakeentra.WithConfig(config), fakeentra.WithGroupsClaim())
	client := newClient(t, s)
	assert.Equal(t, "6497c918-11ad-41e7-1b0f-7c518a87d0b0", s.TenantID())
	app := &fakeentra.App{ClientID: "11111111-2222-3333-4444-555555555555", ClientSecret: "fake-secret-orders"}

	a := post(t, client, tokenURL(s), tokenForm(app))
	require.Equal(t, http.StatusOK, a.status, a.body)
	body := a.decode(t)
	assert.EqualValues(t, 1800, body["expires_in"])
	assert.EqualValues(t, 600, body["refresh_in"])
	token, _ := body["access_token"].(string)
	claims := decode(t, token).claims
	assert.Equal(t, "21111111-2222-3333-4444-555555555555", claims["oid"])
	assert.Equal(t, []any{"reader"}, claims["roles"])
	assert.Equal(t, []any{"61111111-2222-3333-4444-555555555555"}, claims["groups"])
	lifetime := time.Duration(number(t, claims["exp"])-number(t, claims["iat"])) * time.Second
	assert.GreaterOrEqual(t, lifetime, 20*time.Hour)

	assert.Contains(t, post(t, client, tokenURL(s), tokenForm(app, "client_secret", "fake-secret-old")).body, "AADSTS7000222")
	assert.Equal(t, "old", last(s).CredentialID)
	a = post(t, client, tokenURL(s), assertionForm(app, ownAssertion(s, app, certificates()[0], clock.Now()).sign(t)))
	assert.Equal(t, http.StatusOK, a.status, a.body)

	federated := assertion{method: jwt.SigningMethodRS256, key: certificates()[1].PrivateKey, header: map[string]any{"kid": "first"}, claims: map[string]any{
		"iss": "https://oidc.example/cluster", "sub": otherSubject, "aud": fakeentra.FederatedAudience, "exp": clock.Now().Add(time.Hour).Unix(),
	}}
	a = post(t, client, tokenURL(s), assertionForm(app, federated.sign(t)))
	assert.Equal(t, http.StatusOK, a.status, a.body)
	assert.Equal(t, "cluster", last(s).CredentialID)

	var console *fakeentra.App
	for _, registered := range s.DefaultTenant().Apps() {
		if registered.Name == "console" {
			console = registered
		}
	}
	require.NotNil(t, console)
	assert.Equal(t, fakeentra.DefectAudience, console.Defect())
	console.SetDefect(fakeentra.DefectNone)
	a = post(t, client, tokenURL(s), values("grant_type", "password", "client_id", console.ClientID,
		"username", "ada.lovelace@contoso.onmicrosoft.com", "password", "fake-secret-ada", "scope", fakeentra.RedisScope))
	require.Equal(t, http.StatusOK, a.status, a.body)
	assert.Equal(t, "51111111-2222-3333-4444-555555555555", last(s).UserID)

	query := authorizeQuery(app)
	to := redirected(t, get(t, browser(t, s), s.Authority()+"/oauth2/v2.0/authorize?"+query.Encode()))
	assert.Equal(t, "access_denied", to.Get("error"), "Bob, who is disabled, has the session")

	a = post(t, client, s.URL()+"/fabrikam.onmicrosoft.com/oauth2/v2.0/token", tokenForm(app))
	require.Equal(t, http.StatusOK, a.status, a.body)
	token, _ = a.decode(t)["access_token"].(string)
	assert.Equal(t, "81111111-2222-3333-4444-555555555555", decode(t, token).claims["oid"])
}

func TestConfigurationBesideOptions(t *testing.T) {
	one, err := fakeentra.ParseConfig([]byte("tenants: [{domain: a.example}, {domain: b.example}]"))
	require.NoError(t, err)
	s := fakeentra.RunT(t, fakeentra.WithConfig(one))
	assert.Equal(t, "a.example", s.DefaultTenant().Domain)
	s = fakeentra.RunT(t, fakeentra.WithConfig(one), fakeentra.WithTenant(unknownTenantID))
	assert.Equal(t, unknownTenantID, s.TenantID())
	assert.Equal(t, "a.example", s.DefaultTenant().Domain, "the first, which has no ID of its own")

	config, err := fakeentra.LoadConfig(writeConfig(t))
	require.NoError(t, err)
	s = fakeentra.RunT(t, fakeentra.WithConfig(config), fakeentra.WithTenant(unknownTenantID))
	assert.Equal(t, unknownTenantID, s.TenantID(), "one more beside the described ones")
	assert.Empty(t, s.DefaultTenant().Apps())

	empty, err := fakeentra.ParseConfig(nil)
	require.NoError(t, err)
	assert.Empty(t, empty.Tenants)
	fakeentra.RunT(t, fakeentra.WithConfig(empty))
}

func TestConfigurationThatIsNotOne(t *testing.T) {
	path := writeConfig(t)
	for _, tt := range []struct{ old, new, want string }{
		{"    domain: contoso", "    domian: contoso", `"domian"`},
		{"value: fake-secret-old", "secret: fake-secret-old", `"secret"`},
		{"lifetime: 20h-28h", "lifetime: long", `expected a lifetime like 60m or 60m-90m, got "long"`},
		{"lifetime: 20h-28h", "lifetime: 28h-20h", "28h0m0s to 20h0m0s"},
		{"expires-in: 30m", "expires-in: soon", "soon"},
		{"public: true", "public: maybe", "bool"},
		{"expires: 2030-01-01T00:00:00Z", "expires: never", "never"},
		{"tenants:", "- tenants:", "["},
	} {
		require.Contains(t, configured, tt.old)
		require.NoError(t, os.WriteFile(path, []byte(strings.Replace(configured, tt.old, tt.new, 1)), 0o600))
		_, err := fakeentra.LoadConfig(path)
		require.ErrorContains(t, err, tt.want, tt.new)
		require.ErrorContains(t, err, "fakeentra.yaml")
	}
	_, err := fakeentra.LoadConfig(path + "x")
	require.ErrorContains(t, err, "fakeentra.yamlx")

	for _, tt := range []struct{ old, new, want string }{
		{"file: orders.pem", "file: missing.pem", "missing.pem"},
		{"file: orders.pem", "file: keys.json", "expected a certificate in PEM"},
		{"file: orders.pem", "pem: x", "expected a certificate in PEM"},
		{"keys-file: keys.json", "keys-file: orders.pem", "expected a JWK set"},
		{"keys-file: keys.json", "audience: x", "loopback"},
		{"defect: wrong-audience", "defect: melted", `"melted"`},
		{"[orders, worker,", "[nobody, worker,", `got "nobody"`},
		{"id: 6497C918-11ad-41e7-1b0f-7c518a87d0b0", "id: contoso", "expected a GUID"},
		{"roles: [reader]", "oid: x", `claim "oid"`},
		{"name: worker", "name: worker\n        system-assigned: true", "has the system-assigned identity"},
		{"      - client-id: 11111111", "      - client-id: 99999999", "expected the client ID of an app in an earlier tenant"},
		{"domain: fabrikam", "domain: contoso", "is the name of tenant"},
		{"object-id: 51111111", "object-id: 41111111", `taken by managed identity "worker"`},
	} {
		require.Contains(t, configured, tt.old)
		require.NoError(t, os.WriteFile(path, []byte(strings.Replace(configured, tt.old, tt.new, 1)), 0o600))
		config, err := fakeentra.LoadConfig(path)
		require.NoError(t, err, tt.new)
		_, err = fakeentra.Start(fakeentra.WithConfig(config))
		require.ErrorContains(t, err, tt.want, tt.new)
	}
}
