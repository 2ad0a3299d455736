package main

import (
	"errors"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/entracache/entracache/fakeserver"
	"github.com/entracache/entracache/fakeserver/metrics"
)

// cacheFlags are what serve's cache is managed as.
type cacheFlags struct {
	SKU           string        `help:"Tier and size of the cache: Basic_C0 to C6, Standard_C0 to C6, Premium_P1 to P5, Enterprise_E10 and others. It decides how many clients may connect, and whether tokens sign in. Default with azure-cache-6.0: Premium_P2; the other profiles have none." placeholder:"TIER_SIZE" name:"sku"`
	MaxClients    int           `help:"How many clients may connect. Default: what the SKU allows, or 10000." placeholder:"N"`
	IdleTimeout   time.Duration `help:"Close a connection that has sent no command for so long. The service's own is 10m. Off by default." placeholder:"DURATION"`
	MinTLSVersion string        `help:"Oldest TLS version that the cache takes: 1.0, 1.1 or 1.2. Tokens need 1.2 all the same." default:"1.2" enum:"1.0,1.1,1.2" placeholder:"VERSION" name:"min-tls-version"`
	AccessKeys    string        `help:"Whether the access keys sign in: enabled or disabled." default:"enabled" enum:"enabled,disabled" placeholder:"STATE"`
	PrimaryKey    string        `help:"The primary access key. Default: a random one, which nobody is told." placeholder:"KEY"`
	SecondaryKey  string        `help:"The secondary access key. Default: the primary one if that is given." placeholder:"KEY"`
	Shards        int           `help:"Make it a clustered cache of 1 to 16 shards, whose nodes listen on the host of --cache-addr, and without TLS too with --plain-addr. Default: not clustered." placeholder:"N"`
	Replicas      *int          `help:"Replicas of each primary, 0 to 3. Default 1, as in the tiers Standard and Premium, and 0 in Basic." placeholder:"N"`
	NodePort      int           `help:"Port of the first node of a clustered cache; the others have the next numbers, as 15000 and on in the service. Default: any free ones." placeholder:"PORT"`
	PlainNodePort int           `help:"The same without TLS: 13000 and on in the service." placeholder:"PORT"`
	NodeHost      string        `help:"Host by which the nodes of a clustered cache are named to clients. Default: their IP address, as in the service." placeholder:"HOST"`
	MetricsAddr   string        `help:"Address of an HTTP server with /metrics, in Prometheus' form: connected clients, those with a token, errors by kind. Off by default." placeholder:"HOST:PORT"`
}

// options are for the cache. Values that are wrong are found when it starts.
func (f *cacheFlags) options() ([]fakeserver.Option, error) {
	options := []fakeserver.Option{fakeserver.WithIdleTimeout(f.IdleTimeout), fakeserver.WithMinimumTLSVersion(f.MinTLSVersion)}
	if f.SKU != "" {
		options = append(options, fakeserver.WithSKU(fakeserver.SKU(f.SKU)))
	}
	if f.MaxClients != 0 {
		options = append(options, fakeserver.WithMaxClients(f.MaxClients))
	}
	if f.Shards != 0 {
		options = append(options, fakeserver.WithShards(f.Shards))
	} else if f.NodePort != 0 || f.PlainNodePort != 0 || f.NodeHost != "" {
		return nil, errors.New("--node-port, --plain-node-port and --node-host: expected only together with --shards")
	}
	if f.Replicas != nil {
		options = append(options, fakeserver.WithReplicasPerPrimary(*f.Replicas))
	}
	if f.NodePort != 0 || f.PlainNodePort != 0 {
		options = append(options, fakeserver.WithNodePorts(f.NodePort, f.PlainNodePort))
	}
	if f.NodeHost != "" {
		options = append(options, fakeserver.WithNodeHost(f.NodeHost))
	}
	if f.AccessKeys == "disabled" {
		options = append(options, fakeserver.WithAccessKeysDisabled())
	}
	switch {
	case f.PrimaryKey != "":
		secondary := f.SecondaryKey
		if secondary == "" {
			secondary = f.PrimaryKey
		}
		options = append(options, fakeserver.WithAccessKeys(f.PrimaryKey, secondary))
	case f.SecondaryKey != "":
		return nil, errors.New("--secondary-key: expected only together with --primary-key")
	}
	return options, nil
}

// flagError names the flag of an option that the cache refused.
func (f *cacheFlags) flagError(err error) error {
	text := err.Error()
	for option, flag := range map[string]string{"WithSKU": "--sku", "WithMaxClients": "--max-clients", "WithIdleTimeout": "--idle-timeout",
		"WithShards": "--shards", "WithReplicasPerPrimary": "--replicas", "WithNodePorts": "--node-port and --plain-node-port", "WithNodeHost": "--node-host"} {
		if _, said, ok := strings.Cut(text, option+": "); ok {
			return errors.New(flag + ": " + said)
		}
	}
	return err
}

// serveMetrics serves the cache's metrics until stop is called; addr is where.
func (f *cacheFlags) serveMetrics(cache *fakeserver.Server) (addr string, stop func(), err error) {
	if f.MetricsAddr == "" {
		return "", func() {}, nil
	}
	ln, err := net.Listen("tcp", f.MetricsAddr)
	if err != nil {
		return "", nil, startError("--metrics-addr", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", metrics.Handler(cache))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(ln) // returns when it is closed
	}()
	return ln.Addr().String(), func() { _ = server.Close(); <-ended }, nil
}
