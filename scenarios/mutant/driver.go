package mutant

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/entracache/entracache/scenarios/driver"
	"github.com/entracache/entracache/scenarios/protocol"
)

// Name is how the mutant's driver calls itself.
func Name(bug Bug) string {
	if bug == None {
		return "reference"
	}
	return "mutant-" + string(bug)
}

// capabilities are all that the protocol knows, but for events: the reference tells its user nothing about its tokens.
func capabilities() []protocol.Capability {
	return []protocol.Capability{
		protocol.CapClientSecret, protocol.CapAccessKey, protocol.CapManagedIdentity, protocol.CapCertificate, protocol.CapWorkloadIdentity,
		protocol.CapUsername, protocol.CapRESP2, protocol.CapRESP3,
		protocol.CapPubSub, protocol.CapPool, protocol.CapBlocking, protocol.CapCustomCA, protocol.CapCluster,
		protocol.CapTransactions, protocol.CapWatch, protocol.CapShared,
	}
}

// Serve speaks the driver protocol for the reference client with one bug, until shutdown or the end of stdin.
func Serve(bug Bug) func(ctx context.Context, stdin io.Reader, stdout, stderr io.Writer) error {
	return func(ctx context.Context, stdin io.Reader, stdout, stderr io.Writer) error {
		getenv := func(name string) string { return driver.Getenv(ctx, name) }
		d := &server{bug: bug, getenv: getenv, out: stdout, clients: map[string]*client{}, crash: make(chan error, 1)}
		defer d.end()
		ended := make(chan error, 1)
		go func() { ended <- d.read(ctx, stdin) }()
		select {
		case err := <-ended:
			return err
		case err := <-d.crash:
			return err
		}
	}
}

// read answers requests until shutdown or the end of stdin.
func (d *server) read(ctx context.Context, stdin io.Reader) error {
	lines := bufio.NewScanner(stdin)
	lines.Buffer(nil, protocol.MaxLine+1)
	for lines.Scan() {
		r, err := protocol.ParseRequest(lines.Bytes())
		if err != nil {
			return err // the harness checks what it sends: this cannot be answered
		}
		if r.Op == protocol.OpShutdown {
			d.reply(r, protocol.Reply{OK: true})
			return nil
		}
		d.work.Go(func() { d.reply(r, d.handle(ctx, r)) })
	}
	return lines.Err()
}

type server struct {
	bug     Bug
	told    atomic.Bool // TellsOneCaller
	getenv  func(string) string
	crash   chan error // an error that nobody catches
	work    sync.WaitGroup
	write   sync.Mutex
	out     io.Writer
	mu      sync.Mutex
	clients map[string]*client
}

func (d *server) reply(r protocol.Request, reply protocol.Reply) {
	reply.ID = r.ID
	line, err := protocol.EncodeReply(r.Op, reply)
	if err != nil {
		line, _ = protocol.EncodeReply(r.Op, protocol.Reply{ID: r.ID, Error: &protocol.Error{Kind: protocol.KindInternal, Message: err.Error()}})
	}
	d.send(line)
}

func (d *server) send(line []byte) {
	d.write.Lock()
	defer d.write.Unlock()
	_, _ = d.out.Write(line)
}

func (d *server) handle(ctx context.Context, r protocol.Request) protocol.Reply {
	switch r.Op {
	case protocol.OpHello:
		return d.hello(r)
	case protocol.OpOpen:
		if k := r.Credential.Kind; !slices.Contains(capabilities(), k.Capability()) {
			return protocol.Reply{Error: &protocol.Error{Kind: protocol.KindUnsupported, Message: fmt.Sprintf("unknown credential kind %q", k)}}
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		var shared *tokenSource
		if r.ProviderOf != "" {
			other := d.clients[r.ProviderOf]
			if other == nil {
				return closed(r.ProviderOf)
			}
			shared = other.tokens
		}
		d.clients[r.Client] = newClient(d.bug, r, d.getenv, &d.told, shared)
		return protocol.Reply{OK: true}
	case protocol.OpCommand:
		c := d.client(r.Client)
		if c == nil {
			return closed(r.Client)
		}
		v, err := c.command(ctx, r.Args)
		if err != nil {
			return failed(err)
		}
		return protocol.Reply{OK: true, Value: &v}
	case protocol.OpBegin:
		c := d.client(r.Client)
		if c == nil {
			return closed(r.Client)
		}
		if err := c.begin(ctx, r.Watch, r.Commands); err != nil {
			return failed(err)
		}
		return protocol.Reply{OK: true}
	case protocol.OpExec:
		c := d.client(r.Client)
		if c == nil {
			return closed(r.Client)
		}
		v, err := c.exec(ctx)
		if err != nil {
			return failed(err)
		}
		return protocol.Reply{OK: true, Value: &v}
	case protocol.OpSubscribe:
		c := d.client(r.Client)
		if c == nil {
			return closed(r.Client)
		}
		err := c.subscribe(ctx, r.Channels, func(channel, text string) {
			if line, err := protocol.Encode(protocol.Event{Kind: protocol.EventMessage, Client: r.Client, Channel: channel, Value: text}); err == nil {
				d.send(line)
			}
		})
		if err != nil {
			return failed(err)
		}
		return protocol.Reply{OK: true}
	case protocol.OpClose:
		d.mu.Lock()
		c := d.clients[r.Client]
		delete(d.clients, r.Client)
		d.mu.Unlock()
		if c == nil {
			return closed(r.Client)
		}
		if d.bug == DiesWhenClosedEarly && c.tokens != nil && c.tokens.busy() {
			d.crash <- errors.New("uncaught: a token arrived for a client that is closed")
		}
		c.close()
		return protocol.Reply{OK: true}
	default:
		return protocol.Reply{Error: &protocol.Error{Kind: protocol.KindUnsupported, Message: fmt.Sprintf("unknown op %q", r.Op)}}
	}
}

func (d *server) hello(r protocol.Request) protocol.Reply {
	if r.Protocol != protocol.Version {
		return protocol.Reply{Error: &protocol.Error{Kind: protocol.KindUnsupported, Message: fmt.Sprintf("protocol %d: this driver speaks %d", r.Protocol, protocol.Version)}}
	}
	return protocol.Reply{OK: true, Protocol: protocol.Version, Capabilities: capabilities(), Driver: &protocol.DriverInfo{
		Name: Name(d.bug), Language: "Go", Runtime: runtime.Version(), OS: runtime.GOOS + "/" + runtime.GOARCH,
		Libraries: []protocol.Library{{Name: Name(d.bug), Version: "built in"}},
	}}
}

func (d *server) client(name string) *client {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.clients[name]
}

func (d *server) end() {
	d.mu.Lock()
	clients := d.clients
	d.clients = map[string]*client{}
	d.mu.Unlock()
	for _, c := range clients {
		c.close()
	}
	d.work.Wait()
}

func closed(name string) protocol.Reply {
	return protocol.Reply{Error: &protocol.Error{Kind: protocol.KindClosed, Message: fmt.Sprintf("no client %q is open", name)}}
}

// failed tells the failure as the protocol's kinds tell it apart.
func failed(err error) protocol.Reply {
	e := &protocol.Error{Kind: protocol.KindNetwork, Message: err.Error(), Exception: fmt.Sprintf("%T", err)}
	var auth *authError
	var token *tokenError
	var server *serverError
	var certificate *tls.CertificateVerificationError
	var timeout net.Error
	switch {
	case errors.As(err, &auth):
		e.Kind = protocol.KindAuth
		e.Code, _, _ = strings.Cut(auth.text, " ")
	case errors.As(err, &token):
		e.Kind = protocol.KindToken
	case errors.As(err, &server):
		e.Kind = protocol.KindRedis
		e.Code, _, _ = strings.Cut(server.text, " ")
	case errors.As(err, &certificate):
		e.Kind = protocol.KindNetwork
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		e.Kind = protocol.KindTimeout
	}
	return protocol.Reply{Error: e}
}
