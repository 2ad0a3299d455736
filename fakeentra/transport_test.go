package fakeentra_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeentra"
)

// TestTransport: the real library signs in within the process, at the issuer's own
// address and at Entra's, with and without TCP ports.
func TestTransport(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string][]fakeentra.Option{"in memory only": {fakeentra.WithInMemory()}, "beside TCP": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := fakeentra.RunT(t, opts...)
			app := s.RegisterApp("orders")
			for _, authority := range []string{s.URL(), "https://login.microsoftonline.com"} {
				credential, err := azidentity.NewClientSecretCredential(s.TenantID(), app.ClientID, app.ClientSecret, &azidentity.ClientSecretCredentialOptions{
					ClientOptions: azcore.ClientOptions{
						Cloud:     cloud.Configuration{ActiveDirectoryAuthorityHost: authority},
						Transport: &http.Client{Transport: s.Transport()},
					},
					DisableInstanceDiscovery: true,
				})
				require.NoError(t, err)
				token, err := credential.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{fakeentra.RedisScope}})
				require.NoError(t, err)
				assert.NotEmpty(t, token.Token)
			}
			client := http.Client{Transport: s.Transport()}
			for _, metadata := range []string{s.MetadataURL(), "http://169.254.169.254"} {
				r, err := http.NewRequest(http.MethodGet, metadata+"/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://redis.azure.com", nil)
				require.NoError(t, err)
				resp, err := client.Do(r)
				require.NoError(t, err)
				assert.Equal(t, http.StatusBadRequest, resp.StatusCode, "the header Metadata is missing")
				assert.NotEmpty(t, resp.Header.Get("Content-Type"))
			}
			_, err := client.Get("https://example.com/")
			assert.ErrorContains(t, err, `got "https://example.com"`)
			_, err = client.Get(strings.Replace(s.URL(), "https", "http", 1))
			assert.ErrorContains(t, err, "leads to the fake issuer only")
			require.NoError(t, s.Close())
			_, err = client.Get(s.Authority() + "/.well-known/openid-configuration")
			assert.ErrorIs(t, err, syscall.ECONNRESET)
		})
	}
}

func TestTransportFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := fakeentra.RunT(t, fakeentra.WithInMemory())
		client := http.Client{Transport: s.Transport()}
		get := func(ctx context.Context) (string, error) {
			r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Authority()+"/discovery/keys", nil)
			require.NoError(t, err)
			resp, err := client.Do(r)
			if err != nil {
				return "", err
			}
			body, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			return resp.Status + " " + string(body), nil
		}
		text, err := get(t.Context())
		require.NoError(t, err)
		assert.Contains(t, text, `200 OK {"keys":[`)

		s.SetOutage(true)
		_, err = get(t.Context())
		assert.ErrorIs(t, err, syscall.ECONNRESET)
		s.SetOutage(false)

		s.Fail(fakeentra.Fault{Action: fakeentra.FaultReset, Times: 1})
		_, err = get(t.Context())
		assert.ErrorIs(t, err, syscall.ECONNRESET)

		s.Fail(fakeentra.Fault{Status: http.StatusTooManyRequests, Times: 1})
		text, err = get(t.Context())
		require.NoError(t, err)
		assert.Contains(t, text, "429 Too Many Requests")

		s.Fail(fakeentra.Fault{Action: fakeentra.FaultSlow, Delay: time.Hour, Times: 1})
		begin := time.Now()
		_, err = get(t.Context())
		require.NoError(t, err)
		assert.Equal(t, time.Hour, time.Since(begin))

		hang := s.Fail(fakeentra.Fault{Action: fakeentra.FaultHang})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err = get(ctx)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, 1, hang.Fired())
	})
}
