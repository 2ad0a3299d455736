package scenarios

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"sync"
	"time"

	"github.com/entracache/entracache/fakeentra"
	"github.com/entracache/entracache/fakeserver"
	"github.com/entracache/entracache/scenarios/protocol"
)

func (w *World) aCache() error {
	if err := w.startIssuer(); err != nil {
		return err
	}
	return w.startCache()
}

func (w *World) startIssuer() error {
	return w.ports.onFresh(2, func(first int) (err error) {
		if w.entra != nil { // it is replaced
			if err := w.entra.Close(); err != nil {
				return err
			}
		}
		metadata := ""
		if w.metadata {
			metadata = local(first + 1)
		}
		if w.entra, err = fakeentra.Start(append([]fakeentra.Option{
			fakeentra.WithClock(w.clock), fakeentra.WithAddr(local(first)), fakeentra.WithMetadataAddr(metadata), fakeentra.WithProxyAddr(""),
		}, w.issuerOptions...)...); err != nil {
			return fmt.Errorf("start the issuer: %w", err)
		}
		return nil
	})
}

// otherIssuer replaces the issuer by one that differs in the options, and the cache by one that trusts it.
func (w *World) otherIssuer(options ...fakeentra.Option) error {
	if w.app != nil || w.opened {
		return fmt.Errorf("the step changes how the issuer is made: it must come before the service principal")
	}
	w.issuerOptions = append(w.issuerOptions, options...)
	return w.aCache()
}

// nodePorts is room for the nodes of a clustered cache, and for those that are added later.
const nodePorts = 20

func (w *World) startCache() error {
	n := 1
	if w.clustered {
		n += nodePorts
	}
	return w.ports.onFresh(n, func(first int) (err error) {
		if w.cache != nil { // it is replaced
			if err := w.cache.Close(); err != nil {
				return err
			}
		}
		options := []fakeserver.Option{
			fakeserver.WithClock(w.clock),
			fakeserver.WithIssuer(w.entra.Authority()),
			fakeserver.WithIssuerCA(w.entra.CAPEM()),
			fakeserver.WithAddr(local(first)),
		}
		if w.clustered {
			options = append(options, fakeserver.WithNodePorts(first+1, 0))
		}
		if w.cache, err = fakeserver.Start(append(options, w.cacheOptions...)...); err != nil {
			return fmt.Errorf("start the cache: %w", err)
		}
		return nil
	})
}

func (w *World) anUntrustedCertificate() error {
	return w.otherCache(fakeserver.WithForeignCertificate())
}

// anotherHostsCertificate is one without the address that the client is told.
func (w *World) anotherHostsCertificate() error {
	return w.otherCache(fakeserver.WithCertificateForHostOnly())
}

func (w *World) wordsRefusal(text string) error {
	return w.otherCache(fakeserver.WithWrongPassText(text))
}

func (w *World) closesIdle(minutes int) error {
	return w.otherCache(fakeserver.WithIdleTimeout(w.span(minutes)))
}

func (w *World) takesClients(n int) error { return w.otherCache(fakeserver.WithMaxClients(n)) }

func (w *World) entraNotEnabled() error { return w.otherCache(fakeserver.WithEntraDisabled()) }

// othersConnect takes places of clients. These need not sign in to hold them.
func (w *World) othersConnect(n int) error {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(w.cache.CAPEM())
	for range n {
		// With the handshake: the cache does not wait for that for ever.
		conn, err := (&tls.Dialer{Config: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}).DialContext(w.ctx, "tcp", w.cache.Addr())
		if err != nil {
			return fmt.Errorf("connect another client: %w", err)
		}
		w.others = append(w.others, conn)
	}
	return nil
}

// otherCache replaces the cache by one that differs in the option. It comes before the client's first act.
func (w *World) otherCache(option fakeserver.Option) error {
	if w.opened {
		return fmt.Errorf("the step changes how the cache is made: it must come before the client connects")
	}
	assignments := w.cache.Assignments()
	w.cacheOptions = append(w.cacheOptions, option)
	if err := w.startCache(); err != nil {
		return err
	}
	for _, a := range assignments {
		if err := w.cache.Assign(a.ObjectID, a.Policy); err != nil {
			return err
		}
	}
	return nil
}

func (w *World) aCustomPolicy(name, permissions string) error {
	return w.cache.AddPolicy(fakeserver.Policy{Name: name, Permissions: permissions})
}

func (w *World) aServicePrincipal(policy string) error {
	w.app = w.entra.RegisterApp(w.scenario.ID)
	return w.assigned(policy)
}

func (w *World) anUnassignedServicePrincipal() error {
	w.app = w.entra.RegisterApp(w.scenario.ID)
	return nil
}

func (w *World) aForeignServicePrincipal(policy string) error {
	w.foreign = w.entra.AddTenant()
	w.app = w.foreign.RegisterApp(w.scenario.ID)
	return w.assigned(policy)
}

func (w *World) assigned(policy string) error { return w.cache.AssignPolicy(w.app.ObjectID, policy) }

func (w *World) tokensLive(minutes int) error {
	if w.managed != nil { // whose tokens live for a day otherwise
		return w.managed.SetTokenShape(fakeentra.TokenShape{Lifetime: fakeentra.FixedLifetime(max(time.Second, w.span(minutes)))})
	}
	w.entra.SetTokenLifetime(w.span(minutes))
	return nil
}

func (w *World) tokensForAnotherAudience() error {
	w.app.SetDefect(fakeentra.DefectAudience)
	return nil
}

func (w *World) tokensExpired() error {
	w.app.SetDefect(fakeentra.DefectExpired)
	return nil
}

// keyHolds writes as the cache's owner, on no connection of the client's.
func (w *World) keyHolds(key, value string) error {
	_, err := w.cache.Do("SET", key, value)
	return err
}

func (w *World) clientSpeaks(protocol string) error {
	w.request.Options.RESP = int(protocol[len(protocol)-1] - '0')
	return nil
}

func (w *World) useAccessKey() error {
	primary, _ := w.cache.AccessKeys()
	w.request.Credential = &protocol.Credential{Kind: protocol.CredentialAccessKey, AccessKey: primary}
	return nil
}

func (w *World) useClientIDAsUsername() error {
	w.request.Username = w.app.ClientID
	return nil
}

func (w *World) hasOpenedAConnection() error {
	o, err := w.doLine("PING")
	if err != nil {
		return err
	}
	if o.err != nil {
		return expect("the client to open a connection", "%s", o)
	}
	w.rememberOpen()
	return nil
}

// rememberOpen notes the connections that are open and signed in.
func (w *World) rememberOpen() {
	w.openedIDs = nil
	for _, c := range signedIn(connections(w.cache.Events())) {
		if c.closed.IsZero() {
			w.openedIDs = append(w.openedIDs, c.id)
		}
	}
}

// hasOpenedConnections makes the pool grow to n connections, by holding n of them in a blocking command at once.
func (w *World) hasOpenedConnections(n int) error { return w.opensConnections(n) }

func (w *World) opensConnections(n int) error {
	failed, err := w.ensureOpen()
	if err != nil {
		return err
	}
	if failed != nil {
		return expect(fmt.Sprintf("the client to open %d connections", n), "open failed: %s", failed.Error())
	}
	var wg sync.WaitGroup
	errs := make(chan error, n)
	// The blocking time is a bound, not a measure: the element that ends it comes as soon as all are there.
	bound := fmt.Sprint(int(w.lane.Patience(2 * time.Second).Seconds()))
	for i := range n {
		wg.Go(func() {
			reply, err := w.call(protocol.Command(w.client, "BLPOP", blockingKey(i), bound))
			if err == nil && !reply.OK {
				err = expect(fmt.Sprintf("the client to run %d blocking commands at once", n), "BLPOP failed: %s", reply.Error.Error())
			}
			if err != nil {
				errs <- err
			}
		})
	}
	answered := make(chan struct{})
	go func() { wg.Wait(); close(answered) }()
	if err := w.blocksAtOnce(n, answered); err != nil {
		return err
	}
	for i := range n {
		if _, err := w.cache.Do("RPUSH", blockingKey(i), "go on"); err != nil {
			return err
		}
	}
	wg.Wait()
	close(errs)
	if err := <-errs; err != nil {
		return err
	}
	w.rememberOpen()
	if len(w.openedIDs) < n {
		return expect(fmt.Sprintf("%d connections for %d blocking commands at once", n, n), "%d", len(w.openedIDs))
	}
	return nil
}

// blocksAtOnce waits until n commands wait in the cache, or all have been answered. How many connections there are is not the question:
// a library may have opened as many before it needed them, and has to open more only once n are taken at the same time.
func (w *World) blocksAtOnce(n int, answered <-chan struct{}) error {
	const poll = 5 * time.Millisecond // no event tells of a command that blocks
	for {
		blocked := 0
		for _, c := range w.cache.Connections() {
			if c.Blocked {
				blocked++
			}
		}
		if blocked >= n {
			return nil
		}
		select {
		case <-answered:
			return nil
		case <-w.clock.After(w.lane.Patience(poll)):
		case <-w.ctx.Done():
			return w.ctx.Err()
		}
	}
}

func blockingKey(i int) string { return fmt.Sprintf("entracache:hold:%d", i) }

func (w *World) hasSubscribed(channel string) error {
	failed, err := w.ensureOpen()
	if err != nil {
		return err
	}
	if failed != nil {
		return expect("the client to subscribe", "open failed: %s", failed.Error())
	}
	reply, err := w.call(protocol.Subscribe(w.client, channel))
	if err != nil {
		return err
	}
	if !reply.OK {
		return expect("the client to subscribe", "subscribe failed: %s", reply.Error.Error())
	}
	w.rememberOpen()
	return nil
}
