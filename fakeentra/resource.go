package fakeentra

import (
	"net/url"
	"slices"
	"strings"
)

const (
	// RedisResource is the URI of Azure Cache for Redis; clients ask for the scope
	// RedisScope.
	RedisResource = "https://redis.azure.com"
	// RedisClientID is the client ID of Azure Cache for Redis, the other spelling
	// of the same resource.
	RedisClientID = "acca5fbb-b7e4-4009-81f1-37e38fd66d78"
	// RedisScope is what the documentation of Azure Cache for Redis tells clients
	// to ask for.
	RedisScope = RedisResource + defaultScope

	defaultScope = "/.default"
)

// resource is something that tokens are for: an API registered in the tenants.
type resource struct {
	identifiers []string
}

// The trailing slash is an identifier of its own: a scope of
// "https://redis.azure.com//.default" or a managed identity request for
// "https://redis.azure.com/" names it, and the token's aud repeats it.
var redisResource = resource{identifiers: []string{RedisResource, RedisResource + "/", RedisClientID}}

func findResource(all []resource, identifier string) (resource, bool) {
	for _, r := range all {
		if slices.Contains(r.identifiers, identifier) {
			return r, true
		}
	}
	return resource{}, false
}

// audience is the aud claim for a request that named the resource by identifier.
func (r resource) audience(form AudienceForm, identifier string) string {
	for _, id := range r.identifiers {
		_, err := parseGUID(id)
		if isGUID := err == nil; form == AudienceClientID && isGUID || form == AudienceURI && !isGUID {
			return id
		}
	}
	return identifier
}

// wellFormedResource tells whether s could name a resource at all.
func wellFormedResource(s string) bool {
	if _, err := parseGUID(s); err == nil {
		return true
	}
	u, err := url.Parse(s)
	return err == nil && u.IsAbs() && (u.Host != "" || u.Opaque != "")
}

// oidcScopes ask for sign-in extras rather than a resource. MSAL for Go sends
// them with every request, also where they mean nothing.
var oidcScopes = []string{"openid", "profile", "offline_access", "email"}

// requestedResource takes the one resource out of the scope of a
// client-credentials request.
//
// Sources: AADSTS1002012 and its text from reports of the service
// (databricks/databricks-sql-nodejs#226 has it for a scope of one plain word);
// AADSTS700022 for two resources from the list of error codes, where a report with
// two "GUID/.default" scopes has AADSTS70011
// (learn.microsoft.com/answers/questions/1342946); AADSTS500011 for a resource
// that the tenant does not know from Azure/azure-cli#29113. Where exactly the
// service draws the line between a malformed and an unknown resource: no source.
func requestedResource(scope string) (identifier string, failed int) {
	var wanted []string
	for _, s := range strings.Fields(scope) {
		if !slices.Contains(oidcScopes, s) {
			wanted = append(wanted, s)
		}
	}
	if len(wanted) == 0 {
		return "", codeScopeNotDefault
	}
	for _, s := range wanted {
		id, ok := strings.CutSuffix(s, defaultScope)
		if !ok {
			return "", codeScopeNotDefault
		}
		if !wellFormedResource(id) {
			return "", codeInvalidScope
		}
		if identifier != "" && id != identifier {
			return "", codeTwoResources
		}
		identifier = id
	}
	return identifier, 0
}
