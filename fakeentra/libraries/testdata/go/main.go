// Command sign-in signs in with azidentity or MSAL for Go: one JSON object per line in, one out, each answered when it is done.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/confidential"
	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/managedidentity"
)

const (
	scope           = "https://redis.azure.com/.default"
	resource        = "https://redis.azure.com"
	publicAuthority = "https://login.microsoftonline.com"
)

// azidentity is patient: with its own settings it asks IMDS for more than a minute. How often it tries is all that is changed.
var retry = policy.RetryOptions{MaxRetries: 2}

type ask struct {
	ID              string `json:"id"`
	Session         string `json:"session"`
	Library         string `json:"library"`
	Credential      string `json:"credential"`
	Authority       string `json:"authority"` // empty: the library's own
	TenantID        string `json:"tenant_id"`
	ClientID        string `json:"client_id"`
	Secret          string `json:"secret"`
	CertificateFile string `json:"certificate_file"`
	AssertionFile   string `json:"assertion_file"`
}

type reply struct {
	ID    string `json:"id"`
	OK    bool   `json:"ok"`
	Token string `json:"token,omitempty"`
	Error string `json:"error,omitempty"`
}

type signIn func(context.Context) (token string, err error)

func main() {
	var (
		mu      sync.Mutex
		clients = map[string]signIn{}
		output  = json.NewEncoder(os.Stdout)
	)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var a ask
		if err := json.Unmarshal(lines.Bytes(), &a); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		go func() {
			mu.Lock()
			client := clients[a.Session]
			mu.Unlock()
			var (
				token string
				err   error
			)
			if client == nil {
				client, err = open(a)
			}
			if err == nil {
				mu.Lock()
				clients[a.Session] = client
				mu.Unlock()
				token, err = client(context.Background())
			}
			r := reply{ID: a.ID, OK: err == nil, Token: token}
			if err != nil {
				r.Error = err.Error()
			}
			mu.Lock()
			defer mu.Unlock()
			if err := output.Encode(r); err != nil {
				os.Exit(1)
			}
		}()
	}
}

func open(a ask) (signIn, error) {
	if a.Library == "azidentity" {
		credential, err := azureCredential(a)
		return func(ctx context.Context) (string, error) {
			token, err := credential.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{scope}})
			return token.Token, err
		}, err
	}
	if a.Credential == "managed-identity" {
		client, err := managedidentity.New(managedidentity.UserAssignedClientID(a.ClientID))
		return func(ctx context.Context) (string, error) {
			result, err := client.AcquireToken(ctx, resource)
			return result.AccessToken, err
		}, err
	}
	client, err := msalClient(a)
	return func(ctx context.Context) (string, error) {
		result, err := client.AcquireTokenByCredential(ctx, []string{scope})
		return result.AccessToken, err
	}, err
}

func azureCredential(a ask) (azcore.TokenCredential, error) {
	client := azcore.ClientOptions{Retry: retry}
	if a.Authority != "" {
		client.Cloud = cloud.Configuration{ActiveDirectoryAuthorityHost: a.Authority}
	}
	offline := a.Authority != "" // no instance discovery
	switch a.Credential {
	case "client-secret":
		return azidentity.NewClientSecretCredential(a.TenantID, a.ClientID, a.Secret,
			&azidentity.ClientSecretCredentialOptions{ClientOptions: client, DisableInstanceDiscovery: offline})
	case "certificate":
		pem, err := os.ReadFile(a.CertificateFile)
		if err != nil {
			return nil, err
		}
		certs, key, err := azidentity.ParseCertificates(pem, nil)
		if err != nil {
			return nil, err
		}
		return azidentity.NewClientCertificateCredential(a.TenantID, a.ClientID, certs, key,
			&azidentity.ClientCertificateCredentialOptions{ClientOptions: client, DisableInstanceDiscovery: offline})
	case "workload-identity":
		return azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{
			ClientOptions: client, DisableInstanceDiscovery: offline,
			TenantID: a.TenantID, ClientID: a.ClientID, TokenFilePath: a.AssertionFile,
		})
	default:
		return azidentity.NewManagedIdentityCredential(&azidentity.ManagedIdentityCredentialOptions{ClientOptions: client, ID: azidentity.ClientID(a.ClientID)})
	}
}

func msalClient(a ask) (confidential.Client, error) {
	credential, err := msalCredential(a)
	if err != nil {
		return confidential.Client{}, err
	}
	if a.Authority != "" {
		return confidential.New(a.Authority+"/"+a.TenantID, a.ClientID, credential, confidential.WithInstanceDiscovery(false))
	}
	return confidential.New(publicAuthority+"/"+a.TenantID, a.ClientID, credential)
}

func msalCredential(a ask) (confidential.Credential, error) {
	switch a.Credential {
	case "client-secret":
		return confidential.NewCredFromSecret(a.Secret)
	case "certificate":
		pem, err := os.ReadFile(a.CertificateFile)
		if err != nil {
			return confidential.Credential{}, err
		}
		certs, key, err := confidential.CertFromPEM(pem, "")
		if err != nil {
			return confidential.Credential{}, err
		}
		return confidential.NewCredFromCert(certs, key)
	default:
		return confidential.NewCredFromAssertionCallback(func(context.Context, confidential.AssertionRequestOptions) (string, error) {
			assertion, err := os.ReadFile(a.AssertionFile)
			return string(assertion), err
		}), nil
	}
}
