package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/entracache/entracache/fakeentra"
)

// pairFlags name a running pair and an identity: by the ready file, and by flags that win over it.
type pairFlags struct {
	ReadyFile    string `help:"The file that \"entracache serve --ready-file\" wrote." placeholder:"PATH"`
	Authority    string `help:"The issuer with its tenant, such as https://127.0.0.1:8443/TENANT." placeholder:"URL"`
	ClientID     string `help:"Client ID to sign in with." placeholder:"GUID" name:"client-id"`
	ClientSecret string `help:"Client secret to sign in with." placeholder:"SECRET"`
	CAFile       string `help:"PEM file with the CA to trust." placeholder:"FILE" name:"ca-file"`
}

// resolve fills in what the flags leave open from the ready file.
func (p *pairFlags) resolve() (ready, error) {
	var r ready
	if p.ReadyFile != "" {
		text, err := os.ReadFile(p.ReadyFile)
		if err != nil {
			return r, fmt.Errorf("--ready-file: %w; is `entracache serve --ready-file %s` running?", err, p.ReadyFile)
		}
		if err := json.Unmarshal(text, &r); err != nil || r.Event != "ready" {
			return r, fmt.Errorf("--ready-file %s: expected the ready line of `entracache serve`, got %q", p.ReadyFile, text)
		}
	}
	if r.Entra == nil {
		r.Entra = &readyEntra{}
	}
	for _, f := range []struct {
		value  string
		target *string
	}{{p.Authority, &r.Entra.Authority}, {p.ClientID, &r.Entra.ClientID}, {p.ClientSecret, &r.Entra.ClientSecret}, {p.CAFile, &r.CAFile}} {
		if f.value != "" {
			*f.target = f.value
		}
	}
	if r.Entra.Authority == "" || r.Entra.ClientID == "" || r.Entra.ClientSecret == "" {
		return r, errNoPair
	}
	return r, nil
}

// trust is the TLS configuration that trusts the pair.
func (r ready) trust() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if r.CAFile == "" {
		return config, nil
	}
	pem, err := os.ReadFile(r.CAFile)
	if err != nil {
		return nil, fmt.Errorf("the CA to trust: %w", err)
	}
	config.RootCAs = x509.NewCertPool()
	if !config.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("the CA to trust: %s holds no PEM certificate", r.CAFile)
	}
	return config, nil
}

// signIn gets a token from the issuer with the Azure Identity library.
func (r ready) signIn(ctx context.Context) (string, error) {
	authority, err := url.Parse(r.Entra.Authority)
	if err != nil || authority.Host == "" || strings.Trim(authority.Path, "/") == "" {
		return "", usageError(fmt.Errorf("authority %q: expected https://HOST:PORT/TENANT", r.Entra.Authority))
	}
	config, err := r.trust()
	if err != nil {
		return "", usageError(err)
	}
	credential, err := azidentity.NewClientSecretCredential(strings.Trim(authority.Path, "/"), r.Entra.ClientID, r.Entra.ClientSecret,
		&azidentity.ClientSecretCredentialOptions{
			ClientOptions: azcore.ClientOptions{
				Cloud:     cloud.Configuration{ActiveDirectoryAuthorityHost: "https://" + authority.Host},
				Transport: &http.Client{Transport: &http.Transport{TLSClientConfig: config}},
				Retry:     policy.RetryOptions{MaxRetries: -1},
			},
			DisableInstanceDiscovery: true,
		})
	if err != nil {
		return "", usageError(err)
	}
	token, err := credential.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{fakeentra.RedisScope}})
	if err != nil {
		return "", fmt.Errorf("the issuer gave no token: %w", err)
	}
	return token.Token, nil
}
