package scenarios

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/entracache/entracache/fakeentra"
	"github.com/entracache/entracache/fakeserver"
	"github.com/entracache/entracache/scenarios/driver"
	"github.com/entracache/entracache/scenarios/protocol"
	"github.com/entracache/entracache/scenarios/report"
)

// Two timeouts on the wall clock, whatever the lane: a long one for what must happen, a short one for what must not. The long one
// is never waited out by a correct library; it is generous because continuous integration machines stall for seconds. The short
// one must outlast a TLS handshake and a token request on such a machine.
const (
	long  = 20 * time.Second
	never = 1 * time.Second
)

// Timeouts that the client is told to use, on the wall clock in every lane: the network between client and fakes is real. A client whose
// own clock runs faster is told so many times more.
// connectTimeout is what the service's connection guidance recommends.
const (
	connectTimeout = 5 * time.Second
	commandTimeout = 3 * time.Second
)

// World is what one scenario plays in: a cache, an issuer, an identity and one client.
type World struct {
	ctx      context.Context
	clock    clockwork.Clock // the lane's: all that happens in the scenario goes by it
	lane     Lane
	scenario *Scenario
	driver   *driver.Driver
	client   string                                              // the client's name in the driver's process
	launch   func(env map[string]string) (*driver.Driver, error) // starts the driver's process when the client first acts; nil: it runs
	env      map[string]string                                   // of that process
	alone    bool                                                // no other scenario plays against the driver
	ports    *ports
	patience time.Duration // when a call counts as hanging
	start    time.Time

	entra    *fakeentra.Server
	cache    *fakeserver.Server
	app      *fakeentra.App
	foreign  *fakeentra.Tenant // the application's tenant, where it is not the cache's
	request  protocol.Request  // the open request as the Given steps shape it
	opened   bool
	keptBack *fakeentra.FaultHandle  // keeps the answers of the issuer back; nil where it never did
	fault    *fakeserver.FaultHandle // the fault of the cache that the client is to meet
	others   []net.Conn              // connections of other clients

	cacheOptions    []fakeserver.Option // as the Given steps shape it
	metadata        bool                // the machine has an endpoint that hands out tokens of managed identities
	issuerOptions   []fakeentra.Option
	shape           fakeentra.TokenShape       // of the application's tokens
	issuerFault     *fakeentra.FaultHandle     // what is the matter with the issuer until it "answers as usual again"
	managed         *fakeentra.ManagedIdentity // who signs in, where it is one; app has its IDs, too
	identityRenewal time.Duration              // how long before its expiry the machine replaces a token; 0: at half of its life
	files           []string                   // of the client; removed at the end
	otherTokenLives time.Duration              // the token of another issuer that is in one of these files; 0: there is none
	both            []outcome                  // of two clients at once
	clustered       bool
	host            string   // how the client is told to reach the cache, where that is not its IP address
	keys            []string // those that the client wrote to all shards

	transaction [][]string // the commands of the one that was begun
	worker      *worker
	second      string    // another client in the driver's process
	closedAt    time.Time // when the client was

	// openedIDs are the connections that the last "has opened" step saw.
	openedIDs []int64

	troubles     []trouble
	troubleStart time.Time

	last    outcome
	results []outcome

	mu    sync.Mutex
	notes []note
}

// outcome is what the user of the library saw of one command.
type outcome struct {
	command string
	at      time.Time
	value   *protocol.Value
	err     *protocol.Error
}

func (o outcome) String() string {
	if o.err != nil {
		return fmt.Sprintf("%s failed: %s", o.command, o.err.Error())
	}
	return fmt.Sprintf("%s answered %s", o.command, o.value)
}

func newWorld(ctx context.Context, lane Lane, s *Scenario, d *driver.Driver, client string) *World {
	clock := lane.Clock()
	w := &World{
		ctx: ctx, clock: clock, lane: lane, scenario: s, driver: d, client: client, start: clock.Now(),
	}
	w.request = protocol.Open(protocol.Request{
		Client: client, Scenario: s.ID,
		Scopes: []string{"https://redis.azure.com/.default"},
		Options: &protocol.Options{
			PoolSize:         4,
			ConnectTimeoutMS: int(lane.Patience(connectTimeout).Milliseconds()),
			CommandTimeoutMS: int(lane.Patience(commandTimeout).Milliseconds()),
			ClockRate:        lane.clockRate(),
		},
	})
	return w
}

// close ends the client and the fakes. A driver that cannot even close its client is reported.
func (w *World) close() error {
	var errs []error
	w.driver.Forget(w.client)
	if w.worker != nil {
		w.worker.end()
		w.worker.ended.Wait()
	}
	for _, client := range w.openClients() {
		// The scenario's own context may be over.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(w.ctx), min(w.patience, long))
		defer cancel()
		reply, err := w.driver.Call(ctx, protocol.Close(client))
		switch {
		case err != nil:
			errs = append(errs, err)
		case !reply.OK && reply.Error.Kind == protocol.KindInternal:
			errs = append(errs, fmt.Errorf("driver failed to close its client: %w", reply.Error))
		}
	}
	for _, conn := range w.others {
		_ = conn.Close()
	}
	errs = append(errs, w.removeFiles())
	if w.cache != nil {
		errs = append(errs, w.cache.Close())
	}
	if w.entra != nil {
		errs = append(errs, w.entra.Close())
	}
	return errors.Join(errs...)
}

func (w *World) openClients() []string {
	var list []string
	if w.opened {
		list = append(list, w.client)
	}
	if w.second != "" {
		list = append(list, w.second)
	}
	return list
}

// span is how long the minutes of a step take on the world's clock.
func (w *World) span(minutes int) time.Duration {
	return w.lane.World(time.Duration(minutes) * time.Minute)
}

// life prints a duration of the world's clock as the scenario's time.
func (w *World) life(d time.Duration) string { return report.FormatOffset(w.lane.Life(d)) }

// wait lets time pass on the world's clock.
func (w *World) wait(d time.Duration) error {
	select {
	case <-w.clock.After(d):
		return nil
	case <-w.ctx.Done():
		return w.ctx.Err()
	}
}

// --- the client ---------------------------------------------------------------------------------------------------------------

// ensureOpen makes the driver create the client. A library that connects in its constructor may fail here: that is an outcome.
func (w *World) ensureOpen() (*protocol.Error, error) {
	if w.opened {
		return nil, nil
	}
	if w.cache == nil {
		return nil, errors.New("the scenario has no cache: its first step should be \"a cache that accepts Microsoft Entra tokens\"")
	}
	if w.launch != nil {
		d, err := w.launch(w.env)
		if err != nil {
			return nil, &driverFault{err}
		}
		w.driver, w.launch, w.start = d, nil, w.clock.Now()
	}
	if w.request.Credential == nil && w.app == nil {
		return nil, errors.New("the scenario has no identity: give it a service principal or an access key before the client acts")
	}
	reply, err := w.call(w.openRequest())
	if err != nil {
		return nil, err
	}
	if !reply.OK {
		return reply.Error, nil
	}
	w.opened = true
	return nil, nil
}

func (w *World) openRequest() protocol.Request {
	r := w.request
	r.Cache = &protocol.Cache{Host: cmp.Or(w.host, w.cache.Host()), Port: w.cache.Port(), CAPEM: string(w.cache.CAPEM()), Cluster: w.clustered}
	if r.Credential == nil {
		r.Credential = &protocol.Credential{Kind: protocol.CredentialClientSecret, ClientID: w.app.ClientID, ClientSecret: w.app.ClientSecret}
	}
	switch r.Credential.Kind {
	case protocol.CredentialClientSecret, protocol.CredentialCertificate, protocol.CredentialWorkloadIdentity:
		authority := w.entra.Authority()
		if w.foreign != nil {
			authority = w.foreign.Authority()
		}
		r.Entra = &protocol.Entra{Authority: authority, AuthorityHost: w.entra.URL(), TenantID: w.app.TenantID, CAPEM: string(w.entra.CAPEM())}
	}
	return r
}

// call sends a request; a driver that declared a capability and now says unsupported, or reports a bug of its own, is at fault.
func (w *World) call(r protocol.Request) (protocol.Reply, error) {
	ctx, cancel := context.WithTimeout(w.ctx, w.patience)
	defer cancel()
	w.note("driver", "← "+describe(r))
	reply, err := w.driver.Call(ctx, r)
	w.note("driver", "→ "+describe(r)+": "+describeReply(reply, err))
	if errors.Is(err, context.DeadlineExceeded) && w.ctx.Err() == nil {
		// Is it the library that keeps its caller waiting, or the driver that answers nobody any more?
		ctx, cancel := context.WithTimeout(w.ctx, min(w.patience, long))
		defer cancel()
		if probe := w.driver.LiarProbe(ctx); probe != nil {
			return reply, &driverFault{fmt.Errorf("%w; nor does it answer anything else: %w", err, probe)}
		}
		return reply, expect(fmt.Sprintf("an answer to %s within %s", describe(r), w.patience), "none: the caller is left waiting")
	}
	if err != nil {
		return reply, err
	}
	if !reply.OK && (reply.Error.Kind == protocol.KindInternal || reply.Error.Kind == protocol.KindUnsupported) {
		return reply, &driverFault{fmt.Errorf("driver answered %s to %q: %s", reply.Error.Kind, r.Op, reply.Error.Message)}
	}
	return reply, nil
}

func describe(r protocol.Request) string {
	if r.Op == protocol.OpCommand {
		return strings.Join(r.Args, " ")
	}
	return string(r.Op)
}

func describeReply(reply protocol.Reply, err error) string {
	switch {
	case err != nil:
		return err.Error()
	case !reply.OK:
		return reply.Error.Error()
	case reply.Value != nil:
		return reply.Value.String()
	default:
		return "ok"
	}
}

// driverFault marks an error as the driver's.
type driverFault struct{ error }

func (f *driverFault) Unwrap() error { return f.error }

// do runs one command, opening the client first where it is not open.
func (w *World) do(command string, args ...string) (outcome, error) {
	o := outcome{command: command, at: w.clock.Now()}
	failed, err := w.ensureOpen()
	if err != nil {
		return o, err
	}
	if failed != nil {
		o.err = failed
		return o, nil
	}
	reply, err := w.call(protocol.Command(w.client, args...))
	if err != nil {
		return o, err
	}
	o.value, o.err = reply.Value, reply.Error
	return o, nil
}

func (w *World) doLine(command string) (outcome, error) {
	return w.do(command, strings.Fields(command)...)
}

// messages are the texts that have reached the subscriber.
func (w *World) messages() []string {
	var texts []string
	for _, e := range w.driver.Events(w.client) {
		if e.Kind == protocol.EventMessage {
			texts = append(texts, e.Value)
		}
	}
	return texts
}

// receives waits until the message has arrived, at most for the wall duration.
func (w *World) receives(message string, within time.Duration) (bool, error) {
	ctx, cancel := context.WithTimeout(w.ctx, within)
	defer cancel()
	_, err := w.driver.WaitEvent(ctx, w.client, func(e driver.Event) bool {
		return e.Kind == protocol.EventMessage && e.Value == message
	})
	switch {
	case err == nil:
		return true, nil
	case ctx.Err() != nil && w.ctx.Err() == nil:
		return false, nil
	default:
		return false, err
	}
}
