package fakeentra_test

import (
	"context"
	"crypto"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/confidential"
	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/public"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeentra"
)

// validCertificate is one for tests on the real clock.
func validCertificate(t *testing.T) *fakeentra.Certificate {
	t.Helper()
	c, err := fakeentra.NewCertificate("orders", time.Time{}, time.Time{})
	require.NoError(t, err)
	return c
}

func clientOptions(t *testing.T, s *fakeentra.Server) azcore.ClientOptions {
	t.Helper()
	return azcore.ClientOptions{
		Cloud:     cloud.Configuration{ActiveDirectoryAuthorityHost: s.URL()},
		Transport: newClient(t, s),
		Retry:     policy.RetryOptions{RetryDelay: time.Millisecond},
	}
}

func redisScopes() []string { return []string{fakeentra.RedisScope} }

// requireToken checks that the library got a token for that object, and what the
// log says of how.
func requireToken(t *testing.T, s *fakeentra.Server, token, objectID, grant string, credential fakeentra.Credential) {
	t.Helper()
	claims := verify(t, s, token)
	require.Equal(t, objectID, claims["oid"])
	var issued fakeentra.Request
	for _, r := range s.Requests() {
		if r.Token != nil && r.Token.ID == claims["uti"] {
			issued = r
		}
	}
	require.Equal(t, grant, issued.GrantType)
	require.Equal(t, credential, issued.Credential)
}

func TestLibrariesSignInWithACertificate(t *testing.T) {
	s := fakeentra.RunT(t)
	cert, stranger := validCertificate(t), certificates()[1]
	app := s.RegisterApp("orders", fakeentra.WithAppCertificate(cert), fakeentra.WithoutClientSecret())
	pem, err := cert.PEM()
	require.NoError(t, err)
	certs, key, err := azidentity.ParseCertificates(pem, nil)
	require.NoError(t, err)

	for _, chain := range []bool{false, true} {
		cred, err := azidentity.NewClientCertificateCredential(app.TenantID, app.ClientID, certs, key, &azidentity.ClientCertificateCredentialOptions{
			ClientOptions: clientOptions(t, s), DisableInstanceDiscovery: true, SendCertificateChain: chain,
		})
		require.NoError(t, err)
		token, err := cred.GetToken(boundedContext(t), redisToken)
		require.NoError(t, err)
		requireToken(t, s, token.Token, app.ObjectID, "client_credentials", fakeentra.CredentialCertificate)
	}

	msalCert, err := confidential.NewCredFromCert(certs, key)
	require.NoError(t, err)
	client, err := confidential.New(s.URL()+"/"+app.TenantID, app.ClientID, msalCert,
		confidential.WithHTTPClient(newClient(t, s)), confidential.WithInstanceDiscovery(false))
	require.NoError(t, err)
	result, err := client.AcquireTokenByCredential(boundedContext(t), redisScopes())
	require.NoError(t, err)
	requireToken(t, s, result.AccessToken, app.ObjectID, "client_credentials", fakeentra.CredentialCertificate)

	cred, err := azidentity.NewClientCertificateCredential(app.TenantID, app.ClientID, certs[:1], crypto.PrivateKey(key), &azidentity.ClientCertificateCredentialOptions{
		ClientOptions: clientOptions(t, s), DisableInstanceDiscovery: true,
	})
	require.NoError(t, err)
	require.True(t, app.RemoveCertificate(cert.Thumbprint()))
	require.NoError(t, app.AddCertificate(stranger.X509))
	_, err = cred.GetToken(boundedContext(t), redisToken)
	require.ErrorContains(t, err, "AADSTS700027")
}

func TestLibrariesSignInWithAnAssertion(t *testing.T) {
	s := fakeentra.RunT(t)
	other := newOtherIssuer(t)
	app := s.RegisterApp("orders", fakeentra.WithoutClientSecret(), fakeentra.WithFederatedCredential(fakeentra.FederatedCredential{
		Name: "cluster", Issuer: other.issuer(), Subject: otherSubject,
	}))
	file := filepath.Join(t.TempDir(), "token")
	project := func(a assertion) { require.NoError(t, os.WriteFile(file, []byte(a.sign(t)), 0o600)) }
	project(other.assertion(time.Now()))

	workload := func() *azidentity.WorkloadIdentityCredential {
		cred, err := azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{
			ClientOptions: clientOptions(t, s), DisableInstanceDiscovery: true,
			ClientID: app.ClientID, TenantID: app.TenantID, TokenFilePath: file,
		})
		require.NoError(t, err)
		return cred
	}
	token, err := workload().GetToken(boundedContext(t), redisToken)
	require.NoError(t, err)
	requireToken(t, s, token.Token, app.ObjectID, "client_credentials", fakeentra.CredentialFederated)

	cred, err := azidentity.NewClientAssertionCredential(app.TenantID, app.ClientID,
		func(context.Context) (string, error) { return other.assertion(time.Now()).sign(t), nil },
		&azidentity.ClientAssertionCredentialOptions{ClientOptions: clientOptions(t, s), DisableInstanceDiscovery: true})
	require.NoError(t, err)
	token, err = cred.GetToken(boundedContext(t), redisToken)
	require.NoError(t, err)
	requireToken(t, s, token.Token, app.ObjectID, "client_credentials", fakeentra.CredentialFederated)

	msal := confidential.NewCredFromAssertionCallback(func(context.Context, confidential.AssertionRequestOptions) (string, error) {
		return other.assertion(time.Now()).sign(t), nil
	})
	client, err := confidential.New(s.URL()+"/"+app.TenantID, app.ClientID, msal,
		confidential.WithHTTPClient(newClient(t, s)), confidential.WithInstanceDiscovery(false))
	require.NoError(t, err)
	result, err := client.AcquireTokenByCredential(boundedContext(t), redisScopes())
	require.NoError(t, err)
	requireToken(t, s, result.AccessToken, app.ObjectID, "client_credentials", fakeentra.CredentialFederated)

	wrong := other.assertion(time.Now())
	wrong.claims["sub"] = "system:serviceaccount:default:other"
	project(wrong)
	_, err = workload().GetToken(boundedContext(t), redisToken)
	require.ErrorContains(t, err, "AADSTS700213")
}

// A program behind MSAL's confidential client: it sends the user's browser to the
// authorize endpoint and redeems the code that comes back.
func TestMSALRedeemsACode(t *testing.T) {
	s := fakeentra.RunT(t, fakeentra.WithTokenShape(fakeentra.TokenShape{ExpiresIn: time.Minute}))
	app := s.RegisterApp("orders", fakeentra.WithRedirectURIs(redirectURI))
	ada := s.RegisterUser("Ada Lovelace")
	client := msalClient(t, s, app, app.ClientSecret)

	authURL, err := client.AuthCodeURL(boundedContext(t), app.ClientID, redirectURI, redisScopes(), confidential.WithLoginHint(ada.PrincipalName))
	require.NoError(t, err)
	u, err := url.Parse(authURL)
	require.NoError(t, err)
	query := u.Query()
	query.Set("code_challenge", challenge())
	query.Set("code_challenge_method", "S256")
	u.RawQuery = query.Encode()
	code := redirected(t, get(t, browser(t, s), u.String())).Get("code")

	result, err := client.AcquireTokenByAuthCode(boundedContext(t), code, redirectURI, redisScopes(), confidential.WithChallenge(verifier))
	require.NoError(t, err)
	requireToken(t, s, result.AccessToken, ada.ObjectID, "authorization_code", fakeentra.CredentialSecret)
	assert.Equal(t, ada.PrincipalName, result.Account.PreferredUsername)
	assert.Equal(t, ada.ObjectID+"."+ada.TenantID, result.Account.HomeAccountID)

	// A token with less than five minutes to go counts as expired at MSAL.
	silent, err := client.AcquireTokenSilent(boundedContext(t), redisScopes(), confidential.WithSilentAccount(result.Account))
	require.NoError(t, err)
	require.NotEqual(t, result.AccessToken, silent.AccessToken)
	requireToken(t, s, silent.AccessToken, ada.ObjectID, "refresh_token", fakeentra.CredentialSecret)
}

func msalPublic(t *testing.T, s *fakeentra.Server, app *fakeentra.App) public.Client {
	t.Helper()
	client, err := public.New(app.ClientID, public.WithAuthority(s.URL()+"/"+app.TenantID),
		public.WithHTTPClient(newClient(t, s)), public.WithInstanceDiscovery(false))
	require.NoError(t, err)
	return client
}

// The browser is a client that sends off the form which sends itself off.
func TestMSALSignsInInteractively(t *testing.T) {
	s := fakeentra.RunT(t)
	app := s.RegisterApp("console", fakeentra.WithPublicClient(), fakeentra.WithoutClientSecret())
	ada := s.RegisterUser("Ada Lovelace")
	s.RegisterUser("Bob")
	web := newClient(t, s)
	result, err := msalPublic(t, s, app).AcquireTokenInteractive(boundedContext(t), redisScopes(), public.WithLoginHint(ada.PrincipalName),
		public.WithOpenURL(func(page string) error {
			action, fields := formOf(t, get(t, web, page).body)
			resp, err := http.PostForm(action, fields)
			if err != nil {
				return err
			}
			return resp.Body.Close()
		}))
	require.NoError(t, err)
	requireToken(t, s, result.AccessToken, ada.ObjectID, "authorization_code", fakeentra.CredentialNone)
}

// approveAsItComes approves the first device code that is asked for.
func approveAsItComes(t *testing.T, s *fakeentra.Server, user *fakeentra.User) {
	t.Helper()
	_, err := s.WaitRequest(boundedContext(t), func(r fakeentra.Request) bool { return r.Error == "AADSTS70016" })
	if assert.NoError(t, err) && assert.Len(t, s.DeviceCodes(), 1) {
		assert.NoError(t, s.ApproveDeviceCode(s.DeviceCodes()[0].UserCode, user))
	}
}

func TestMSALSignsInWithADeviceCode(t *testing.T) {
	s := fakeentra.RunT(t, fakeentra.WithDeviceCodes(0, time.Second))
	app := s.RegisterApp("console", fakeentra.WithPublicClient(), fakeentra.WithoutClientSecret())
	ada := s.RegisterUser("Ada")
	device, err := msalPublic(t, s, app).AcquireTokenByDeviceCode(boundedContext(t), redisScopes())
	require.NoError(t, err)
	require.Contains(t, device.Result.Message, s.DeviceCodes()[0].UserCode)
	done := make(chan struct{})
	go func() {
		defer close(done)
		approveAsItComes(t, s, ada)
	}()
	result, err := device.AuthenticationResult(boundedContext(t))
	<-done
	require.NoError(t, err)
	requireToken(t, s, result.AccessToken, ada.ObjectID, "device_code", fakeentra.CredentialNone)

	device, err = msalPublic(t, s, app).AcquireTokenByDeviceCode(boundedContext(t), redisScopes())
	require.NoError(t, err)
	require.NoError(t, s.DenyDeviceCode(device.Result.UserCode))
	_, err = device.AuthenticationResult(boundedContext(t))
	require.ErrorContains(t, err, "authorization_declined")
}

func TestAzidentitySignsInWithADeviceCode(t *testing.T) {
	s := fakeentra.RunT(t, fakeentra.WithDeviceCodes(0, time.Second))
	app := s.RegisterApp("console", fakeentra.WithPublicClient(), fakeentra.WithoutClientSecret())
	ada := s.RegisterUser("Ada")
	cred, err := azidentity.NewDeviceCodeCredential(&azidentity.DeviceCodeCredentialOptions{
		ClientOptions: clientOptions(t, s), DisableInstanceDiscovery: true, ClientID: app.ClientID, TenantID: app.TenantID,
		UserPrompt: func(_ context.Context, m azidentity.DeviceCodeMessage) error {
			return s.ApproveDeviceCode(m.UserCode, ada)
		},
	})
	require.NoError(t, err)
	token, err := cred.GetToken(boundedContext(t), redisToken)
	require.NoError(t, err)
	requireToken(t, s, token.Token, ada.ObjectID, "device_code", fakeentra.CredentialNone)
}

func TestLibrariesSignInWithAPassword(t *testing.T) {
	s := fakeentra.RunT(t)
	app := s.RegisterApp("console", fakeentra.WithPublicClient(), fakeentra.WithoutClientSecret())
	ada := s.RegisterUser("Ada")
	//lint:ignore SA1019 the deprecated grant is what is tested
	result, err := msalPublic(t, s, app).AcquireTokenByUsernamePassword(boundedContext(t), redisScopes(), ada.PrincipalName, ada.Password)
	require.NoError(t, err)
	requireToken(t, s, result.AccessToken, ada.ObjectID, "password", fakeentra.CredentialNone)

	password := func(password string) (azcore.AccessToken, error) {
		//lint:ignore SA1019 the deprecated grant is what is tested
		options := azidentity.UsernamePasswordCredentialOptions{ClientOptions: clientOptions(t, s), DisableInstanceDiscovery: true}
		cred, err := azidentity.NewUsernamePasswordCredential(app.TenantID, app.ClientID, ada.PrincipalName, password, &options)
		require.NoError(t, err)
		return cred.GetToken(boundedContext(t), redisToken)
	}
	token, err := password(ada.Password)
	require.NoError(t, err)
	requireToken(t, s, token.Token, ada.ObjectID, "password", fakeentra.CredentialNone)
	_, err = password("wrong")
	var failed *azidentity.AuthenticationFailedError
	require.ErrorAs(t, err, &failed)
	require.Equal(t, http.StatusBadRequest, failed.RawResponse.StatusCode)
	require.ErrorContains(t, err, "AADSTS50126")
}
