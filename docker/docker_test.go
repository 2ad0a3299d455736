package docker_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/goccy/go-yaml"
	"github.com/google/uuid"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/testcontainers/testcontainers-go"
	tcnetwork "github.com/testcontainers/testcontainers-go/network"
	"github.com/testcontainers/testcontainers-go/wait"

	"github.com/entracache/entracache/docker"
)

const (
	redisScope = "https://redis.azure.com/.default"
	// bound is generous: it is reached only by what does not happen at all.
	bound = 2 * time.Minute
	// The user of the Dockerfile.
	user = "65532"
)

func TestImage(t *testing.T) {
	provider := requireDocker(t)
	img := buildImage(t, provider)
	t.Run("Serves", func(t *testing.T) { testServes(t, provider, img) })
	t.Run("SaysWhyItDoesNotStart", func(t *testing.T) { testSaysWhyItDoesNotStart(t, img) })
	t.Run("Compose", func(t *testing.T) { testCompose(t, img) })
}

func testServes(t *testing.T, provider *testcontainers.DockerProvider, img string) {
	ctx := t.Context()
	const lifetime = 30 * time.Minute
	pair, err := docker.Run(ctx, img, docker.WithTokenLifetime(lifetime))
	testcontainers.CleanupContainer(t, pair)
	require.NoError(t, err)

	token, err := getToken(ctx, pair)
	require.NoError(t, err)
	assert.WithinDuration(t, time.Now().Add(lifetime), token.ExpiresOn, time.Minute, "WithTokenLifetime")

	roots, err := trusted(ctx, pair)
	require.NoError(t, err)
	cache := connect(t, pair, token.Token, roots)
	require.NoError(t, cache.Set(ctx, "greeting", "hello", 0).Err())
	greeting, err := cache.Get(ctx, "greeting").Result()
	require.NoError(t, err)
	assert.Equal(t, "hello", greeting)

	stranger := connect(t, pair, token.Token, x509.NewCertPool())
	var untrusted x509.UnknownAuthorityError
	assert.ErrorAs(t, stranger.Ping(ctx).Err(), &untrusted, "a client that does not trust the CA")

	require.NoError(t, wait.ForHealthCheck().WithStartupTimeout(bound).WaitUntilReady(ctx, pair))
	code, output, err := pair.Exec(ctx, []string{"/entracache", "healthcheck", "--object-id", uuid.NewString()})
	require.NoError(t, err)
	said, err := io.ReadAll(output)
	require.NoError(t, err)
	assert.Equal(t, 1, code, "the health check of somebody who may not sign in to the cache; it said: %s", said)
	assert.Contains(t, string(said), "WRONGPASS")

	top, err := provider.Client().ContainerTop(ctx, pair.GetContainerID(), client.ContainerTopOptions{Arguments: []string{"-eo", "uid,pid,args"}})
	require.NoError(t, err)
	require.NotEmpty(t, top.Processes)
	for _, process := range top.Processes {
		assert.Equal(t, user, process[slices.Index(top.Titles, "UID")], "the user of %v", process)
	}

	inspected, err := pair.Inspect(ctx)
	require.NoError(t, err)
	host, err := pair.Host(ctx)
	require.NoError(t, err)
	if host == "localhost" {
		published := 0
		for port, bindings := range inspected.NetworkSettings.Ports {
			for _, binding := range bindings {
				published++
				assert.True(t, binding.HostIP.IsLoopback(), "port %s is published on %s", port, binding.HostIP)
			}
		}
		assert.Equal(t, 2, published, "published ports")
	}

	require.NoError(t, pair.Stop(ctx, nil))
	state, err := pair.State(ctx)
	require.NoError(t, err)
	assert.Equal(t, 0, state.ExitCode, "exit code after the signal to stop")
}

func testSaysWhyItDoesNotStart(t *testing.T, img string) {
	pair, err := docker.Run(t.Context(), img, testcontainers.WithEnv(map[string]string{"ENTRACACHE_ASSIGN": "nobody=Data Owner"}))
	testcontainers.CleanupContainer(t, pair)
	require.ErrorContains(t, err, "run entracache: ")
	require.NotNil(t, pair, "a container comes with the error")
	logs, err := pair.Logs(t.Context())
	require.NoError(t, err)
	defer logs.Close()
	said, err := io.ReadAll(logs)
	require.NoError(t, err)
	assert.Contains(t, string(said), `entracache: --assign nobody=Data Owner: "nobody" is not an object ID`)
}

// service is what the test needs of a service in a compose file.
type service struct {
	Image       string            `yaml:"image"`
	Command     []string          `yaml:"command"`
	Ports       []string          `yaml:"ports"`
	Environment map[string]string `yaml:"environment"`
	Volumes     []string          `yaml:"volumes"`
	ReadOnly    bool              `yaml:"read_only"`
	CapDrop     []string          `yaml:"cap_drop"`
	SecurityOpt []string          `yaml:"security_opt"`
}

// restricted applies what a service gives up.
func (s service) restricted() testcontainers.CustomizeRequestOption {
	return testcontainers.WithHostConfigModifier(func(config *container.HostConfig) {
		config.ReadonlyRootfs, config.CapDrop, config.SecurityOpt = s.ReadOnly, s.CapDrop, s.SecurityOpt
	})
}

// testCompose starts what compose.yaml says, without Compose: both services in one network, with a volume in common.
func testCompose(t *testing.T, img string) {
	ctx := t.Context()
	text, err := os.ReadFile("compose.yaml")
	require.NoError(t, err)
	var file struct {
		Services map[string]service `yaml:"services"`
	}
	require.NoError(t, yaml.Unmarshal(text, &file))
	require.Equal(t, []string{"application", "entracache"}, slices.Sorted(maps.Keys(file.Services)))
	serving, application := file.Services["entracache"], file.Services["application"]
	require.Len(t, serving.Ports, 2)
	for _, port := range serving.Ports {
		assert.Regexp(t, `^127\.0\.0\.1:\d+:\d+$`, port, "published on the loopback interface only")
	}
	assert.Equal(t, "entracache", serving.Environment["ENTRACACHE_NAME"], "the certificate is for the name of the service")

	nw, err := tcnetwork.New(ctx)
	testcontainers.CleanupNetwork(t, nw)
	require.NoError(t, err)
	volume := "entracache-test-" + uuid.NewString()
	mounts := func(s service) testcontainers.CustomizeRequestOption {
		require.Len(t, s.Volumes, 1)
		_, target, ok := strings.Cut(strings.TrimSuffix(s.Volumes[0], ":ro"), ":")
		require.True(t, ok, s.Volumes[0])
		return testcontainers.WithMounts(testcontainers.VolumeMount(volume, testcontainers.ContainerMountTarget(target)))
	}
	pair, err := docker.Run(ctx, img, tcnetwork.WithNetwork([]string{"entracache"}, nw), mounts(serving), serving.restricted(), testcontainers.WithEnv(serving.Environment))
	testcontainers.CleanupContainer(t, pair, testcontainers.RemoveVolumes(volume))
	require.NoError(t, err)
	identity, err := pair.Identity(ctx)
	require.NoError(t, err)
	env := application.Environment
	inspected, err := pair.Inspect(ctx)
	require.NoError(t, err)
	assert.True(t, inspected.HostConfig.ReadonlyRootfs, "it writes to its volume only")
	assert.Equal(t, docker.Identity{
		TenantID: env["AZURE_TENANT_ID"], ClientID: env["AZURE_CLIENT_ID"], ClientSecret: env["AZURE_CLIENT_SECRET"], ObjectID: env["REDIS_USERNAME"],
	}, identity, "what the application is told")

	app, err := testcontainers.Run(ctx, img, tcnetwork.WithNetwork(nil, nw), mounts(application), testcontainers.WithEnv(env),
		testcontainers.WithCmd(application.Command...), testcontainers.WithWaitStrategy(wait.ForExit().WithExitTimeout(bound)))
	testcontainers.CleanupContainer(t, app)
	require.NoError(t, err)
	state, err := app.State(ctx)
	require.NoError(t, err)
	logs, err := app.Logs(ctx)
	require.NoError(t, err)
	defer logs.Close()
	said, err := io.ReadAll(logs)
	require.NoError(t, err)
	assert.Equal(t, 0, state.ExitCode, "the application said: %s", said)
	assert.Contains(t, string(said), "ok")
}

// requireDocker skips the test where no Docker daemon answers; with ENTRACACHE_REQUIRE=all in the environment it fails it instead.
func requireDocker(t *testing.T) *testcontainers.DockerProvider {
	t.Helper()
	provider, err := findDocker(t.Context())
	if err == nil {
		t.Cleanup(func() { _ = provider.Close() })
		return provider
	}
	reason := fmt.Sprintf("no Docker daemon answers, to build and run the image with: %v", err)
	if os.Getenv("ENTRACACHE_REQUIRE") == "all" {
		t.Fatalf("%s (ENTRACACHE_REQUIRE=all)", reason)
	}
	t.Skip(reason)
	return nil
}

func findDocker(ctx context.Context) (provider *testcontainers.DockerProvider, err error) {
	defer func() {
		// testcontainers panics where it finds no socket at all.
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	if provider, err = testcontainers.NewDockerProvider(); err != nil {
		return nil, err
	}
	return provider, provider.Health(ctx)
}

// buildImage does what the Dockerfile says at its top, in a folder of its own, and removes the image at the end.
func buildImage(t *testing.T, provider *testcontainers.DockerProvider) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"Dockerfile", ".dockerignore", "data/README.txt"} {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), text, 0o644))
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-race=false", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(dir, "entracache"), "./cmd/entracache")
	build.Dir = ".."
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+runtime.GOARCH)
	output, err := build.CombinedOutput()
	require.NoError(t, err, "build the binary: %s", output)

	var log strings.Builder
	tag, err := provider.BuildImage(t.Context(), &testcontainers.ContainerRequest{FromDockerfile: testcontainers.FromDockerfile{
		Context: dir, Repo: "entracache-test", Tag: uuid.NewString(), KeepImage: true, BuildLogWriter: &log,
	}})
	require.NoError(t, err, "build the image: %s", &log)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), bound)
		defer cancel()
		_, err := provider.Client().ImageRemove(ctx, tag, client.ImageRemoveOptions{Force: true})
		assert.NoError(t, err, "remove the image")
	})
	return tag
}

// getToken signs in as an application does.
func getToken(ctx context.Context, pair *docker.Container) (azcore.AccessToken, error) {
	identity, err := pair.Identity(ctx)
	if err != nil {
		return azcore.AccessToken{}, err
	}
	authority, err := pair.Authority(ctx)
	if err != nil {
		return azcore.AccessToken{}, err
	}
	u, err := url.Parse(authority)
	if err != nil {
		return azcore.AccessToken{}, err
	}
	if u.Path != "/"+identity.TenantID {
		return azcore.AccessToken{}, fmt.Errorf("authority %s: expected the tenant %s at its end", authority, identity.TenantID)
	}
	roots, err := trusted(ctx, pair)
	if err != nil {
		return azcore.AccessToken{}, err
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	defer transport.CloseIdleConnections()
	credential, err := azidentity.NewClientSecretCredential(identity.TenantID, identity.ClientID, identity.ClientSecret, &azidentity.ClientSecretCredentialOptions{
		ClientOptions: azcore.ClientOptions{
			Cloud:     cloud.Configuration{ActiveDirectoryAuthorityHost: "https://" + u.Host},
			Transport: &http.Client{Transport: transport},
		},
		DisableInstanceDiscovery: true,
	})
	if err != nil {
		return azcore.AccessToken{}, err
	}
	return credential.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{redisScope}})
}

func signIn(ctx context.Context, pair *docker.Container) (string, error) {
	token, err := getToken(ctx, pair)
	return token.Token, err
}

func trusted(ctx context.Context, pair *docker.Container) (*x509.CertPool, error) {
	pem, err := pair.CAPEM(ctx)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, errors.New("CAPEM holds no certificate")
	}
	return roots, nil
}

func connect(t *testing.T, pair *docker.Container, token string, roots *x509.CertPool) *redis.Client {
	t.Helper()
	addr, err := pair.CacheAddr(t.Context())
	require.NoError(t, err)
	identity, err := pair.Identity(t.Context())
	require.NoError(t, err)
	c := redis.NewClient(&redis.Options{
		Addr: addr, Username: identity.ObjectID, Password: token, MaxRetries: -1,
		TLSConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
	})
	t.Cleanup(func() { _ = c.Close() })
	return c
}
