// Package docker is the pair of fakes in a container: a Dockerfile for the image, a compose.yaml that shows it beside an
// application, and a testcontainers-go module that starts it from a Go test.
//
// The image holds nothing but the static binary, which runs `entracache serve` as a user without rights. Inside the container the
// cache listens on port 6380 and the issuer on port 8443. Who may sign in is the same in every container: see [Container.Identity].
// The folder /var/lib/entracache in the container holds the CA that clients trust and the ready line of `serve`, and is where this
// package, a health check and other containers look them up.
//
// It is for tests only. In a Go test that has no need of a container, the packages fakeserver and fakeentra start faster.
package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/wait"
)

// What the Dockerfile says, too.
const (
	cachePort = "6380/tcp"
	entraPort = "8443/tcp"
	readyFile = "/var/lib/entracache/ready.json"
)

// namesVariable is --name of serve: what the certificate is made out to, separated by commas.
const namesVariable = "ENTRACACHE_NAME"

// Container is a running pair of fakes.
type Container struct {
	testcontainers.Container
}

// Identity is a service principal that may sign in to the issuer, and the cache lets in as a Data Owner unless
// ENTRACACHE_ASSIGN gives it another access policy. Its secret is worthless.
type Identity struct {
	TenantID     string
	ClientID     string
	ClientSecret string
	// ObjectID is the user name at the cache.
	ObjectID string
}

// Run starts a container of the image and returns when both fakes answer. The image is built as the Dockerfile in this folder
// says. The error may come with a container, which is then for the caller to terminate, as testcontainers.CleanupContainer does.
//
// The ports are published on the loopback interface, if that is where testcontainers expects the Docker daemon, and the
// certificate is made out to where the daemon is and to the container's aliases in the networks that it joins.
//
// Every flag of `entracache serve` can be given with testcontainers.WithEnv: ENTRACACHE_ASSIGN for --assign. A wait strategy of
// one's own should be added with testcontainers.WithAdditionalWaitStrategy.
func Run(ctx context.Context, img string, opts ...testcontainers.ContainerCustomizer) (*Container, error) {
	host, err := daemonHost(ctx)
	if err != nil {
		return nil, fmt.Errorf("run entracache: %w", err)
	}
	moduleOpts := []testcontainers.ContainerCustomizer{
		testcontainers.WithExposedPorts(cachePort, entraPort),
		testcontainers.WithWaitStrategy(wait.ForLog(`"event":"ready"`)),
	}
	if isLoopback(host) {
		moduleOpts = append(moduleOpts, testcontainers.WithHostConfigModifier(publishOnLoopback))
	}
	moduleOpts = append(moduleOpts, opts...)
	moduleOpts = append(moduleOpts, withNames(host)) // last, for the aliases
	ctr, err := testcontainers.Run(ctx, img, moduleOpts...)
	var c *Container
	if ctr != nil {
		c = &Container{Container: ctr}
	}
	if err != nil {
		return c, fmt.Errorf("run entracache: %w", err)
	}
	return c, nil
}

// WithTokenLifetime sets how long the issuer's tokens live, at least a second. Default 60 minutes.
func WithTokenLifetime(d time.Duration) testcontainers.CustomizeRequestOption {
	return testcontainers.WithEnv(map[string]string{"ENTRACACHE_TOKEN_LIFETIME": d.String()})
}

// CacheAddr is where the cache is reached with TLS from outside the container, as HOST:PORT.
func (c *Container) CacheAddr(ctx context.Context) (string, error) {
	addr, err := c.PortEndpoint(ctx, cachePort, "")
	if err != nil {
		return "", fmt.Errorf("address of the cache: %w", err)
	}
	return addr, nil
}

// Authority is the issuer's URL with the tenant, as it is reached from outside the container: https://HOST:PORT/TENANT. A
// container in the same network reaches it at https://ALIAS:8443/TENANT, and the cache at ALIAS:6380.
func (c *Container) Authority(ctx context.Context) (string, error) {
	identity, err := c.Identity(ctx)
	if err != nil {
		return "", err
	}
	base, err := c.PortEndpoint(ctx, entraPort, "https")
	if err != nil {
		return "", fmt.Errorf("address of the issuer: %w", err)
	}
	return base + "/" + identity.TenantID, nil
}

// Identity is who may sign in. The error says so where the container trusts another issuer, by ENTRACACHE_ISSUER.
func (c *Container) Identity(ctx context.Context) (Identity, error) {
	line, err := c.ready(ctx)
	if err != nil {
		return Identity{}, err
	}
	if line.Entra == nil {
		return Identity{}, errors.New("identity of the pair: the container serves no issuer; leave ENTRACACHE_ISSUER out to have one")
	}
	return Identity{TenantID: line.Entra.TenantID, ClientID: line.Entra.ClientID, ClientSecret: line.Entra.ClientSecret, ObjectID: line.Entra.ObjectID}, nil
}

// CAPEM is the certificate, in PEM, that clients of both fakes must trust.
func (c *Container) CAPEM(ctx context.Context) ([]byte, error) {
	line, err := c.ready(ctx)
	if err != nil {
		return nil, err
	}
	return c.read(ctx, line.CAFile)
}

// readyLine is what this package needs of the ready line of serve.
type readyLine struct {
	Entra *struct {
		TenantID     string `json:"tenant_id"`
		ClientID     string `json:"client_id"`
		ClientSecret string `json:"client_secret"`
		ObjectID     string `json:"object_id"`
	} `json:"entra"`
	CAFile string `json:"ca_file"`
}

func (c *Container) ready(ctx context.Context) (readyLine, error) {
	var line readyLine
	text, err := c.read(ctx, readyFile)
	if err != nil {
		return line, err
	}
	if err := json.Unmarshal(text, &line); err != nil {
		return line, fmt.Errorf("%s in the container: expected the ready line of entracache serve, got %q: %w", readyFile, text, err)
	}
	return line, nil
}

func (c *Container) read(ctx context.Context, path string) ([]byte, error) {
	file, err := c.CopyFileFromContainer(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("read %s in the container: %w; is the container running, and of the image of entracache?", path, err)
	}
	defer file.Close()
	text, err := io.ReadAll(file)
	if err != nil {
		return nil, fmt.Errorf("read %s in the container: %w", path, err)
	}
	return text, nil
}

// daemonHost is where testcontainers will look for published ports.
func daemonHost(ctx context.Context) (string, error) {
	provider, err := testcontainers.NewDockerProvider()
	if err != nil {
		return "", fmt.Errorf("find the Docker daemon: %w", err)
	}
	defer provider.Close()
	host, err := provider.DaemonHost(ctx)
	if err != nil {
		return "", fmt.Errorf("find the Docker daemon's host: %w", err)
	}
	return host, nil
}

func isLoopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

// publishOnLoopback keeps worthless credentials from opening a port to everybody around; the default is every interface.
func publishOnLoopback(config *container.HostConfig) {
	config.PortBindings = network.PortMap{}
	for _, port := range []string{cachePort, entraPort} {
		config.PortBindings[network.MustParsePort(port)] = []network.PortBinding{{HostIP: netip.AddrFrom4([4]byte{127, 0, 0, 1})}}
	}
}

// withNames makes the certificate out to every name by which clients may reach the container.
func withNames(host string) testcontainers.CustomizeRequestOption {
	return func(req *testcontainers.GenericContainerRequest) error {
		var names []string
		if !isLoopback(host) { // in every certificate anyway
			names = append(names, host)
		}
		for _, aliases := range req.NetworkAliases {
			names = append(names, aliases...)
		}
		slices.Sort(names)
		names = slices.Compact(names)
		if given := req.Env[namesVariable]; given != "" {
			names = append(names, given)
		}
		if len(names) == 0 {
			return nil
		}
		return testcontainers.WithEnv(map[string]string{namesVariable: strings.Join(names, ",")})(req)
	}
}
