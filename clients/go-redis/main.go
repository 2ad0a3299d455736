// Command go-redis is entracache's driver for github.com/redis/go-redis: requests as JSON lines on stdin, replies and events as
// JSON lines on stdout, stderr for people. Requests run concurrently and each client that they name is one redis.Client, or redis.ClusterClient, so what
// the driver reports is what a user of the library would see; client.go wires the library up, provider.go is the sample
// application's part in signing in with Microsoft Entra, reply.go describes replies and errors.
package main

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

	"github.com/redis/go-redis/v9"
	"golang.org/x/sys/unix"
)

const (
	protocol = 1
	maxLine  = 1 << 20 // bytes of a line, as the protocol limits it
)

// libraries are reported with the versions that were linked in, the one under test first.
var libraries = []string{
	"github.com/redis/go-redis/v9",
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity",
	"github.com/Azure/azure-sdk-for-go/sdk/azcore",
	"github.com/AzureAD/microsoft-authentication-library-for-go",
}

var capabilities = []string{
	"credential:client-secret", "credential:access-key", "credential:username",
	"resp2", "resp3", "pubsub", "pool", "blocking", "tls:custom-ca", "cluster",
}

type request struct {
	ID       int      `json:"id"`
	Op       string   `json:"op"`
	Protocol int      `json:"protocol"`
	Client   string   `json:"client"`
	Args     []string `json:"args"`
	Channels []string `json:"channels"`
	Cache    struct {
		Host  string `json:"host"`
		Port  int    `json:"port"`
		CAPEM string `json:"ca_pem"`

		Cluster bool `json:"cluster"`
	} `json:"cache"`
	Entra struct {
		AuthorityHost string `json:"authority_host"`
		TenantID      string `json:"tenant_id"`
		CAPEM         string `json:"ca_pem"`
	} `json:"entra"`
	Credential struct {
		Kind         string `json:"kind"`
		ClientID     string `json:"client_id"`
		ClientSecret string `json:"client_secret"`
		AccessKey    string `json:"access_key"`
	} `json:"credential"`
	Username string   `json:"username"`
	Scopes   []string `json:"scopes"`
	Options  struct {
		RESP           int `json:"resp"`
		PoolSize       int `json:"pool_size"`
		ConnectTimeout int `json:"connect_timeout_ms"`
		CommandTimeout int `json:"command_timeout_ms"`
		ClockRate      int `json:"clock_rate"` // 0: the clock is as fast as any
	} `json:"options"`
}

type response struct {
	ID    int      `json:"id"`
	OK    bool     `json:"ok"`
	Reply *reply   `json:"reply,omitempty"`
	Error *failure `json:"error,omitempty"`
	*hello
}

type hello struct {
	Protocol     int      `json:"protocol"`
	Driver       about    `json:"driver"`
	Capabilities []string `json:"capabilities"`
}

type about struct {
	Name      string    `json:"name"`
	Language  string    `json:"language"`
	Libraries []library `json:"libraries"`
	Runtime   string    `json:"runtime"`
	OS        string    `json:"os"`
}

type library struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

type messageEvent struct {
	Event   string `json:"event"`
	Client  string `json:"client"`
	Channel string `json:"channel"`
	Value   string `json:"value"`
}

func main() {
	out, err := takeStdout()
	if err != nil {
		log.Fatal(err)
	}
	if err := serve(os.Stdin, out); err != nil {
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
	outMu sync.Mutex
	out   io.Writer

	mu      sync.Mutex
	clients map[string]*client
}

// serve answers requests until shutdown or the end of in.
func serve(in io.Reader, out io.Writer) error {
	d := &driver{out: out, clients: map[string]*client{}}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxLine+2) // and its line end
	for lines.Scan() {
		var r request
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			log.Printf("read a request: %v", err)
			if r.ID != 0 { // only a part of it could not be read
				d.send(response{ID: r.ID, Error: toFailure(configError{err})})
			}
			continue
		}
		if r.Op == "shutdown" {
			d.closeAll()
			d.send(response{ID: r.ID, OK: true})
			return nil
		}
		go func() {
			answer := response{ID: r.ID, OK: true}
			if err := d.handle(r, &answer); err != nil {
				answer = response{ID: r.ID, Error: toFailure(err)}
			}
			d.send(answer)
		}()
	}
	d.closeAll()
	return lines.Err()
}

func (d *driver) handle(r request, answer *response) error {
	ctx := context.Background()
	switch r.Op {
	case "hello":
		if r.Protocol != protocol {
			return &unsupportedError{"protocol", fmt.Sprint(r.Protocol)}
		}
		answer.hello = newHello()
		return nil
	case "open":
		return d.open(r)
	case "command":
		c, err := d.client(r.Client)
		if err != nil {
			return err
		}
		if len(r.Args) == 0 {
			return configError{errors.New("args: expected a command, got none")}
		}
		value, err := c.command(ctx, r.Args)
		if err != nil && !errors.Is(err, redis.Nil) { // Nil is how go-redis says null
			return err
		}
		described := toReply(value)
		answer.Reply = &described
		return nil
	case "subscribe":
		c, err := d.client(r.Client)
		if err != nil {
			return err
		}
		if len(r.Channels) == 0 {
			return configError{errors.New("channels: expected at least one, got none")}
		}
		return c.subscribe(ctx, r.Channels, func(m *redis.Message) {
			d.send(messageEvent{"message", r.Client, m.Channel, m.Payload})
		})
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
		return &unsupportedError{"op", r.Op}
	}
}

func (d *driver) open(r request) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.clients[r.Client] != nil {
		return configError{errors.New("a client of this name is open already: close it first")}
	}
	c, err := newClient(r)
	if err != nil {
		return configError{err}
	}
	d.clients[r.Client] = c
	return nil
}

func (d *driver) client(name string) (*client, error) {
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
		c.close()
	}
	clear(d.clients)
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

func newHello() *hello {
	linked := make([]library, 0, len(libraries))
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, name := range libraries {
			i := slices.IndexFunc(info.Deps, func(m *debug.Module) bool { return m.Path == name })
			if i >= 0 {
				linked = append(linked, library{name, info.Deps[i].Version})
			}
		}
	}
	return &hello{
		Protocol:     protocol,
		Driver:       about{"go-redis", "go", linked, runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH},
		Capabilities: capabilities,
	}
}
