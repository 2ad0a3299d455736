package fakeentra_test

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeentra"
)

// jwtOf is a JWT with that header and those claims, and a signature that is none.
func jwtOf(header, claims string) string {
	part := base64.RawURLEncoding.EncodeToString
	return part([]byte(header)) + "." + part([]byte(claims)) + "." + part([]byte("signature"))
}

// Every request has an answer, whatever is in it; a panic would have none.
func TestHostileRequests(t *testing.T) {
	s := fakeentra.RunT(t)
	app := s.RegisterApp("orders", fakeentra.WithAppCertificate(certificates()[0]), fakeentra.WithPublicClient(), fakeentra.WithRedirectURIs(redirectURI))
	s.RegisterManagedIdentity("vm", fakeentra.WithSystemAssigned())
	s.RegisterUser("Ada")
	client := browser(t, s)
	tenant := "/" + s.TenantID()
	token := tenant + "/oauth2/v2.0/token"
	assertionWith := func(header, claims string) string { return assertionForm(app, jwtOf(header, claims)).Encode() }
	own := `{"iss":"` + app.ClientID + `","sub":"` + app.ClientID + `",`
	tests := map[string]struct {
		method, path, body string
		status             int
	}{
		"too large a body":      {"POST", token, tokenForm(app, "nonsense", strings.Repeat("x", 1<<20)).Encode(), 400},
		"too many parameters":   {"POST", token, strings.Repeat("a=1&", 20_000), 400},
		"bad escapes":           {"POST", token, "grant_type=%zz", 400},
		"semicolons":            {"POST", token, "grant_type=a;client_id=b", 400},
		"no text":               {"POST", token, "grant_type=client_credentials&client_id=%00%ff%fe&scope=%00", 400},
		"JSON":                  {"POST", token, `{"grant_type":"client_credentials"}`, 400},
		"nothing":               {"POST", token, "", 400},
		"DELETE":                {"DELETE", token, "", 400},
		"HEAD":                  {"HEAD", token, "", 400},
		"device code by PUT":    {"PUT", tenant + "/oauth2/v2.0/devicecode", "", 400},
		"long path":             {"GET", "/" + strings.Repeat("x", 100_000), "", 404},
		"path upwards":          {"GET", tenant + "/../../etc/passwd", "", 404},
		"escaped slash":         {"GET", "/%2f%2e%2e/discovery/keys", "", 400},
		"bad query":             {"GET", tenant + "/oauth2/v2.0/authorize?client_id=%zz&%=", "", 400},
		"redirect to nowhere":   {"GET", tenant + "/oauth2/v2.0/authorize?" + with(authorizeQuery(app), "redirect_uri", "javascript:alert(1)").Encode(), "", 400},
		"redirect elsewhere":    {"GET", tenant + "/oauth2/v2.0/authorize?" + with(authorizeQuery(app), "redirect_uri", redirectURI+"@evil.example").Encode(), "", 400},
		"instance of garbage":   {"GET", "/common/discovery/instance?authorization_endpoint=%01://", "", 400},
		"realm of garbage":      {"GET", "/common/UserRealm/@@@", "", 200},
		"header is a list":      {"POST", token, assertionWith(`[]`, `{}`), 401},
		"claims are a list":     {"POST", token, assertionWith(`{"alg":"RS256"}`, `[]`), 401},
		"claims are nothing":    {"POST", token, assertionWith(`{"alg":"RS256"}`, `null`), 401},
		"alg is a number":       {"POST", token, assertionWith(`{"alg":1}`, `{}`), 401},
		"thumbprint a number":   {"POST", token, assertionWith(`{"alg":"PS256","x5t#S256":7}`, own+`"aud":"x"}`), 401},
		"aud is a number":       {"POST", token, assertionWith(`{"alg":"PS256","x5t":"AAAA"}`, own+`"aud":5}`), 401},
		"exp beyond all bounds": {"POST", token, assertionWith(`{"alg":"PS256","x5t":"AAAA"}`, own+`"exp":1e300}`), 401},
		"deep claims":           {"POST", token, assertionWith(`{"alg":"RS256"}`, strings.Repeat(`{"a":`, 20_000)+"1"+strings.Repeat("}", 20_000)), 401},
		"refresh token":         {"POST", token, values("grant_type", "refresh_token", "client_id", app.ClientID, "refresh_token", "1.A"+strings.Repeat("A", 300)).Encode(), 400},
		"Service Fabric":        {"GET", "/metadata/identity/oauth2/token?api-version=%00&resource=%ff", "", 400},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			before := len(s.Requests())
			req, err := http.NewRequestWithContext(boundedContext(t), tt.method, s.URL()+tt.path, strings.NewReader(tt.body))
			require.NoError(t, err)
			a := do(t, client, req)
			assert.Equal(t, tt.status, a.status, "%.300s", a.body)
			log := s.Requests()[before:]
			require.Len(t, log, 1)
			assert.Less(t, len(mustJSON(t, log[0])), 5_000, "what is kept is bounded")
		})
	}
	mustToken(t, s, client, app)
}

// FuzzRequests looks for requests that have no answer.
func FuzzRequests(f *testing.F) {
	s := fakeentra.RunT(f)
	app := s.RegisterApp("orders", fakeentra.WithAppCertificate(certificates()[0]), fakeentra.WithPublicClient())
	ada := s.RegisterUser("Ada")
	machine := s.RegisterManagedIdentity("vm", fakeentra.WithSystemAssigned())
	tenant := "/" + s.TenantID()
	for _, path := range []string{
		"/oauth2/v2.0/token", "/oauth2/token", "/oauth2/v2.0/authorize", "/oauth2/devicecode", "/oauth2/v2.0/devicecode", "/oauth2/deviceauth",
		"/userrealm/ada", "/discovery/keys", "/v2.0/.well-known/openid-configuration",
	} {
		for _, form := range []url.Values{
			tokenForm(app), authorizeQuery(app), redeemForm(app, "1.AAA"), assertionForm(app, jwtOf(`{"alg":"RS256","x5t":"AAAA"}`, `{"iss":"`+app.ClientID+`"}`)),
			values("grant_type", "password", "client_id", app.ClientID, "username", ada.PrincipalName, "password", ada.Password, "resource", fakeentra.RedisResource),
		} {
			f.Add("POST", tenant+path, "", "", form.Encode())
			f.Add("GET", tenant+path, form.Encode(), "Basic "+base64.StdEncoding.EncodeToString([]byte(app.ClientID+":%zz")), "")
		}
	}
	f.Add("GET", "/common/discovery/instance", "authorization_endpoint=https%3A%2F%2Flogin.microsoftonline.com%2Fcommon", "", "")
	f.Add("GET", "/metadata/identity/oauth2/token", "api-version=2019-07-01-preview&client_id="+machine.ClientID, "", "")
	handler := s.Handler()
	f.Fuzz(func(t *testing.T, method, path, query, authorization, body string) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", strings.NewReader(body))
		r.Method, r.URL.Path, r.URL.RawQuery = method, path, query
		r.Header.Set("Authorization", authorization)
		seen := s.Requests()[max(0, len(s.Requests())-1):]
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Header().Get("Content-Type") == "application/json; charset=utf-8" && !json.Valid(w.Body.Bytes()) {
			t.Errorf("no JSON: %s", w.Body)
		}
		after := int64(0)
		for _, r := range seen {
			after = r.Seq
		}
		log := s.RequestsSince(after)
		if len(log) != 1 || log[0].Status != w.Code {
			t.Errorf("status %d, and in the log %+v", w.Code, log)
		}
		if text := fmt.Sprintf("%+v", log); strings.Contains(text, app.ClientSecret) || strings.Contains(text, ada.Password) {
			t.Errorf("a secret in the log: %s", text)
		}
	})
}

// A body that never comes holds up nobody but its sender.
func TestBodiesThatNeverCome(t *testing.T) {
	stalled := func(t *testing.T, s *fakeentra.Server) rawConnection {
		c, err := dial(t, s)
		require.NoError(t, err)
		_, err = fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\ngrant_type=", "/"+s.TenantID()+"/oauth2/v2.0/token")
		require.NoError(t, err)
		return c
	}
	cut := func(t *testing.T, c rawConnection) {
		t.Helper()
		require.NoError(t, c.SetReadDeadline(time.Now().Add(waitBound)))
		_, err := c.in.ReadByte()
		require.Error(t, err)
		var timeout net.Error
		require.False(t, errors.As(err, &timeout) && timeout.Timeout(), "the connection is closed")
	}
	t.Run("until an outage", func(t *testing.T) {
		s := fakeentra.RunT(t)
		c := stalled(t, s)
		mustToken(t, s, newClient(t, s), s.RegisterApp("orders"))
		s.SetOutage(true)
		cut(t, c)
	})
	t.Run("until closed", func(t *testing.T) {
		s, err := fakeentra.Start()
		require.NoError(t, err)
		c := stalled(t, s)
		require.NoError(t, s.Close())
		cut(t, c)
	})
}

// What is no HTTP ends its own connection only, at each of the addresses.
func TestWhatIsNoHTTP(t *testing.T) {
	s := fakeentra.RunT(t)
	metadata, proxy := strings.TrimPrefix(s.MetadataURL(), "http://"), strings.TrimPrefix(s.ProxyURL(), "http://")
	for name, text := range map[string]string{
		"RESP":             "*1\r\n$4\r\nPING\r\n",
		"a long line":      strings.Repeat("x", 2<<20),
		"no host":          "GET /metadata/identity/oauth2/token HTTP/1.1\r\n\r\n",
		"a bad tunnel":     "CONNECT : HTTP/1.1\r\nHost: :\r\n\r\n",
		"two lengths":      "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
		"length and chunk": "POST /oauth2/token HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	} {
		for _, addr := range []string{s.Addr(), metadata, proxy} {
			c, err := net.Dial("tcp", addr)
			require.NoError(t, err)
			require.NoError(t, c.SetDeadline(time.Now().Add(waitBound)))
			_, _ = io.WriteString(c, text) // the server may have had enough before the end
			first, _ := bufio.NewReader(c).ReadString('\n')
			assert.True(t, first == "" || strings.Contains(first, " 4") || strings.HasPrefix(first, "\x15"), "%s at %s: %q", name, addr, first)
			_ = c.Close()
		}
	}
	mustToken(t, s, newClient(t, s), s.RegisterApp("orders"))
}
