package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"github.com/google/uuid"

	"github.com/entracache/entracache/fakeentra"
	"github.com/entracache/entracache/fakeserver"
)

// The seed of `serve`: the same at every start, so that configurations can name it. Documented in the README.
const (
	seedTenantID     = "e0000000-0000-4000-8000-000000000001"
	seedClientID     = "e0000000-0000-4000-8000-00000000c11e"
	seedObjectID     = "e0000000-0000-4000-8000-0000000000b1"
	seedClientSecret = "fake-secret-of-the-seed"
)

type serveCmd struct {
	Config        kong.ConfigFlag   `help:"YAML file whose keys are the names of these flags. Flags and the environment win over it." placeholder:"FILE"`
	CacheAddr     string            `help:"Address of the cache's TLS port; port 0 is any free one." default:"127.0.0.1:6380" placeholder:"HOST:PORT"`
	PlainAddr     string            `help:"Address of the cache's port without TLS. Off by default, as in the service." placeholder:"HOST:PORT"`
	EntraAddr     string            `help:"Address of the issuer." default:"127.0.0.1:8443" placeholder:"HOST:PORT"`
	Issuer        string            `help:"Trust this issuer instead of serving one, such as https://login.microsoftonline.com/TENANT." placeholder:"URL"`
	IssuerCA      string            `help:"PEM file with the CA of --issuer, where the system does not trust it." type:"existingfile" placeholder:"FILE" name:"issuer-ca"`
	Profile       string            `help:"Which service the cache imitates: azure-cache-6.0." default:"azure-cache-6.0" enum:"azure-cache-6.0" placeholder:"NAME"`
	TLSDir        string            `help:"Folder for ca.pem, server.pem and server-key.pem: used if they are there, made if not. Default: a folder that is removed at the end." placeholder:"DIR" name:"tls-dir"`
	Name          []string          `help:"Further host name or IP address for the certificate, besides localhost, 127.0.0.1 and ::1." placeholder:"HOST"`
	TokenLifetime time.Duration     `help:"How long the issuer's tokens live." default:"60m" placeholder:"DURATION"`
	Assign        map[string]string `help:"Assign an access policy (Data Owner, Data Contributor, Data Reader) to an object ID. The seed's service principal has Data Owner." placeholder:"OBJECTID=POLICY"`
	ReadyFile     string            `help:"Write the ready line to this file, too." placeholder:"PATH"`
}

// ready is the line that serve prints on stdout once both fakes answer.
type ready struct {
	Event   string      `json:"event"`
	Cache   readyCache  `json:"cache"`
	Entra   *readyEntra `json:"entra,omitempty"` // absent with --issuer
	CAFile  string      `json:"ca_file"`
	Version string      `json:"version"`
}

type readyCache struct {
	Host      string `json:"host"`
	Port      int    `json:"port"`
	PlainPort int    `json:"plain_port,omitempty"`
}

type readyEntra struct {
	Authority    string `json:"authority"`
	TenantID     string `json:"tenant_id"`
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"`
	ObjectID     string `json:"object_id"`
}

func (c *serveCmd) Run(ctx context.Context, std streams) error {
	assignments, err := c.assignments()
	if err != nil {
		return usageError(err)
	}
	dir, cleanUp, err := c.tlsDir()
	if err != nil {
		return usageError(err)
	}
	defer cleanUp()
	cert, caPEM, caFile, err := certificateIn(dir, c.Name)
	if err != nil {
		return usageError(err)
	}
	line := ready{Event: "ready", CAFile: caFile, Version: version()}

	options := []fakeserver.Option{
		fakeserver.WithAddr(c.CacheAddr), fakeserver.WithCertificate(cert, caPEM), fakeserver.WithProfile(fakeserver.Profile(c.Profile)),
	}
	if c.PlainAddr != "" {
		options = append(options, fakeserver.WithPlainAddr(c.PlainAddr))
	}
	if c.Issuer != "" {
		options = append(options, fakeserver.WithIssuer(c.Issuer))
		if c.IssuerCA != "" {
			pem, err := os.ReadFile(c.IssuerCA)
			if err != nil {
				return usageError(err)
			}
			options = append(options, fakeserver.WithIssuerCA(pem))
		}
	} else {
		entra, err := fakeentra.Start(fakeentra.WithAddr(c.EntraAddr), fakeentra.WithCertificate(cert, caPEM),
			fakeentra.WithTenant(seedTenantID), fakeentra.WithTokenLifetime(c.TokenLifetime))
		if err != nil {
			return usageError(fmt.Errorf("the issuer cannot start: %w", err))
		}
		defer entra.Close()
		app, err := entra.AddApp("seed", fakeentra.WithClientID(seedClientID), fakeentra.WithObjectID(seedObjectID), fakeentra.WithClientSecret(seedClientSecret))
		if err != nil {
			return err
		}
		if _, ok := assignments[app.ObjectID]; !ok {
			assignments[app.ObjectID] = fakeserver.DataOwner
		}
		options = append(options, fakeserver.WithIssuer(entra.Authority()), fakeserver.WithIssuerCA(entra.CAPEM()))
		line.Entra = &readyEntra{Authority: entra.Authority(), TenantID: app.TenantID, ClientID: app.ClientID, ClientSecret: app.ClientSecret, ObjectID: app.ObjectID}
	}
	cache, err := fakeserver.Start(options...)
	if err != nil {
		return usageError(fmt.Errorf("the cache cannot start: %w", err))
	}
	defer cache.Close()
	for objectID, policy := range assignments {
		if err := cache.Assign(objectID, policy); err != nil {
			return usageError(err)
		}
	}
	line.Cache = readyCache{Host: cache.Host(), Port: cache.Port(), PlainPort: portOf(cache.PlainAddr())}
	if err := c.announce(std.out, line); err != nil {
		return err
	}
	fmt.Fprintf(std.err, "entracache: fake cache on %s, for tests only; interrupt to stop\n", cache.Addr())
	<-ctx.Done()
	return nil
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
			return usageError(fmt.Errorf("--ready-file: %w", err))
		}
		if err := os.Rename(tmp, c.ReadyFile); err != nil {
			return usageError(fmt.Errorf("--ready-file: %w", err))
		}
	}
	_, err = w.Write(text)
	return err
}

func (c *serveCmd) assignments() (map[string]fakeserver.Policy, error) {
	known := []fakeserver.Policy{fakeserver.DataOwner, fakeserver.DataContributor, fakeserver.DataReader}
	list := map[string]fakeserver.Policy{}
	for objectID, name := range c.Assign {
		if _, err := uuid.Parse(objectID); err != nil {
			return nil, fmt.Errorf("--assign %s=%s: %q is not an object ID: expected a GUID such as %s", objectID, name, objectID, seedObjectID)
		}
		found := false
		for _, p := range known {
			if p.Name == name {
				list[strings.ToLower(objectID)], found = p, true
			}
		}
		if !found {
			return nil, fmt.Errorf("--assign %s=%s: unknown access policy %q: expected Data Owner, Data Contributor or Data Reader", objectID, name, name)
		}
	}
	return list, nil
}

func (c *serveCmd) tlsDir() (dir string, cleanUp func(), err error) {
	if c.TLSDir != "" {
		if err := os.MkdirAll(c.TLSDir, 0o755); err != nil {
			return "", nil, fmt.Errorf("--tls-dir: %w", err)
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
	if addr == "" {
		return 0
	}
	tcp, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return 0
	}
	return tcp.Port
}

// errNoPair says how to name a running pair.
var errNoPair = errors.New("which pair? Give --ready-file with the file that `entracache serve --ready-file` wrote, or the addresses as flags")
