package fakeentra

import (
	"crypto/sha1" // Service Fabric defines the thumbprint as a SHA-1
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// DefaultIdentityRenewal is how long before its expiry a managed identity's token
// is replaced in the cache of its endpoint.
const DefaultIdentityRenewal = 5 * time.Minute

// WithMetadataAddr sets the TCP address on which the managed identity endpoints
// listen that are asked over plain HTTP, which is all but Service Fabric's.
// Default "127.0.0.1:0": loopback only, any free port. "" turns them off; the
// proxy goes on to answer for IMDS.
func WithMetadataAddr(addr string) Option { return func(c *config) { c.metadataAddr = addr } }

// WithIdentityRenewal sets how long before its expiry a managed identity's token
// is replaced in the cache, or at half of its life if that is later. Until then
// every request gets the same token. Default DefaultIdentityRenewal; no source: the
// documentation of IMDS says only that it asks Entra again when "the cached token
// is expired", that of Service Fabric that "tokens will be cached for less than
// their lifetime". Start returns an error for less than 0.
func WithIdentityRenewal(d time.Duration) Option {
	return func(c *config) { c.identityRenewal = d }
}

// WithIdentityHeader sets the secret that App Service and Azure ML clients have to
// send, and that the codes of Service Fabric begin with. Default: a random one.
func WithIdentityHeader(secret string) Option {
	return func(c *config) { c.identityHeader = secret }
}

// MetadataURL is where the managed identity endpoints are reached from this
// machine over plain HTTP, without a path, or "" if they are turned off.
func (s *Server) MetadataURL() string { return s.metadataURL }

// serveMetadata answers a request to the metadata address, or to that of IMDS
// through the proxy.
func (s *Server) serveMetadata(w http.ResponseWriter, r *http.Request) {
	sources := metadataPaths
	if isIMDS(r.Host) {
		sources = imdsPaths
	}
	to, ok := parseIdentityPath(r.URL.Path, sources)
	if !ok {
		to.expected = "one of " + strings.Join([]string{pathIMDS, pathAppService, pathAzureArc, pathAzureML, pathCloudShell}, ", ")
	}
	s.serve(w, r, to)
}

// imdsPaths is all that there is at the address of IMDS.
var imdsPaths = map[string]IdentitySource{pathIMDS: SourceIMDS}

// ManagedIdentityEnv returns the environment variables that make a library ask
// this server for tokens of the identity, as it would on a machine of that kind.
// The variables of other kinds must be absent, because libraries look for them in
// an order of their own.
//
// A user-assigned identity has to be chosen by the program, by one of its IDs;
// AZURE_CLIENT_ID, which is among the variables then, is what
// DefaultAzureCredential chooses by. In Service Fabric the environment chooses.
//
// IMDS: MSAL and Azure Identity for Go have its address built in and take no
// other; for them ProxyEnv does it. Azure Arc: see WithArcKeyFolder. Service
// Fabric: clients check the thumbprint of the server's certificate only.
//
// It returns an error for an unknown source, for an identity that is nil, for a
// user-assigned one in Cloud Shell, which has none, and when the endpoint is
// turned off.
func (s *Server) ManagedIdentityEnv(source IdentitySource, identity *ManagedIdentity) (map[string]string, error) {
	if identity == nil {
		return nil, fmt.Errorf("fakeentra: environment of %s: expected a managed identity, got nil; register one first", source)
	}
	if s.metadataURL == "" && source != SourceServiceFabric {
		return nil, fmt.Errorf("fakeentra: environment of %s: the managed identity endpoints are turned off; start with another WithMetadataAddr", source)
	}
	env := map[string]string{}
	if !identity.SystemAssigned {
		env["AZURE_CLIENT_ID"] = identity.ClientID
	}
	switch source {
	case SourceIMDS:
		env["AZURE_POD_IDENTITY_AUTHORITY_HOST"] = s.metadataURL
	case SourceAppService:
		env["IDENTITY_ENDPOINT"] = s.metadataURL + pathAppService
		env["IDENTITY_HEADER"] = s.cfg.identityHeader
	case SourceAzureArc:
		env["IDENTITY_ENDPOINT"] = s.metadataURL + pathAzureArc
		env["IMDS_ENDPOINT"] = s.metadataURL
	case SourceAzureML:
		env["MSI_ENDPOINT"] = s.metadataURL + pathAzureML
		env["MSI_SECRET"] = s.cfg.identityHeader
		env["DEFAULT_IDENTITY_CLIENT_ID"] = identity.ClientID
	case SourceCloudShell:
		if !identity.SystemAssigned {
			return nil, fmt.Errorf("fakeentra: environment of %s: expected a system-assigned identity, got %q; Cloud Shell has no other", source, identity.Name)
		}
		env["MSI_ENDPOINT"] = s.metadataURL + pathCloudShell
	case SourceServiceFabric:
		env["IDENTITY_ENDPOINT"] = s.url + pathServiceFabric
		env["IDENTITY_HEADER"] = s.serviceFabricCode(identity)
		env["IDENTITY_SERVER_THUMBPRINT"] = s.thumbprint
		delete(env, "AZURE_CLIENT_ID") // libraries refuse to choose there
	default:
		return nil, fmt.Errorf("fakeentra: unknown managed identity source %q: expected one of %q", source,
			[]IdentitySource{SourceIMDS, SourceAppService, SourceAzureArc, SourceAzureML, SourceCloudShell, SourceServiceFabric})
	}
	return env, nil
}

// thumbprint is what Service Fabric's clients compare a certificate by.
func thumbprint(der []byte) string {
	sum := sha1.Sum(der) // see the import
	return strings.ToUpper(hex.EncodeToString(sum[:]))
}
