package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeentra"
)

// testBound is reached only by what does not happen at all.
const testBound = 30 * time.Second

// served is `entracache serve`, running.
type served struct {
	ready
	line   string // the ready line
	stderr *syncBuffer
	stop   func() (code int, laterOutput string)
}

// serve runs `entracache serve` on free ports, unless args say otherwise, until the test ends.
func serve(t *testing.T, args ...string) *served {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	reader, writer := io.Pipe()
	s := &served{stderr: &syncBuffer{}}
	ended := make(chan int, 1)
	go func() {
		code := run(ctx, append([]string{"serve"}, args...), streams{writer, s.stderr})
		_ = writer.Close()
		ended <- code
	}()
	output := bufio.NewReader(reader)
	s.stop = sync.OnceValues(func() (int, string) {
		cancel()
		later, _ := io.ReadAll(output)
		return <-ended, string(later)
	})
	t.Cleanup(func() { s.stop() })

	stuck := time.AfterFunc(testBound, cancel)
	defer stuck.Stop()
	var err error
	s.line, err = output.ReadString('\n')
	require.NoError(t, err, "no ready line; stderr: %s", s.stderr)
	require.NoError(t, json.Unmarshal([]byte(s.line), &s.ready))
	return s
}

// anyPorts are the flags with which two pairs do not meet.
var anyPorts = []string{"--cache-addr", "127.0.0.1:0", "--entra-addr", "127.0.0.1:0"}

func (s *served) cacheAddr() string {
	return net.JoinHostPort(s.Cache.Host, strconv.Itoa(s.Cache.Port))
}

// token signs in with `entracache token`.
func (s *served) token(t *testing.T) string {
	t.Helper()
	code, stdout, stderr := command(t, "token", "--authority", s.Entra.Authority, "--client-id", s.Entra.ClientID, "--client-secret", s.Entra.ClientSecret, "--ca-file", s.CAFile)
	require.Equal(t, exitExpected, code, stderr)
	return strings.TrimSuffix(stdout, "\n")
}

// client is a Redis client that is signed in with a token.
func (s *served) client(t *testing.T) *redis.Client {
	t.Helper()
	config, err := s.trust()
	require.NoError(t, err)
	c := redis.NewClient(&redis.Options{Addr: s.cacheAddr(), Username: s.Entra.ObjectID, Password: s.token(t), TLSConfig: config, MaxRetries: -1})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// command runs a sub-command that ends by itself.
func command(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testBound)
	defer cancel()
	var out, err bytes.Buffer
	code = run(ctx, args, streams{&out, &err})
	require.NoError(t, ctx.Err(), "%v did not end by itself", args)
	return code, out.String(), err.String()
}

// assertRefused holds an error to its form: one line that names what is wrong, before at most the pointer to --help.
func assertRefused(t *testing.T, stderr string, says ...string) {
	t.Helper()
	line, rest, _ := strings.Cut(stderr, "\n")
	assert.True(t, strings.HasPrefix(line, "entracache: "), stderr)
	assert.True(t, rest == "" || strings.HasPrefix(rest, `Run "entracache --help"`) && strings.Count(rest, "\n") == 1, "more than one line: %s", stderr)
	for _, text := range says {
		assert.Contains(t, line, text)
	}
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestServeSaysWhereThePairIs(t *testing.T) {
	s := serve(t, anyPorts...)
	var line map[string]any
	require.NoError(t, json.Unmarshal([]byte(s.line), &line))
	assert.Equal(t, map[string]any{
		"event": "ready",
		"cache": map[string]any{"host": "127.0.0.1", "port": float64(s.Cache.Port)},
		"entra": map[string]any{
			"authority":     s.Entra.Authority,
			"tenant_id":     "e0000000-0000-4000-8000-000000000001",
			"client_id":     "e0000000-0000-4000-8000-00000000c11e",
			"client_secret": "fake-secret-of-the-seed",
			"object_id":     "e0000000-0000-4000-8000-0000000000b1",
		},
		"ca_file": s.CAFile,
		"version": version(),
	}, line, "names that other tools rely on, and the seed of the README")
	assert.NotZero(t, s.Cache.Port)
	assert.Regexp(t, `^https://127\.0\.0\.1:\d+/e0000000-0000-4000-8000-000000000001$`, s.Entra.Authority)
	assert.FileExists(t, s.CAFile)

	code, later := s.stop()
	assert.Equal(t, exitExpected, code)
	assert.Empty(t, later, "stdout has the ready line only")
	assert.NoFileExists(t, s.CAFile, "without --tls-dir nothing is left")
	_, err := net.Dial("tcp", s.cacheAddr())
	assert.Error(t, err, "the port is free again")
}

func TestServeOnEveryInterfaceSaysWhereToConnect(t *testing.T) {
	s := serve(t, "--cache-addr", "0.0.0.0:0", "--entra-addr", ":0")
	assert.Equal(t, "127.0.0.1", s.Cache.Host)
	require.NoError(t, s.client(t).Ping(t.Context()).Err())
}

func TestServePlainPort(t *testing.T) {
	s := serve(t, append(anyPorts, "--plain-addr", "127.0.0.1:0")...)
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.Cache.PlainPort))
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Write([]byte("PING\r\n"))
	require.NoError(t, err)
	answer, err := bufio.NewReader(conn).ReadString('\n')
	require.NoError(t, err)
	assert.Contains(t, answer, "NOAUTH")
}

func TestServeReadyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ready.json")
	// What an earlier run that was killed has left would be taken for this run's.
	require.NoError(t, os.WriteFile(path, []byte(`{"event":"ready","cache":{"host":"127.0.0.1","port":1}}`), 0o600))
	s := serve(t, append(anyPorts, "--ready-file", path)...)
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, s.line, string(text))
	s.stop()
	assert.NoFileExists(t, path, "whoever finds the file may count on the pair")
}

func TestServeKeepsAFileThatIsNotItsOwn(t *testing.T) {
	path := write(t, "precious.txt", "precious")
	code, stdout, stderr := command(t, append([]string{"serve", "--ready-file", path}, anyPorts...)...)
	assert.Equal(t, exitUsage, code)
	assert.Empty(t, stdout)
	assertRefused(t, stderr, "--ready-file", path)
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, "precious", string(text))
}

func TestServeTakesATokenAsPassword(t *testing.T) {
	s := serve(t, anyPorts...)
	c := s.client(t)
	require.NoError(t, c.Set(t.Context(), "greeting", "hello", 0).Err())
	greeting, err := c.Get(t.Context(), "greeting").Result()
	require.NoError(t, err)
	assert.Equal(t, "hello", greeting)
}

func TestServeAssignsPolicies(t *testing.T) {
	const assign = seedObjectID + "=Data Reader"
	config := write(t, "entracache.yaml", "cache-addr: 127.0.0.1:0\nentra-addr: 127.0.0.1:0\nassign:\n  "+strings.ToUpper(seedObjectID)+": Data Reader\n")
	for name, args := range map[string][]string{
		"flag":   append([]string{"--assign", assign}, anyPorts...),
		"config": {"--config", config},
	} {
		t.Run(name, func(t *testing.T) {
			c := serve(t, args...).client(t)
			require.ErrorIs(t, c.Get(t.Context(), "k").Err(), redis.Nil)
			assert.ErrorContains(t, c.Set(t.Context(), "k", "v", 0).Err(), "NOPERM")
		})
	}
}

// Flags win over the environment, that over the configuration file, and that over the defaults.
func TestServeConfigurationOrder(t *testing.T) {
	config := write(t, "entracache.yaml", "token-lifetime: 20m\ncache-addr: 127.0.0.1:0\nentra-addr: 127.0.0.1:0\nname: [cache.test, 192.0.2.1]\n")
	for _, step := range []struct {
		name     string
		env      map[string]string
		args     []string
		lifetime time.Duration
	}{
		{"default", nil, anyPorts, time.Hour},
		{"file", nil, []string{"--config", config}, 20 * time.Minute},
		{"file named by the environment", map[string]string{"ENTRACACHE_CONFIG": config}, nil, 20 * time.Minute},
		{"environment over file", map[string]string{"ENTRACACHE_TOKEN_LIFETIME": "10m"}, []string{"--config", config}, 10 * time.Minute},
		{"flag over both", map[string]string{"ENTRACACHE_TOKEN_LIFETIME": "10m"}, []string{"--config", config, "--token-lifetime", "5m"}, 5 * time.Minute},
	} {
		t.Run(step.name, func(t *testing.T) {
			for name, value := range step.env {
				t.Setenv(name, value)
			}
			s := serve(t, step.args...)
			claims := jwt.RegisteredClaims{}
			_, _, err := jwt.NewParser().ParseUnverified(s.token(t), &claims)
			require.NoError(t, err)
			assert.InDelta(t, step.lifetime.Seconds(), claims.ExpiresAt.Sub(claims.IssuedAt.Time).Seconds(), 1)
		})
	}
}

func TestServeDrawsTokenLifetimes(t *testing.T) {
	s := serve(t, append(anyPorts, "--token-lifetime", "60m-90m")...)
	seen := map[time.Duration]bool{}
	for range 4 { // all alike once in 10^9 runs
		claims := jwt.RegisteredClaims{}
		_, _, err := jwt.NewParser().ParseUnverified(s.token(t), &claims)
		require.NoError(t, err)
		lifetime := claims.ExpiresAt.Sub(claims.IssuedAt.Time)
		assert.GreaterOrEqual(t, lifetime, time.Hour)
		assert.LessOrEqual(t, lifetime, 90*time.Minute+time.Second)
		seen[lifetime] = true
	}
	assert.Greater(t, len(seen), 1)
}

// A configuration file is serve's; a variable that names it must not disturb the others.
func TestConfigurationOfServeDoesNotDisturbOthers(t *testing.T) {
	t.Setenv("ENTRACACHE_CONFIG", filepath.Join(t.TempDir(), "missing.yaml"))
	s := serve(t, append(anyPorts, "--config", write(t, "empty.yaml", "{}"))...)
	assert.NotEmpty(t, s.token(t))
}

func TestServeRefuses(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	missing := filepath.Join(t.TempDir(), "missing")
	garbage := write(t, "garbage", "garbage")
	config := func(text string) []string { return []string{"--config", write(t, "entracache.yaml", text)} }
	const guid = "6497c918-11ad-41e7-1b0f-7c518a87d0b0"
	for name, c := range map[string]struct {
		args []string
		says []string
	}{
		"unknown flag":               {[]string{"--nonsense"}, []string{"--nonsense"}},
		"unknown key":                {config("nonsense: 1\n"), []string{"entracache.yaml", `"nonsense"`, "cache-addr"}},
		"not YAML":                   {config("name: [a"), []string{"entracache.yaml", "YAML", "[1:7]"}},
		"not a map":                  {config("- name\n"), []string{"entracache.yaml", "map"}},
		"a key without a value":      {config("cache-addr:\n"), []string{"--cache-addr", "no value"}},
		"a list for one value":       {config("cache-addr: [a, b]\n"), []string{"--cache-addr", "form"}},
		"a map in a list":            {config("name: [{a: b}]\n"), []string{"--name", "form"}},
		"a bad value in the file":    {config("token-lifetime: soon\n"), []string{"--token-lifetime", "soon"}},
		"no such file":               {[]string{"--config", missing}, []string{"--config", missing}},
		"a bad duration":             {[]string{"--token-lifetime", "soon"}, []string{"--token-lifetime", "soon"}},
		"a lifetime of nothing":      {[]string{"--token-lifetime", "0s"}, []string{"--token-lifetime", "0s", "at least 1s"}},
		"a bad GUID":                 {[]string{"--assign", "me=Data Reader"}, []string{"--assign", `"me"`, "GUID"}},
		"a GUID in braces":           {[]string{"--assign", "{" + guid + "}=Data Reader"}, []string{"--assign", "GUID"}},
		"an object ID twice":         {[]string{"--assign", guid + "=Data Reader;" + strings.ToUpper(guid) + "=Data Owner"}, []string{"--assign", "more than once"}},
		"an unknown policy":          {[]string{"--assign", guid + "=King"}, []string{"--assign", `"King"`, "Data Contributor"}},
		"an unknown profile":         {[]string{"--profile", "azure-cache-9"}, []string{"--profile", "azure-cache-6.0", "azure-cache-9"}},
		"the cache's port in use":    {[]string{"--cache-addr", taken.Addr().String()}, []string{"--cache-addr", taken.Addr().String(), "in use"}},
		"the plain port in use":      {[]string{"--cache-addr", "127.0.0.1:0", "--plain-addr", taken.Addr().String()}, []string{"--plain-addr", taken.Addr().String(), "in use"}},
		"the issuer's port in use":   {[]string{"--entra-addr", taken.Addr().String()}, []string{"--entra-addr", taken.Addr().String(), "in use"}},
		"an address without a port":  {[]string{"--cache-addr", "localhost"}, []string{"--cache-addr", `"localhost"`, "HOST:PORT"}},
		"a port that is none":        {[]string{"--entra-addr", "localhost:99999"}, []string{"--entra-addr", "99999"}},
		"no such CA":                 {[]string{"--issuer", "https://x.test/t", "--issuer-ca", missing}, []string{"--issuer-ca", missing}},
		"a folder for a CA":          {[]string{"--issuer", "https://x.test/t", "--issuer-ca", t.TempDir()}, []string{"--issuer-ca", "directory"}},
		"garbage for a CA":           {[]string{"--issuer", "https://x.test/t", "--issuer-ca", garbage}, []string{"issuer CA", "PEM"}},
		"a CA of no issuer":          {[]string{"--issuer-ca", garbage}, []string{"--issuer-ca", "--issuer"}},
		"an issuer that is no URL":   {[]string{"--issuer", "entra"}, []string{`"entra"`, "https://HOST/TENANT"}},
		"a file for a folder":        {[]string{"--tls-dir", garbage}, []string{"--tls-dir", garbage}},
		"a name that none can have":  {[]string{"--name", "käse.test"}, []string{"--name", "käse.test"}},
		"nowhere to put a file":      {[]string{"--ready-file", filepath.Join(missing, "ready.json")}, []string{"--ready-file", missing}},
		"a folder for a ready file":  {[]string{"--ready-file", t.TempDir()}, []string{"--ready-file", "directory"}},
		"a further argument":         {[]string{"please"}, []string{"please"}},
		"no value in the flag's end": {[]string{"--cache-addr"}, []string{"--cache-addr"}},
	} {
		t.Run(name, func(t *testing.T) {
			args := []string{"serve"}
			if c.args[0] != "--config" && c.args[0] != "--cache-addr" {
				args = append(args, "--cache-addr", "127.0.0.1:0")
			}
			if c.args[0] != "--config" && c.args[0] != "--entra-addr" {
				args = append(args, "--entra-addr", "127.0.0.1:0")
			}
			code, stdout, stderr := command(t, append(args, c.args...)...)
			assert.Equal(t, exitUsage, code)
			assert.Empty(t, stdout)
			assertRefused(t, stderr, c.says...)
		})
	}
}

func TestServeKeepsItsCertificate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tls")
	args := append(anyPorts, "--tls-dir", dir, "--name", "cache.test,192.0.2.1")
	first := serve(t, args...)
	assert.Equal(t, filepath.Join(dir, "ca.pem"), first.CAFile)
	trust, err := first.trust()
	require.NoError(t, err)
	ca, err := os.ReadFile(first.CAFile)
	require.NoError(t, err)
	first.stop()

	second := serve(t, args...)
	again, err := os.ReadFile(second.CAFile)
	require.NoError(t, err)
	assert.Equal(t, string(ca), string(again))
	for _, name := range []string{"localhost", "127.0.0.1", "::1", "cache.test", "192.0.2.1"} {
		config := trust.Clone()
		config.ServerName = name
		conn, err := tls.Dial("tcp", second.cacheAddr(), config)
		if assert.NoError(t, err, "a client of the first run, to %s", name) {
			_ = conn.Close()
		}
	}
	key, err := os.Stat(filepath.Join(dir, "server-key.pem"))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), key.Mode().Perm())
}

func TestServeRefusesACertificateThatWouldNotDo(t *testing.T) {
	fill := func(t *testing.T) string {
		dir := t.TempDir()
		_, err := certificateIn(dir, nil)
		require.NoError(t, err)
		return dir
	}
	refused := func(t *testing.T, dir string, says ...string) {
		t.Helper()
		code, stdout, stderr := command(t, append([]string{"serve", "--tls-dir", dir}, anyPorts...)...)
		assert.Equal(t, exitUsage, code)
		assert.Empty(t, stdout)
		assertRefused(t, stderr, append(says, "--tls-dir", dir)...)
	}
	t.Run("another CA's", func(t *testing.T) {
		dir, other := fill(t), fill(t)
		ca, err := os.ReadFile(filepath.Join(other, "ca.pem"))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, "ca.pem"), ca, 0o600))
		refused(t, dir, "does not vouch for", "remove")
	})
	t.Run("no CA", func(t *testing.T) {
		dir := fill(t)
		require.NoError(t, os.WriteFile(filepath.Join(dir, "ca.pem"), nil, 0o600))
		refused(t, dir, "PEM", "remove")
	})
	t.Run("no key", func(t *testing.T) {
		dir := fill(t)
		require.NoError(t, os.Remove(filepath.Join(dir, "server-key.pem")))
		refused(t, dir, "server-key.pem", "remove")
	})
	t.Run("another name's", func(t *testing.T) {
		dir := fill(t)
		code, _, stderr := command(t, append([]string{"serve", "--tls-dir", dir, "--name", "cache.test"}, anyPorts...)...)
		assert.Equal(t, exitUsage, code)
		assertRefused(t, stderr, "cache.test", dir, "remove")
	})
}

func TestServeTrustsAnotherIssuer(t *testing.T) {
	entra := fakeentra.RunT(t)
	app := entra.RegisterApp("orders")
	ca := write(t, "issuer-ca.pem", string(entra.CAPEM()))
	path := filepath.Join(t.TempDir(), "ready.json")
	s := serve(t, "--cache-addr", "127.0.0.1:0", "--issuer", entra.Authority(), "--issuer-ca", ca, "--assign", app.ObjectID+"=Data Contributor", "--ready-file", path)
	assert.Nil(t, s.Entra, "no issuer of its own")

	code, _, stderr := command(t, "healthcheck", "--ready-file", path)
	assert.Equal(t, exitUsage, code)
	assertRefused(t, stderr, path, "--authority, --client-id, --client-secret")

	cacheCA, err := os.ReadFile(s.CAFile)
	require.NoError(t, err)
	both := write(t, "both.pem", string(entra.CAPEM())+string(cacheCA))
	code, stdout, stderr := command(t, "healthcheck", "--ready-file", path, "--authority", entra.Authority(),
		"--client-id", app.ClientID, "--client-secret", app.ClientSecret, "--object-id", app.ObjectID, "--ca-file", both)
	assert.Equal(t, exitExpected, code, stderr)
	assert.Equal(t, "ok\n", stdout)
}

func TestServeAnswersManagedIdentitiesAndTheProxy(t *testing.T) {
	directory := write(t, "directory.yaml", `tenants:
  - id: `+seedTenantID+`
    apps:
      - name: orders
        client-id: e0000000-0000-4000-8000-00000000beef
        secrets: [{value: fake-secret-orders}]
    managed-identities:
      - {name: worker, client-id: e0000000-0000-4000-8000-0000000f00d1, object-id: e0000000-0000-4000-8000-0000000f00d2}
`)
	s := serve(t, append(anyPorts, "--metadata-addr", "127.0.0.1:0", "--proxy-addr", "127.0.0.1:0", "--directory", directory)...)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet,
		s.Entra.MetadataURL+"/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fredis.azure.com&client_id=e0000000-0000-4000-8000-0000000f00d1", nil)
	require.NoError(t, err)
	req.Header.Set("Metadata", "true")
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	var identity struct {
		AccessToken string `json:"access_token"`
	}
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&identity))
	assert.NotEmpty(t, identity.AccessToken, resp.Status)

	// The proxy shows a certificate for Entra's own name that the CA of the pair vouches for.
	proxy, err := url.Parse(s.Entra.ProxyURL)
	require.NoError(t, err)
	config, err := s.trust()
	require.NoError(t, err)
	client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(proxy), TLSClientConfig: config}}
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {"e0000000-0000-4000-8000-00000000beef"},
		"client_secret": {"fake-secret-orders"}, "scope": {fakeentra.RedisScope}}
	answer, err := client.PostForm("https://login.microsoftonline.com/"+seedTenantID+"/oauth2/v2.0/token", form)
	require.NoError(t, err)
	defer answer.Body.Close()
	assert.Equal(t, http.StatusOK, answer.StatusCode)
}

func TestServeRefusesABadDirectory(t *testing.T) {
	code, _, stderr := command(t, append([]string{"serve", "--directory", write(t, "directory.yaml", "tenants:\n  - idd: x\n")}, anyPorts...)...)
	assert.Equal(t, exitUsage, code)
	assert.Contains(t, stderr, "--directory")
	assert.Contains(t, stderr, "idd")
}
