package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/entracache/entracache/fakeentra"
)

// ready is the line that serve prints on stdout once both fakes answer, and all that a client needs to know of them.
type ready struct {
	Event   string        `json:"event"`
	Cache   readyCache    `json:"cache"`
	Entra   *readyEntra   `json:"entra,omitempty"`   // absent with --issuer
	Metrics *readyMetrics `json:"metrics,omitempty"` // with --metrics-addr
	CAFile  string        `json:"ca_file"`
	Version string        `json:"version"`
}

type readyCache struct {
	Host      string `json:"host"`
	Port      int    `json:"port"`
	PlainPort int    `json:"plain_port,omitempty"` // absent without --plain-addr
}

type readyMetrics struct {
	URL string `json:"url"`
}

type readyEntra struct {
	Authority    string `json:"authority"`
	TenantID     string `json:"tenant_id"`
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"`
	ObjectID     string `json:"object_id"`
	MetadataURL  string `json:"metadata_url,omitempty"` // with --metadata-addr
	ProxyURL     string `json:"proxy_url,omitempty"`    // with --proxy-addr
}

// pairFlags name a running pair and an identity: by the ready file, and by flags that win over it.
type pairFlags struct {
	ReadyFile    string        `help:"The file that \"entracache serve --ready-file\" wrote." placeholder:"PATH"`
	Authority    string        `help:"The issuer with its tenant, such as https://127.0.0.1:8443/TENANT." placeholder:"URL"`
	ClientID     string        `help:"Client ID to sign in with." placeholder:"GUID" name:"client-id"`
	ClientSecret string        `help:"Client secret to sign in with." placeholder:"SECRET"`
	CAFile       string        `help:"PEM file with the CA to trust besides those of the system." placeholder:"FILE" name:"ca-file"`
	Timeout      time.Duration `help:"Give up after this long." default:"5s" placeholder:"DURATION"`
}

// resolve fills in what the flags leave open from the ready file. Its errors carry an exit code: a ready file that is not there
// means that no pair is up, which is an answer; anything else is a wrong question.
func (p *pairFlags) resolve() (ready, error) {
	var r ready
	if p.Timeout <= 0 {
		return r, usageError(fmt.Errorf("--timeout %s: expected more than 0", p.Timeout))
	}
	if p.ReadyFile != "" {
		text, err := os.ReadFile(p.ReadyFile)
		if err != nil {
			return r, noReadyFile(fmt.Errorf("--ready-file %s: %w; is \"entracache serve --ready-file %s\" running?", p.ReadyFile, withoutPath(err), p.ReadyFile))
		}
		if err := json.Unmarshal(text, &r); err != nil || r.Event != "ready" {
			return r, usageError(fmt.Errorf("--ready-file %s: expected the ready line of \"entracache serve\", got %.80q", p.ReadyFile, text))
		}
	}
	if r.Entra == nil {
		r.Entra = &readyEntra{}
	}
	override(&r.Entra.Authority, p.Authority)
	override(&r.Entra.ClientID, p.ClientID)
	override(&r.Entra.ClientSecret, p.ClientSecret)
	override(&r.CAFile, p.CAFile)
	return r, p.missing(map[string]string{
		"--authority": r.Entra.Authority, "--client-id": r.Entra.ClientID, "--client-secret": r.Entra.ClientSecret,
	})
}

func noReadyFile(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nonconformant(err)
	}
	return usageError(err)
}

func override(target *string, value string) {
	if value != "" {
		*target = value
	}
}

// missing says which of the needed values neither a flag nor the ready file gave.
func (p *pairFlags) missing(needed map[string]string) error {
	var names []string
	for _, name := range []string{"--authority", "--client-id", "--client-secret", "--cache-addr", "--object-id"} {
		if value, ok := needed[name]; ok && value == "" {
			names = append(names, name)
		}
	}
	switch {
	case len(names) == 0:
		return nil
	case p.ReadyFile == "":
		return usageError(fmt.Errorf("which pair? Give --ready-file with the file that \"entracache serve --ready-file\" wrote, or %s", strings.Join(names, ", ")))
	default:
		return usageError(fmt.Errorf("the ready file %s says nothing of it: give %s", p.ReadyFile, strings.Join(names, ", ")))
	}
}

// trust is the TLS configuration that trusts the pair, and what the system trusts: the issuer may be a real one.
func (r ready) trust() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if r.CAFile == "" {
		return config, nil
	}
	pem, err := os.ReadFile(r.CAFile)
	if err != nil {
		return nil, fmt.Errorf("the CA to trust: %s: %w; name another with --ca-file", r.CAFile, withoutPath(err))
	}
	if config.RootCAs, err = x509.SystemCertPool(); err != nil {
		config.RootCAs = x509.NewCertPool()
	}
	if !config.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("the CA to trust: %s: expected a PEM certificate, found none; name another with --ca-file", r.CAFile)
	}
	return config, nil
}

// signIn gets a token from the issuer with the Azure Identity library.
func (r ready) signIn(ctx context.Context) (string, error) {
	authority, err := url.Parse(r.Entra.Authority)
	if err != nil || authority.Scheme != "https" || authority.Host == "" || strings.Trim(authority.Path, "/") == "" {
		return "", usageError(fmt.Errorf("--authority %q: expected https://HOST:PORT/TENANT", r.Entra.Authority))
	}
	config, err := r.trust()
	if err != nil {
		return "", usageError(err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = config
	defer transport.CloseIdleConnections()
	credential, err := azidentity.NewClientSecretCredential(strings.Trim(authority.Path, "/"), r.Entra.ClientID, r.Entra.ClientSecret,
		&azidentity.ClientSecretCredentialOptions{
			ClientOptions: azcore.ClientOptions{
				Cloud:     cloud.Configuration{ActiveDirectoryAuthorityHost: "https://" + authority.Host},
				Transport: &http.Client{Transport: transport},
				Retry:     policy.RetryOptions{MaxRetries: -1},
			},
			DisableInstanceDiscovery: true,
		})
	if err != nil {
		return "", usageError(fmt.Errorf("--authority %q: %w", r.Entra.Authority, err))
	}
	token, err := credential.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{fakeentra.RedisScope}})
	if err != nil {
		return "", nonconformant(fmt.Errorf("no token from %s: %s", r.Entra.Authority, refusal(err)))
	}
	return token.Token, nil
}

// refusal is the one line that matters of an error of the Azure Identity library, which prints whole HTTP answers and a link to
// its manual.
func refusal(err error) string {
	var failed *azidentity.AuthenticationFailedError
	if errors.As(err, &failed) && failed.RawResponse != nil {
		var answer struct {
			Description string `json:"error_description"`
		}
		body, _ := io.ReadAll(failed.RawResponse.Body)
		if json.Unmarshal(body, &answer) == nil && answer.Description != "" {
			first, _, _ := strings.Cut(answer.Description, "\r\n")
			return first
		}
		return "HTTP " + failed.RawResponse.Status
	}
	line := strings.Join(strings.Fields(err.Error()), " ")
	line, _, _ = strings.Cut(line, " To troubleshoot, visit ")
	return strings.TrimSuffix(line, ".")
}

// reachable turns a host that is listened on into one to connect to: a server that listens on every interface is reached by the
// loopback one, which is also a name in its certificate.
func reachable(host string) string {
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		return "127.0.0.1"
	}
	return host
}

// splitAddr checks the HOST:PORT of a flag.
func splitAddr(flag, addr string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(addr)
	if err == nil {
		port, err = strconv.Atoi(text)
	}
	if err != nil || port < 0 || port > 65535 {
		return "", 0, fmt.Errorf("%s %q: expected HOST:PORT, such as 127.0.0.1:6380; port 0 is any free one", flag, addr)
	}
	return host, port, nil
}

// nonconformant marks a failure of what was asked about.
func nonconformant(err error) error { return &exitError{exitNonconformant, err} }
