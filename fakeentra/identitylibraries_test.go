package fakeentra_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/managedidentity"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeentra"
)

// setIdentityEnv sets the environment of this process as ManagedIdentityEnv says.
func setIdentityEnv(t *testing.T, s *fakeentra.Server, source fakeentra.IdentitySource, m *fakeentra.ManagedIdentity) {
	t.Helper()
	env, err := s.ManagedIdentityEnv(source, m)
	require.NoError(t, err)
	for name, value := range env {
		t.Setenv(name, value)
	}
}

// identityCredential is what an application makes, but for its HTTP client, whose
// connections are closed at the end of the test, and for quick retries.
func identityCredential(t *testing.T, s *fakeentra.Server, id azidentity.ManagedIDKind) *azidentity.ManagedIdentityCredential {
	t.Helper()
	cred, err := azidentity.NewManagedIdentityCredential(&azidentity.ManagedIdentityCredentialOptions{
		ClientOptions: azcore.ClientOptions{
			Transport: newClient(t, s),
			Retry:     policy.RetryOptions{RetryDelay: time.Millisecond},
		},
		ID: id,
	})
	require.NoError(t, err)
	return cred
}

// MSAL for Go caches tokens of managed identities for the whole process; claims
// make it ask.
var freshToken = policy.TokenRequestOptions{Scopes: []string{fakeentra.RedisScope}, Claims: bypassClaims}

func TestAzidentityManagedIdentity(t *testing.T) {
	// Not IMDS, whose address is built in: see the tests of the proxy. Arc: see
	// TestArcWithTheFolderThatLibrariesInsistOn.
	for source, chooses := range map[fakeentra.IdentitySource]bool{
		fakeentra.SourceAppService: true, fakeentra.SourceAzureML: true,
		fakeentra.SourceCloudShell: false, fakeentra.SourceServiceFabric: false,
	} {
		t.Run(string(source), func(t *testing.T) {
			s := fakeentra.RunT(t)
			system := s.RegisterManagedIdentity("vm", fakeentra.WithSystemAssigned())
			user := s.RegisterManagedIdentity("orders")
			setIdentityEnv(t, s, source, system)

			token, err := identityCredential(t, s, nil).GetToken(boundedContext(t), freshToken)
			require.NoError(t, err)
			require.Equal(t, system.ObjectID, verify(t, s, token.Token)["oid"])
			require.WithinDuration(t, time.Now().Add(24*time.Hour), token.ExpiresOn, waitBound)
			require.WithinDuration(t, time.Now().Add(12*time.Hour), token.RefreshOn, waitBound, "half of its life")
			issued, err := s.WaitRequest(boundedContext(t), func(r fakeentra.Request) bool { return r.Token != nil })
			require.NoError(t, err)
			require.Equal(t, source, issued.Source)

			if !chooses {
				return
			}
			token, err = identityCredential(t, s, azidentity.ClientID(user.ClientID)).GetToken(boundedContext(t), freshToken)
			require.NoError(t, err)
			require.Equal(t, user.ObjectID, verify(t, s, token.Token)["oid"])
		})
	}
}

func TestAzidentityChoosesTheIdentityByAnyID(t *testing.T) {
	s := fakeentra.RunT(t)
	user := s.RegisterManagedIdentity("orders")
	setIdentityEnv(t, s, fakeentra.SourceAppService, user)
	for _, id := range []azidentity.ManagedIDKind{
		azidentity.ClientID(user.ClientID), azidentity.ObjectID(user.ObjectID), azidentity.ResourceID(user.ResourceID),
	} {
		token, err := identityCredential(t, s, id).GetToken(boundedContext(t), freshToken)
		require.NoError(t, err, "%T", id)
		require.Equal(t, user.ObjectID, verify(t, s, token.Token)["oid"], "%T", id)
	}
}

func TestAzidentityManagedIdentityFailures(t *testing.T) {
	s := fakeentra.RunT(t)
	user := s.RegisterManagedIdentity("orders")
	setIdentityEnv(t, s, fakeentra.SourceAppService, user)

	_, err := identityCredential(t, s, azidentity.ClientID("nobody")).GetToken(boundedContext(t), freshToken)
	require.ErrorContains(t, err, "No User Assigned or Delegated Managed Identity found")

	t.Run("throttled", func(t *testing.T) {
		fault := s.Fail(fakeentra.Fault{Endpoint: fakeentra.EndpointManagedIdentity, Status: http.StatusTooManyRequests, Times: 2})
		token, err := identityCredential(t, s, azidentity.ClientID(user.ClientID)).GetToken(boundedContext(t), freshToken)
		require.NoError(t, err)
		assert.Equal(t, user.ObjectID, verify(t, s, token.Token)["oid"])
		assert.Equal(t, 2, fault.Fired())
	})
	t.Run("outage and recovery", func(t *testing.T) {
		cred := identityCredential(t, s, azidentity.ClientID(user.ClientID))
		s.SetOutage(true)
		_, err := cred.GetToken(boundedContext(t), freshToken)
		require.Error(t, err)
		s.SetOutage(false)
		_, err = cred.GetToken(boundedContext(t), freshToken)
		require.NoError(t, err)
	})
	t.Run("wrong thumbprint", func(t *testing.T) {
		setIdentityEnv(t, s, fakeentra.SourceServiceFabric, user)
		t.Setenv("IDENTITY_SERVER_THUMBPRINT", "0000000000000000000000000000000000000000")
		_, err := identityCredential(t, s, nil).GetToken(boundedContext(t), freshToken)
		require.ErrorContains(t, err, "thumbprint")
	})
}

func TestMSALManagedIdentity(t *testing.T) {
	s := fakeentra.RunT(t)
	user := s.RegisterManagedIdentity("orders")
	setIdentityEnv(t, s, fakeentra.SourceAppService, user)
	client, err := managedidentity.New(managedidentity.UserAssignedClientID(user.ClientID), managedidentity.WithHTTPClient(newClient(t, s)))
	require.NoError(t, err)
	result, err := client.AcquireToken(boundedContext(t), fakeentra.RedisScope)
	require.NoError(t, err)
	require.Equal(t, user.ObjectID, verify(t, s, result.AccessToken)["oid"])
	require.WithinDuration(t, time.Now().Add(24*time.Hour), result.ExpiresOn, waitBound)
}
