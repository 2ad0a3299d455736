package fakeentra

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// IdentitySource is one of the ways in which a program asks the machine it runs
// on for a token of a managed identity. Which one a library uses is decided by
// the environment it finds; see ManagedIdentityEnv.
type IdentitySource string

const (
	// SourceIMDS is the instance metadata service of a virtual machine.
	SourceIMDS IdentitySource = "imds"
	// SourceAppService is App Service, Functions and Container Apps.
	SourceAppService IdentitySource = "app-service"
	// SourceAzureArc is a server outside Azure, whose agent wants proof that the
	// program may read a file of root's; see WithArcKeyFolder.
	SourceAzureArc IdentitySource = "azure-arc"
	// SourceAzureML is a compute instance of Azure Machine Learning.
	SourceAzureML IdentitySource = "azure-ml"
	// SourceCloudShell is Cloud Shell. The real one hands out tokens of the user
	// who opened it, and only for a list of resources on which, as far as it was
	// ever shown in its own error message (Azure/CloudShell#109, #351), Redis is
	// not; this one hands out tokens of the system-assigned identity for any
	// resource it knows.
	SourceCloudShell IdentitySource = "cloud-shell"
	// SourceServiceFabric is a Service Fabric cluster. It is asked over TLS.
	SourceServiceFabric IdentitySource = "service-fabric"
)

// Where each source is asked. The paths are the usual ones, but for Arc, whose
// own is the same as that of IMDS, and for Azure ML, whose own has no source.
const (
	pathIMDS          = "/metadata/identity/oauth2/token"
	pathAppService    = "/msi/token"
	pathAzureArc      = "/arc" + pathIMDS
	pathAzureML       = "/azureml/token"
	pathCloudShell    = "/oauth2/token"
	pathServiceFabric = "/metadata/identity/oauth2/token"
)

var (
	metadataPaths = map[string]IdentitySource{
		pathIMDS:       SourceIMDS,
		pathAppService: SourceAppService,
		pathAzureArc:   SourceAzureArc,
		pathAzureML:    SourceAzureML,
		pathCloudShell: SourceCloudShell,
	}
	issuerIdentityPaths = map[string]IdentitySource{pathServiceFabric: SourceServiceFabric}
)

// parseIdentityPath tolerates doubled and trailing slashes and other letter case:
// @azure/identity sends "/token/?", msal4j "//metadata".
func parseIdentityPath(path string, sources map[string]IdentitySource) (route, bool) {
	segments := strings.FieldsFunc(path, func(c rune) bool { return c == '/' })
	source, ok := sources["/"+strings.ToLower(strings.Join(segments, "/"))]
	if !ok {
		return route{endpoint: EndpointUnknown}, false
	}
	return route{endpoint: EndpointManagedIdentity, source: source}, true
}

// selectors are the names by which a source takes the ID of a user-assigned
// identity. Anything else is ignored, as unknown parameters are: with mi_res_id,
// which is right for App Service, Arc answers for the system-assigned identity
// (MSAL for Go, managedidentity.go, createAzureArcAuthRequest).
//
// Sources: IMDS from Entra documentation, "How to use managed identities for Azure
// resources on an Azure VM to acquire an access token"; App Service from Azure
// documentation, "How to use managed identities for App Service and Azure
// Functions", REST endpoint reference; the others from MSAL for Go, Python and
// Node. Cloud Shell and Service Fabric take none.
var selectors = map[IdentitySource]struct{ client, object, resource []string }{
	SourceIMDS:       {[]string{"client_id"}, []string{"object_id"}, []string{"msi_res_id"}},
	SourceAzureArc:   {[]string{"client_id"}, []string{"object_id"}, []string{"msi_res_id"}},
	SourceAppService: {[]string{"client_id"}, []string{"object_id", "principal_id"}, []string{"mi_res_id"}},
	SourceAzureML:    {[]string{"clientid"}, nil, nil},
}

// identityRequest is a request for a token of a managed identity as it was sent.
type identityRequest struct {
	values     url.Values
	resource   string
	clientID   string
	objectID   string
	resourceID string
	secret     string // that proves where the request comes from

	// The identity that the request is for, or why there is none.
	identity *ManagedIdentity
	problem  identityProblem
}

// secretHeaders are where a source takes its secret.
var secretHeaders = map[IdentitySource]string{
	SourceAppService:    "X-Identity-Header",
	SourceAzureML:       "Secret",
	SourceServiceFabric: "Secret",
}

// readIdentityRequest reads the request into x.asked and into the log's record.
// It reports false when it has refused the request.
func (x *exchange) readIdentityRequest() bool {
	a := &x.asked
	a.values = x.r.URL.Query()
	if x.r.Method == http.MethodPost { // Cloud Shell
		body, err := io.ReadAll(http.MaxBytesReader(x.w, x.r.Body, maxForm))
		form, parseErr := url.ParseQuery(string(body))
		if err != nil || parseErr != nil {
			x.refuseIdentity(problemMalformed)
			return false
		}
		for name, values := range form {
			a.values[name] = append(values, a.values[name]...)
		}
	}
	first := func(names []string) string {
		for _, name := range names {
			if v := a.values.Get(name); v != "" {
				return v
			}
		}
		return ""
	}
	names := selectors[x.route.source]
	a.resource = a.values.Get("resource")
	a.clientID, a.objectID, a.resourceID = first(names.client), first(names.object), first(names.resource)
	if header := secretHeaders[x.route.source]; header != "" {
		a.secret = x.r.Header.Get(header)
	}
	if x.route.source == SourceAzureArc {
		a.secret, _ = strings.CutPrefix(x.r.Header.Get("Authorization"), "Basic ")
	}

	x.record.Resource, x.record.ClientID = a.resource, a.clientID
	if a.identity, a.problem = x.server.identityFor(x.route.source, a); a.identity != nil {
		x.record.ClientID, x.record.TenantID = a.identity.ClientID, a.identity.TenantID
	}
	return true
}

// identityFor finds the identity that a request is for. The server stands for one
// machine, to which the system-assigned identity of the default tenant belongs
// and to which all user-assigned identities are assigned.
func (s *Server) identityFor(source IdentitySource, a *identityRequest) (*ManagedIdentity, identityProblem) {
	if source == SourceServiceFabric {
		return s.identityByCode(a.secret)
	}
	chosen := 0
	for _, id := range []string{a.clientID, a.objectID, a.resourceID} {
		if id != "" {
			chosen++
		}
	}
	if chosen > 1 {
		return nil, problemSelectors
	}
	if chosen == 0 {
		return s.residentIdentity(source)
	}
	for _, t := range s.directory.all() {
		for _, m := range t.ManagedIdentities() {
			if a.clientID != "" && strings.EqualFold(a.clientID, m.ClientID) ||
				a.objectID != "" && strings.EqualFold(a.objectID, m.ObjectID) ||
				a.resourceID != "" && strings.EqualFold(a.resourceID, m.ResourceID) {
				return m, noProblem
			}
		}
	}
	return nil, problemIdentity
}

// residentIdentity is the one to answer for when none is chosen: the
// system-assigned one. A virtual machine without that answers for its only
// user-assigned identity (MSAL for Python, ManagedIdentityClient, known issue).
func (s *Server) residentIdentity(source IdentitySource) (*ManagedIdentity, identityProblem) {
	var assigned []*ManagedIdentity
	for _, m := range s.tenant.ManagedIdentities() {
		if m.SystemAssigned {
			return m, noProblem
		}
		assigned = append(assigned, m)
	}
	if source != SourceIMDS || len(assigned) == 0 {
		return nil, problemIdentity
	}
	if len(assigned) > 1 {
		return nil, problemAmbiguous
	}
	return assigned[0], noProblem
}

// identityByCode finds the identity of a Service Fabric application by the
// authentication code that its environment carries.
func (s *Server) identityByCode(code string) (*ManagedIdentity, identityProblem) {
	for _, t := range s.directory.all() {
		for _, m := range t.ManagedIdentities() {
			if code == s.serviceFabricCode(m) {
				return m, noProblem
			}
		}
	}
	return nil, problemIdentity
}

func (s *Server) serviceFabricCode(m *ManagedIdentity) string {
	return s.cfg.identityHeader + "-" + m.ObjectID
}

// managedIdentity answers a request for a token of a managed identity. The order
// of the checks has no source.
func (x *exchange) managedIdentity() {
	if problem := x.identityProblem(); problem != noProblem {
		x.refuseIdentity(problem)
		return
	}
	m := x.asked.identity
	found, ok := findResource(x.server.resources, x.asked.resource)
	if !ok {
		x.details.resource, x.details.tenant = x.asked.resource, m.TenantID
		x.refuseIdentity(problemResource)
		return
	}
	token, cached, err := x.server.identities.token(x, m, found.audience(x.server.cfg.audience, x.asked.resource))
	if err != nil {
		x.internalError(err)
		return
	}
	x.record.Token, x.record.Cached = &token.info, cached
	x.ok(x.identityBody(m, token))
}

// identityProblem returns what is wrong with the request.
func (x *exchange) identityProblem() identityProblem {
	a, source := &x.asked, x.route.source
	if x.r.Method != http.MethodGet && (x.r.Method != http.MethodPost || source != SourceCloudShell) {
		return problemMethod
	}
	switch source {
	case SourceIMDS, SourceAzureArc, SourceCloudShell:
		// A browser or a server tricked into fetching an address does not send the
		// header, and a proxy that forwards adds one of its own.
		if !metadataHeader(source, x.r.Header.Get("Metadata")) {
			return problemMetadata
		}
		if x.r.Header.Get("X-Forwarded-For") != "" {
			return problemForwarded
		}
	case SourceAppService, SourceAzureML:
		if a.secret != x.server.cfg.identityHeader {
			return problemSecret
		}
	case SourceServiceFabric:
		if a.secret == "" {
			return problemSecret
		}
	}
	version := a.values.Get("api-version")
	switch {
	case (source == SourceIMDS || source == SourceAzureArc) && version == "",
		source == SourceServiceFabric && version != serviceFabricVersion:
		return problemVersion
	case a.resource == "":
		return problemNoResource
	}
	if source == SourceAzureArc && !x.server.arc.knows(a.secret) {
		return problemChallenge
	}
	return a.problem
}

const serviceFabricVersion = "2019-07-01-preview"

// metadataHeader: IMDS wants "true" in all lower case (the documentation of its
// errors); the documentation of Arc itself sends "True". Cloud Shell: no source.
func metadataHeader(source IdentitySource, value string) bool {
	if source == SourceAzureArc {
		return strings.EqualFold(value, "true")
	}
	return value == "true"
}

// identityCache keeps the tokens of managed identities, as the real endpoints do:
// "The back-end services for managed identities maintain a cache per resource URI
// for around 24 hours" (Azure documentation, "Managed identity best practice
// recommendations").
type identityCache struct {
	renewal time.Duration

	mu     sync.Mutex
	tokens map[identityKey]cachedToken
}

// identityKey includes what a test may change about an identity's tokens, so that
// the change shows with the next request.
type identityKey struct {
	identity *ManagedIdentity
	audience string
	defect   Defect
	shape    *compiledShape
}

type cachedToken struct {
	issuedToken
	at time.Time // when it was made, by the issuer's clock
}

// token returns the token to answer with, and whether it was there already.
func (c *identityCache) token(x *exchange, m *ManagedIdentity, audience string) (issuedToken, bool, error) {
	key := identityKey{identity: m, audience: audience, defect: m.Defect(), shape: m.shape()}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := x.server.now()
	if held, ok := c.tokens[key]; ok && now.Before(held.until(c.renewal)) && !x.revokes(held.token) {
		// Rounded so that it is never more than what is left.
		age := int64((now.Sub(held.at) + time.Second - 1) / time.Second)
		held.expiresIn -= age
		held.refreshIn -= age
		return held.issuedToken, true, nil
	}
	issued, err := x.server.issueToManagedIdentity(m, audience)
	if err != nil {
		return issuedToken{}, false, err
	}
	if c.tokens == nil {
		c.tokens = map[identityKey]cachedToken{}
	}
	c.tokens[key] = cachedToken{issuedToken: issued, at: now}
	return issued, false, nil
}

// until is when the token is replaced.
func (t cachedToken) until(renewal time.Duration) time.Time {
	return t.expires.Add(-min(renewal, t.expires.Sub(t.at)/2))
}

// revokes tells whether the client asks for a token in place of this one, which
// it was told is revoked (MSAL for Python, Service Fabric; MSAL for Node). For
// sources other than App Service and Service Fabric: no source, ignored.
func (x *exchange) revokes(token string) bool {
	if x.route.source != SourceAppService && x.route.source != SourceServiceFabric {
		return false
	}
	sum := sha256.Sum256([]byte(token))
	return strings.EqualFold(x.asked.values.Get("token_sha256_to_refresh"), hex.EncodeToString(sum[:]))
}

// ForgetIdentityTokens empties the cache of the managed identity endpoints, so
// that the next request of each identity gets a new token. In Azure nothing does
// that: "it is not possible to force a managed identity's token to be refreshed
// before its expiry" (see identityCache for the source).
func (s *Server) ForgetIdentityTokens() {
	s.identities.mu.Lock()
	defer s.identities.mu.Unlock()
	clear(s.identities.tokens)
}
