package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/entracache/entracache/fakeentra"
	"github.com/entracache/entracache/fakeserver"
	"github.com/entracache/entracache/scenarios/driver"
	"github.com/entracache/entracache/scenarios/protocol"
)

type doctorCmd struct {
	Client  string `arg:"" help:"Folder name under the clients folder, or exec:COMMAND."`
	Clients string `help:"Folder that holds the client folders." default:"clients" placeholder:"DIR"`
	Cache   string `help:"Folder in which drivers are prepared. Default: entracache/drivers in your cache folder." placeholder:"DIR" env:"ENTRACACHE_DRIVER_CACHE"`
}

var doctorSymbols = map[driver.CheckState]string{driver.CheckOK: "✓", driver.CheckFailed: "✗", driver.CheckSkipped: "–"}

func (c *doctorCmd) Run(ctx context.Context, std streams) error {
	target, err := c.target(ctx, newProgress(std.err, time.Now()))
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "entracache-doctor-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	bundle, err := trustBundle(dir)
	if err != nil {
		return err
	}
	pair, err := newDoctorPair()
	if err != nil {
		return err
	}
	defer pair.close()
	checks, err := driver.Doctor(ctx, target, driver.DoctorOptions{
		Start: driver.Options{Harness: "entracache " + version(), Env: driver.Environment(bundle)},
		Open:  pair.open,
	})
	failed := 0
	skipped := map[string][]string{} // by reason: one cause often keeps many checks from being made
	for _, check := range checks {
		if check.State == driver.CheckSkipped {
			skipped[check.Why] = append(skipped[check.Why], check.Name)
			continue
		}
		fmt.Fprintf(std.out, "%s %s\n", doctorSymbols[check.State], check.Name)
		if check.State != driver.CheckOK {
			fmt.Fprintf(std.out, "    %s\n", check.Why)
		}
		if check.State == driver.CheckFailed {
			failed++
			fmt.Fprintf(std.out, "    do: %s\n", check.Do)
		}
	}
	for why, names := range skipped {
		fmt.Fprintf(std.out, "%s not checked, since %s: %s\n", doctorSymbols[driver.CheckSkipped], why, strings.Join(names, "; "))
	}
	if err != nil {
		return err
	}
	if failed > 0 {
		return &exitError{exitNonconformant, fmt.Errorf("%d of %d checks failed for %s", failed, len(checks), c.Client)}
	}
	fmt.Fprintf(std.out, "all checks passed\n")
	return nil
}

func (c *doctorCmd) target(ctx context.Context, say progress) (driver.Target, error) {
	if strings.HasPrefix(c.Client, driver.ExecPrefix) {
		target, err := driver.Exec(c.Client)
		if err != nil {
			err = usageError(err)
		}
		return target, err
	}
	config, err := driver.Load(filepath.Join(c.Clients, c.Client))
	if err != nil {
		return driver.Target{}, usageError(err)
	}
	runtime, err := config.Probe(ctx)
	if err != nil {
		return driver.Target{}, err
	}
	prepared, err := config.Prepare(ctx, runtime, driver.PrepareOptions{Root: c.Cache, Progress: func(line string) { say("%s", line) }})
	if err != nil {
		return driver.Target{}, err
	}
	return config.Target(prepared), nil
}

// doctorPair is a pair of fakes for the checks that need a client which works.
type doctorPair struct {
	entra *fakeentra.Server
	cache *fakeserver.Server
	app   *fakeentra.App
}

func newDoctorPair() (*doctorPair, error) {
	p := &doctorPair{}
	var err error
	if p.entra, err = fakeentra.Start(); err != nil {
		return nil, err
	}
	if p.cache, err = fakeserver.Start(fakeserver.WithIssuer(p.entra.Authority()), fakeserver.WithIssuerCA(p.entra.CAPEM())); err != nil {
		p.close()
		return nil, err
	}
	p.app = p.entra.RegisterApp("doctor")
	return p, p.cache.Assign(p.app.ObjectID, fakeserver.DataOwner)
}

func (p *doctorPair) open(client string) protocol.Request {
	return protocol.Open(protocol.Request{
		Client: client, Scenario: "doctor",
		Cache:      &protocol.Cache{Host: p.cache.Host(), Port: p.cache.Port(), CAPEM: string(p.cache.CAPEM())},
		Entra:      &protocol.Entra{Authority: p.entra.Authority(), AuthorityHost: p.entra.URL(), TenantID: p.app.TenantID, CAPEM: string(p.entra.CAPEM())},
		Credential: &protocol.Credential{Kind: protocol.CredentialClientSecret, ClientID: p.app.ClientID, ClientSecret: p.app.ClientSecret},
		Scopes:     []string{fakeentra.RedisScope},
		Options:    &protocol.Options{PoolSize: 4, ConnectTimeoutMS: 5000, CommandTimeoutMS: 3000},
	})
}

func (p *doctorPair) close() {
	if p.cache != nil {
		p.cache.Close()
	}
	p.entra.Close()
}
