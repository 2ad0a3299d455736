package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/google/uuid"

	"github.com/entracache/entracache/fakeentra"
	"github.com/entracache/entracache/fakeserver"
)

type serveCmd struct {
	Config        string             `help:"YAML file whose keys are the names of these flags. Flags and the environment win over it." placeholder:"FILE"`
	CacheAddr     string             `help:"Address of the cache's TLS port; port 0 is any free one." default:"127.0.0.1:6380" placeholder:"HOST:PORT"`
	PlainAddr     string             `help:"Address of the cache's port without TLS. Off by default, as in the service." placeholder:"HOST:PORT"`
	EntraAddr     string             `help:"Address of the issuer." default:"127.0.0.1:8443" placeholder:"HOST:PORT"`
	MetadataAddr  string             `help:"Address of the managed identity endpoints (IMDS, App Service and others) over plain HTTP. Off by default." placeholder:"HOST:PORT"`
	ProxyAddr     string             `help:"Address of a forward proxy that leads to the issuer, for libraries with a built-in authority or IMDS address. Off by default." placeholder:"HOST:PORT"`
	Directory     string             `help:"YAML file with tenants, applications, users and identities that the issuer knows besides the seed." placeholder:"FILE"`
	Issuer        string             `help:"Trust this issuer instead of serving one, such as https://login.microsoftonline.com/TENANT." placeholder:"URL"`
	IssuerCA      string             `help:"PEM file with the CA of --issuer, where the system does not trust it." placeholder:"FILE" name:"issuer-ca"`
	Profile       string             `help:"Which service the cache imitates: azure-cache-6.0, managed-redis-7.4, or open-source Redis: oss-6.0, oss-7.0." default:"azure-cache-6.0" enum:"azure-cache-6.0,managed-redis-7.4,oss-6.0,oss-7.0" placeholder:"NAME"`
	TLSDir        string             `help:"Folder for ca.pem, server.pem and server-key.pem: used if they are there, made if not. Default: a folder that is removed at the end." placeholder:"DIR" name:"tls-dir"`
	Name          []string           `help:"Further host name or IP address for the certificate, besides localhost, 127.0.0.1, ::1 and the addresses given here." placeholder:"HOST"`
	TokenLifetime fakeentra.Lifetime `help:"How long the issuer's tokens live: a duration, or two between which each token's is drawn, as the service's 60m-90m. Those of managed identities live for 24 hours." default:"60m" placeholder:"DURATION"`
	Assign        map[string]string  `help:"Assign an access policy (Data Owner, Data Contributor, Data Reader) to an object ID. The seed's identities have Data Owner." placeholder:"OBJECTID=POLICY"`
	Cache         cacheFlags         `embed:""`
	ReadyFile     string             `help:"Write the ready line to this file, too. It is removed at the end." placeholder:"PATH"`
}

// BeforeResolve is called once the command line has been read, and before the configuration file is asked for the rest.
func (c *serveCmd) BeforeResolve(app *kong.Kong, ctx *kong.Context) error { return useConfig(app, ctx) }

func (c *serveCmd) Run(ctx context.Context, std streams) error {
	assignments, err := c.check()
	if err != nil {
		return usageError(err)
	}
	if err := c.removeReadyFile(); err != nil {
		return usageError(err)
	}
	dir, cleanUp, err := c.tlsDir()
	if err != nil {
		return usageError(err)
	}
	defer cleanUp()
	certificate, err := certificateIn(dir, c.names())
	if err != nil {
		return usageError(err)
	}
	line := ready{Event: "ready", CAFile: certificate.caFile, Version: version()}

	options := []fakeserver.Option{
		fakeserver.WithAddr(c.CacheAddr), fakeserver.WithPlainAddr(c.PlainAddr),
		fakeserver.WithCertificate(certificate.server, certificate.caPEM), fakeserver.WithProfile(fakeserver.Profile(c.Profile)),
	}
	cacheOptions, err := c.Cache.options()
	if err != nil {
		return usageError(err)
	}
	options = append(options, cacheOptions...)
	if c.Issuer != "" {
		options = append(options, fakeserver.WithIssuer(c.Issuer))
		if c.IssuerCA != "" {
			pem, err := os.ReadFile(c.IssuerCA)
			if err != nil {
				return usageError(fmt.Errorf("--issuer-ca %s: %w", c.IssuerCA, withoutPath(err)))
			}
			options = append(options, fakeserver.WithIssuerCA(pem))
		}
	} else {
		entraOptions := []fakeentra.Option{
			fakeentra.WithAddr(c.EntraAddr), fakeentra.WithCertificate(certificate.server, certificate.caPEM),
			fakeentra.WithTenant(seedTenantID), fakeentra.WithTokenShape(fakeentra.TokenShape{Lifetime: c.TokenLifetime}),
			fakeentra.WithMetadataAddr(c.MetadataAddr), fakeentra.WithIdentityHeader(seedMachineSecret), fakeentra.WithProxyAddr(c.ProxyAddr),
		}
		if c.Directory != "" {
			directory, err := fakeentra.LoadConfig(c.Directory)
			if err != nil {
				return usageError(fmt.Errorf("--directory: %w", err))
			}
			entraOptions = append(entraOptions, fakeentra.WithConfig(directory))
		}
		entra, err := fakeentra.Start(entraOptions...)
		if err != nil {
			return usageError(startError("--entra-addr, --metadata-addr, --proxy-addr or --directory", err))
		}
		defer entra.Close()
		app, seed, err := sow(entra)
		if err != nil {
			return usageError(fmt.Errorf("--directory: the seed has no place beside what it describes: %w", err))
		}
		for _, id := range seed {
			if _, ok := assignments[id]; !ok {
				assignments[id] = fakeserver.DataOwner
			}
		}
		options = append(options, fakeserver.WithIssuer(entra.Authority()), fakeserver.WithIssuerCA(entra.CAPEM()))
		line.Entra = &readyEntra{Authority: entra.Authority(), TenantID: app.TenantID, ClientID: app.ClientID, ClientSecret: app.ClientSecret, ObjectID: app.ObjectID,
			MetadataURL: entra.MetadataURL(), ProxyURL: entra.ProxyURL()}
	}
	cache, err := fakeserver.Start(options...)
	if err != nil {
		flags := "--cache-addr"
		if c.PlainAddr != "" {
			flags += " or --plain-addr"
		}
		return usageError(startError(flags, c.Cache.flagError(err)))
	}
	defer cache.Close()
	metricsAddr, stopMetrics, err := c.Cache.serveMetrics(cache)
	if err != nil {
		return usageError(err)
	}
	defer stopMetrics()
	if metricsAddr != "" {
		line.Metrics = &readyMetrics{URL: "http://" + metricsAddr + "/metrics"}
	}
	for objectID, policy := range assignments {
		if err := cache.Assign(objectID, policy); err != nil {
			return usageError(fmt.Errorf("--assign: %w", err))
		}
	}
	line.Cache = readyCache{Host: reachable(cache.Host()), Port: cache.Port(), PlainPort: portOf(cache.PlainAddr())}
	if err := c.announce(std.out, line); err != nil {
		return err
	}
	defer c.removeReadyFile() // somebody else's file is none of ours
	fmt.Fprintf(std.err, "entracache: fake cache on %s, for tests only; interrupt to stop\n", cache.Addr())
	<-ctx.Done()
	return nil
}

// check looks at every value before anything is started or written.
func (c *serveCmd) check() (map[string]fakeserver.Policy, error) {
	for _, f := range []struct{ flag, addr string }{{"--cache-addr", c.CacheAddr}, {"--plain-addr", c.PlainAddr}, {"--entra-addr", c.EntraAddr}, {"--metadata-addr", c.MetadataAddr}, {"--proxy-addr", c.ProxyAddr}, {"--metrics-addr", c.Cache.MetricsAddr}} {
		if f.addr == "" && f.flag != "--cache-addr" && f.flag != "--entra-addr" {
			continue
		}
		if _, _, err := splitAddr(f.flag, f.addr); err != nil {
			return nil, err
		}
	}
	if c.IssuerCA != "" && c.Issuer == "" {
		return nil, fmt.Errorf("--issuer-ca %s: expected only together with --issuer", c.IssuerCA)
	}
	return c.assignments()
}

func (c *serveCmd) assignments() (map[string]fakeserver.Policy, error) {
	policies := []fakeserver.Policy{fakeserver.DataOwner, fakeserver.DataContributor, fakeserver.DataReader}
	list := map[string]fakeserver.Policy{}
	for objectID, name := range c.Assign {
		// The parser alone also takes braces and URNs, which no token has.
		if _, err := uuid.Parse(objectID); err != nil || len(objectID) != len(seedObjectID) {
			return nil, fmt.Errorf("--assign %s=%s: %q is not an object ID: expected a GUID such as %s", objectID, name, objectID, seedObjectID)
		}
		i := slices.IndexFunc(policies, func(p fakeserver.Policy) bool { return p.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("--assign %s=%s: unknown access policy %q: expected Data Owner, Data Contributor or Data Reader", objectID, name, name)
		}
		key := strings.ToLower(objectID)
		if _, ok := list[key]; ok {
			return nil, fmt.Errorf("--assign %s=%s: the object ID is given more than once", objectID, name)
		}
		list[key] = policies[i]
	}
	return list, nil
}

// names are what the certificate is made out to, besides the names of the loopback interface: where a flag gives an address to
// listen on, clients will use it.
func (c *serveCmd) names() []string {
	names := slices.Clone(c.Name)
	if c.ProxyAddr != "" {
		names = append(names, fakeentra.CloudHosts()...)
	}
	for _, addr := range []string{c.CacheAddr, c.EntraAddr} {
		host, _, err := net.SplitHostPort(addr)
		if err != nil || host == "" {
			continue
		}
		hosts := []string{host}
		if ip, err := net.ResolveIPAddr("ip", host); err == nil {
			hosts = append(hosts, ip.String())
		}
		for _, h := range hosts {
			if ip := net.ParseIP(h); h != "localhost" && (ip == nil || !ip.IsUnspecified() && !ip.IsLoopback()) && !slices.Contains(names, h) {
				names = append(names, h)
			}
		}
	}
	return names
}

// startError is the one line that matters of a fake that did not start.
func startError(flags string, err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return fmt.Errorf("%w; choose another address with %s, or port 0 for any free one", op, flags)
	}
	return err
}

func (c *serveCmd) announce(w io.Writer, line ready) error {
	text, err := json.Marshal(line)
	if err != nil {
		return err
	}
	text = append(text, '\n')
	if c.ReadyFile != "" {
		// Whoever waits for the file must never see half of it.
		tmp := c.ReadyFile + ".tmp"
		if err := os.WriteFile(tmp, text, 0o600); err != nil {
			return usageError(fmt.Errorf("--ready-file %s: %w", c.ReadyFile, withoutPath(err)))
		}
		if err := os.Rename(tmp, c.ReadyFile); err != nil {
			return usageError(fmt.Errorf("--ready-file: %w", err))
		}
	}
	_, err = w.Write(text)
	return err
}

// removeReadyFile removes the file of an earlier run: whoever waits for it would take it for ours. A file that is something else
// stays where it is and is an error. An empty one may be there, as mktemp makes it.
func (c *serveCmd) removeReadyFile() error {
	if c.ReadyFile == "" {
		return nil
	}
	text, err := os.ReadFile(c.ReadyFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("--ready-file %s: %w", c.ReadyFile, withoutPath(err))
	}
	var old ready
	if len(text) > 0 && (json.Unmarshal(text, &old) != nil || old.Event != "ready") {
		return fmt.Errorf("--ready-file %s: there is a file that is not a ready line of ours; remove it or name another", c.ReadyFile)
	}
	if err := os.Remove(c.ReadyFile); err != nil {
		return fmt.Errorf("--ready-file %s: %w", c.ReadyFile, withoutPath(err))
	}
	return nil
}

func (c *serveCmd) tlsDir() (dir string, cleanUp func(), err error) {
	if c.TLSDir != "" {
		if err := os.MkdirAll(c.TLSDir, 0o755); err != nil {
			return "", nil, fmt.Errorf("--tls-dir %s: %w", c.TLSDir, withoutPath(err))
		}
		dir, err := filepath.Abs(c.TLSDir)
		return dir, func() {}, err
	}
	dir, err = os.MkdirTemp("", "entracache-tls-")
	if err != nil {
		return "", nil, fmt.Errorf("no folder for the certificate: %w; give one with --tls-dir", err)
	}
	return dir, func() { _ = os.RemoveAll(dir) }, nil
}

func portOf(addr string) int {
	_, port, err := splitAddr("", addr)
	if err != nil {
		return 0
	}
	return port
}
