package driver

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

const (
	protocol = 1
	maxLine  = 1 << 20 // bytes of a line, as the protocol limits it
)

// Library is what a driver makes of its Redis library.
type Library struct {
	Name         string   // the driver's, as in client.yaml
	Modules      []string // reported with the versions that were linked in, the one under test first
	Capabilities []string
	// Open makes the client of a request, as an application would wire it up. It shares the credentials provider of another one, which
	// is nil unless the library has the capability shared-provider. Its error is one of the configuration, unless it is an [OpenError].
	Open func(r Request, other Client) (Client, error)
	// Describe sorts an error of the library's, which this package knows nothing of, into the protocol's kinds.
	Describe func(error) *Failure
}

// Client is one client of the library. Its methods are called concurrently; Close is called once, and nothing after it.
type Client interface {
	// Command runs one command and returns its reply in a form that [ReplyOf] knows.
	Command(ctx context.Context, args []string) (any, error)
	// Subscribe returns when the cache has confirmed every channel. From then on messages go to deliver.
	Subscribe(ctx context.Context, channels []string, deliver func(channel, message string)) error
	Close()
}

// Main is a driver's main function.
func Main(l Library) {
	out, err := takeStdout()
	if err != nil {
		log.Fatal(err)
	}
	if err := serve(l, os.Stdin, out); err != nil {
		log.Fatal(err)
	}
}

// takeStdout keeps stdout for the protocol and sends whatever else is written to file descriptor 1 to stderr, by which library ever.
func takeStdout() (*os.File, error) {
	kept, err := unix.Dup(1)
	if err != nil {
		return nil, fmt.Errorf("keep stdout: %w", err)
	}
	unix.CloseOnExec(kept)
	if err := unix.Dup2(2, 1); err != nil {
		return nil, fmt.Errorf("point stdout at stderr: %w", err)
	}
	return os.NewFile(uintptr(kept), "protocol"), nil
}

type driver struct {
	library Library

	outMu sync.Mutex
	out   io.Writer

	mu      sync.Mutex
	clients map[string]*opened // nil while the client is being opened
}

// opened is a client between open and close.
type opened struct {
	Client
	begun atomic.Pointer[transaction] // and not ended
}

// serve answers requests until shutdown or the end of in.
func serve(l Library, in io.Reader, out io.Writer) error {
	d := &driver{library: l, out: out, clients: map[string]*opened{}}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxLine+2) // and its line end
	for lines.Scan() {
		var r Request
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			log.Printf("read a request: %v", err)
			if r.ID != 0 { // only a part of it could not be read
				d.send(Response{ID: r.ID, Error: l.FailureOf(&ConfigError{err})})
			}
			continue
		}
		if r.Op == "shutdown" {
			d.closeAll()
			d.send(Response{ID: r.ID, OK: true})
			return nil
		}
		go func() {
			answer := Response{ID: r.ID, OK: true}
			if err := d.handle(r, &answer); err != nil {
				answer = Response{ID: r.ID, Error: l.FailureOf(err)}
			}
			d.send(answer)
		}()
	}
	d.closeAll()
	return lines.Err()
}

func (d *driver) handle(r Request, answer *Response) error {
	ctx := context.Background()
	switch r.Op {
	case "hello":
		if r.Protocol != protocol {
			return &UnsupportedError{"protocol", fmt.Sprint(r.Protocol)}
		}
		answer.Hello = d.library.hello()
		return nil
	case "open":
		return d.open(r)
	case "command":
		c, err := d.client(r.Client)
		if err != nil {
			return err
		}
		if len(r.Args) == 0 {
			return &ConfigError{errors.New("args: expected a command, got none")}
		}
		value, err := c.Command(ctx, r.Args)
		if err != nil {
			return err
		}
		reply := ReplyOf(value)
		answer.Reply = &reply
		return nil
	case "subscribe":
		c, err := d.client(r.Client)
		if err != nil {
			return err
		}
		if len(r.Channels) == 0 {
			return &ConfigError{errors.New("channels: expected at least one, got none")}
		}
		return c.Subscribe(ctx, r.Channels, func(channel, message string) {
			d.send(messageEvent{"message", r.Client, channel, message})
		})
	case "begin":
		c, err := d.client(r.Client)
		if err != nil {
			return err
		}
		return c.begin(ctx, r.Commands, r.Watch)
	case "exec":
		c, err := d.client(r.Client)
		if err != nil {
			return err
		}
		value, err := c.exec()
		if err != nil {
			return err
		}
		reply := ReplyOf(value)
		answer.Reply = &reply
		return nil
	case "close":
		c, err := d.client(r.Client)
		if err != nil {
			return err
		}
		d.mu.Lock()
		delete(d.clients, r.Client)
		d.mu.Unlock()
		c.close()
		return nil
	default:
		return &UnsupportedError{"op", r.Op}
	}
}

// open does not hold up other requests: a library may connect in it, and wait for a token.
func (d *driver) open(r Request) error {
	d.mu.Lock()
	_, taken := d.clients[r.Client]
	if !taken {
		d.clients[r.Client] = nil
	}
	d.mu.Unlock()
	if taken {
		return &ConfigError{errors.New("a client of this name is open already: close it first")}
	}

	c, err := d.openAs(r)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		delete(d.clients, r.Client)
		if opening := new(OpenError); errors.As(err, &opening) {
			return opening.Err
		}
		return &ConfigError{err}
	}
	d.clients[r.Client] = &opened{Client: c}
	return nil
}

func (d *driver) openAs(r Request) (Client, error) {
	switch {
	case r.ProviderOf == "":
		return d.library.Open(r, nil)
	case !slices.Contains(d.library.Capabilities, "shared-provider"):
		return nil, &UnsupportedError{"member", "provider_of"}
	}
	other, err := d.client(r.ProviderOf)
	if err != nil {
		return nil, err
	}
	return d.library.Open(r, other.Client)
}

func (d *driver) client(name string) (*opened, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c := d.clients[name]; c != nil {
		return c, nil
	}
	return nil, errUnknownClient
}

func (d *driver) closeAll() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.clients {
		if c != nil {
			c.close()
		}
	}
	clear(d.clients)
}

func (o *opened) close() {
	o.abandon()
	o.Close()
}

// send writes one line. A message that cannot be written is lost: the harness is gone then, and stdin ends with it.
func (d *driver) send(message any) {
	line, err := json.Marshal(message)
	if err != nil {
		log.Printf("encode %T: %v", message, err)
		return
	}
	d.outMu.Lock()
	defer d.outMu.Unlock()
	if _, err := d.out.Write(append(line, '\n')); err != nil {
		log.Printf("write a message: %v", err)
	}
}

func (l Library) hello() *Hello {
	linked := make([]LinkedLibrary, 0, len(l.Modules))
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, name := range l.Modules {
			i := slices.IndexFunc(info.Deps, func(m *debug.Module) bool { return m.Path == name })
			if i >= 0 {
				linked = append(linked, LinkedLibrary{name, info.Deps[i].Version})
			}
		}
	}
	return &Hello{
		Protocol:     protocol,
		Driver:       About{l.Name, "go", linked, runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH},
		Capabilities: l.Capabilities,
	}
}
