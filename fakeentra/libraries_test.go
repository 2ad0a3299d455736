package fakeentra_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/confidential"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeentra"
)

// azureCredential wires azidentity as an application would, but for the
// authority host, the trusted CA and instance discovery.
func azureCredential(t *testing.T, s *fakeentra.Server, app *fakeentra.App, secret string) *azidentity.ClientSecretCredential {
	t.Helper()
	cred, err := azidentity.NewClientSecretCredential(app.TenantID, app.ClientID, secret, &azidentity.ClientSecretCredentialOptions{
		ClientOptions: azcore.ClientOptions{
			Cloud:     cloud.Configuration{ActiveDirectoryAuthorityHost: s.URL()},
			Transport: newClient(t, s),
			Retry:     policy.RetryOptions{RetryDelay: time.Millisecond},
		},
		DisableInstanceDiscovery: true,
	})
	require.NoError(t, err)
	return cred
}

var redisToken = policy.TokenRequestOptions{Scopes: []string{fakeentra.RedisScope}}

func TestAzidentitySignsIn(t *testing.T) {
	s := fakeentra.RunT(t)
	app := s.RegisterApp("orders")

	before := time.Now()
	token, err := azureCredential(t, s, app, app.ClientSecret).GetToken(boundedContext(t), redisToken)
	require.NoError(t, err)

	claims := verify(t, s, token.Token)
	require.Equal(t, app.ObjectID, claims["oid"])
	require.WithinDuration(t, before.Add(fakeentra.DefaultTokenLifetime), token.ExpiresOn, waitBound)

	issued, err := s.WaitRequest(boundedContext(t), func(r fakeentra.Request) bool { return r.Endpoint == fakeentra.EndpointToken })
	require.NoError(t, err)
	require.Equal(t, fakeentra.OutcomeOK, issued.Outcome)
	require.Equal(t, app.ClientID, issued.ClientID)
	require.Equal(t, "client_credentials", issued.GrantType)
	require.Contains(t, issued.Scope, fakeentra.RedisScope)
	require.Equal(t, claims["uti"], issued.Token.ID)
}

func TestAzidentityReportsABadSecret(t *testing.T) {
	s := fakeentra.RunT(t)
	app := s.RegisterApp("orders")

	_, err := azureCredential(t, s, app, "not-the-secret").GetToken(boundedContext(t), redisToken)
	var failed *azidentity.AuthenticationFailedError
	require.ErrorAs(t, err, &failed)
	require.Equal(t, http.StatusUnauthorized, failed.RawResponse.StatusCode)
	require.ErrorContains(t, err, "AADSTS7000215")
}

func TestAzidentityReportsAnUnknownTenant(t *testing.T) {
	s := fakeentra.RunT(t)
	app := s.RegisterApp("orders")
	stranger := &fakeentra.App{TenantID: "00000000-0000-0000-0000-00000000dead", ClientID: app.ClientID}

	_, err := azureCredential(t, s, stranger, app.ClientSecret).GetToken(boundedContext(t), redisToken)
	require.ErrorContains(t, err, "AADSTS90002")
}

func TestAzidentityGetsOverAFault(t *testing.T) {
	s := fakeentra.RunT(t)
	app := s.RegisterApp("orders")
	fault := s.Fail(fakeentra.Fault{Endpoint: fakeentra.EndpointToken, Status: http.StatusServiceUnavailable, Times: 2})

	token, err := azureCredential(t, s, app, app.ClientSecret).GetToken(boundedContext(t), redisToken)
	require.NoError(t, err)
	verify(t, s, token.Token)
	require.Equal(t, 2, fault.Fired())
}

func TestAzidentityGetsOverAnOutage(t *testing.T) {
	s := fakeentra.RunT(t)
	app := s.RegisterApp("orders")
	cred := azureCredential(t, s, app, app.ClientSecret)

	s.SetOutage(true)
	_, err := cred.GetToken(boundedContext(t), redisToken)
	require.Error(t, err)
	s.SetOutage(false)
	token, err := cred.GetToken(boundedContext(t), redisToken)
	require.NoError(t, err)
	verify(t, s, token.Token)
}

func msalClient(t *testing.T, s *fakeentra.Server, app *fakeentra.App, secret string) confidential.Client {
	t.Helper()
	cred, err := confidential.NewCredFromSecret(secret)
	require.NoError(t, err)
	client, err := confidential.New(s.URL()+"/"+app.TenantID, app.ClientID, cred,
		confidential.WithHTTPClient(newClient(t, s)), confidential.WithInstanceDiscovery(false))
	require.NoError(t, err)
	return client
}

func TestMSALSignsIn(t *testing.T) {
	s := fakeentra.RunT(t)
	tenant := s.AddTenant()
	for _, app := range []*fakeentra.App{s.RegisterApp("default tenant"), tenant.RegisterApp("other tenant")} {
		result, err := msalClient(t, s, app, app.ClientSecret).AcquireTokenByCredential(boundedContext(t), []string{fakeentra.RedisScope})
		require.NoError(t, err, app.Name)
		claims := verify(t, s, result.AccessToken)
		require.Equal(t, app.ObjectID, claims["oid"], app.Name)
		require.Equal(t, app.TenantID, claims["tid"], app.Name)
		require.WithinDuration(t, time.Now().Add(fakeentra.DefaultTokenLifetime), result.ExpiresOn, waitBound, app.Name)
	}
}

func TestMSALReportsABadSecret(t *testing.T) {
	s := fakeentra.RunT(t)
	app := s.RegisterApp("orders")
	_, err := msalClient(t, s, app, "not-the-secret").AcquireTokenByCredential(boundedContext(t), []string{fakeentra.RedisScope})
	require.ErrorContains(t, err, "AADSTS7000215")
}

// A token with a defect is for the cache to refuse: the libraries hand it on.
func TestLibrariesHandOnDefectiveTokens(t *testing.T) {
	s := fakeentra.RunT(t)
	for _, defect := range fakeentra.Defects() {
		app := s.RegisterApp(string(defect))
		app.SetDefect(defect)
		result, err := msalClient(t, s, app, app.ClientSecret).AcquireTokenByCredential(boundedContext(t), []string{fakeentra.RedisScope})
		require.NoError(t, err, defect)
		require.NotEmpty(t, result.AccessToken, defect)
		token, err := azureCredential(t, s, app, app.ClientSecret).GetToken(boundedContext(t), redisToken)
		require.NoError(t, err, defect)
		require.NotEmpty(t, token.Token, defect)
	}
}
