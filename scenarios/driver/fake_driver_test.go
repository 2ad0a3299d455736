package driver

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/entracache/entracache/scenarios/protocol"
)

// stub is a driver with a tiny store in place of a library. Its fields are the ways in which it can be wrong.
type stub struct {
	name         string
	capabilities []protocol.Capability
	serial       bool                                      // handles one request after the other
	liar         bool                                      // says ok to everything that it does not know
	anyProtocol  bool                                      // accepts any protocol number
	forgetful    bool                                      // says ok for clients that do not exist
	limit        int                                       // of a line; 0: the protocol's
	chatty       string                                    // printed to stdout before the first answer
	stubborn     bool                                      // ignores shutdown and the end of stdin
	exitCode     error                                     // returned at the end
	versions     string                                    // default v1.2.3
	hook         func(s *session, r protocol.Request) bool // true: it has dealt with the request
}

type session struct {
	*stub
	ctx     context.Context
	mu      sync.Mutex // writing
	out     io.Writer
	stateMu sync.Mutex
	clients map[string]map[string]bool // client → its channels
	store   map[string]string
}

func (s *stub) run(ctx context.Context, stdin io.Reader, stdout, stderr io.Writer) error {
	run := &session{stub: s, ctx: ctx, out: stdout, clients: map[string]map[string]bool{}, store: map[string]string{}}
	limit := s.limit
	if limit == 0 {
		limit = protocol.MaxLine
	}
	if s.chatty != "" {
		fmt.Fprintln(stdout, s.chatty)
	}
	scanner := bufio.NewScanner(stdin)
	scanner.Buffer(make([]byte, 4096), limit+1)
	for scanner.Scan() {
		request, err := protocol.ParseRequest(scanner.Bytes())
		if err != nil {
			return err
		}
		if request.Op == protocol.OpShutdown {
			if s.stubborn {
				continue
			}
			run.answer(request, protocol.Reply{OK: true})
			return s.exitCode
		}
		if s.serial {
			run.handle(request)
		} else {
			go run.handle(request)
		}
	}
	if s.stubborn {
		<-ctx.Done()
		return ctx.Err()
	}
	if err := scanner.Err(); err != nil {
		return err
	}
	return s.exitCode
}

func (s *session) write(line []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _ = s.out.Write(line)
}

func (s *session) answer(r protocol.Request, reply protocol.Reply) {
	reply.ID = r.ID
	line, err := protocol.EncodeReply(r.Op, reply)
	if err != nil {
		panic(err)
	}
	s.write(line)
}

func (s *session) fail(r protocol.Request, kind protocol.ErrorKind, message string) {
	code, _, _ := strings.Cut(message, " ")
	s.answer(r, protocol.Reply{Error: &protocol.Error{Kind: kind, Message: message, Code: code}})
}

func (s *session) handle(r protocol.Request) {
	if s.hook != nil && s.hook(s, r) {
		return
	}
	switch r.Op {
	case protocol.OpHello:
		if r.Protocol != protocol.Version && !s.anyProtocol {
			s.fail(r, protocol.KindUnsupported, "protocol "+strconv.Itoa(r.Protocol))
			return
		}
		version := s.versions
		if version == "" {
			version = "v1.2.3"
		}
		s.answer(r, protocol.Reply{OK: true, Protocol: protocol.Version, Capabilities: s.capabilities, Driver: &protocol.DriverInfo{
			Name: s.name, Language: "Go", Libraries: []protocol.Library{{Name: "example.org/library", Version: version}}, Runtime: "go"}})
		return
	case protocol.OpOpen:
		if !s.liar && r.Credential.Kind != protocol.CredentialAccessKey && r.Credential.Kind != protocol.CredentialClientSecret {
			s.fail(r, protocol.KindUnsupported, "credential "+string(r.Credential.Kind))
			return
		}
		s.stateMu.Lock()
		s.clients[r.Client] = map[string]bool{}
		s.stateMu.Unlock()
		if r.Cache.Port > 1024 { // a black hole of the doctor's, or nothing
			s.dial(r)
			return
		}
		s.answer(r, protocol.Reply{OK: true})
		return
	case protocol.OpCommand, protocol.OpSubscribe, protocol.OpBegin, protocol.OpExec, protocol.OpClose:
	default:
		if s.liar {
			s.answer(r, protocol.Reply{OK: true})
			return
		}
		s.fail(r, protocol.KindUnsupported, "op "+string(r.Op))
		return
	}
	s.stateMu.Lock()
	channels, ok := s.clients[r.Client]
	s.stateMu.Unlock()
	if !ok {
		if s.forgetful && r.Op != protocol.OpCommand {
			s.answer(r, protocol.Reply{OK: true})
			return
		}
		s.fail(r, protocol.KindClosed, "no client "+r.Client)
		return
	}
	s.stateMu.Lock()
	defer s.stateMu.Unlock()
	switch r.Op {
	case protocol.OpClose:
		delete(s.clients, r.Client)
	case protocol.OpSubscribe:
		for _, channel := range r.Channels {
			channels[channel] = true
		}
	case protocol.OpCommand:
		s.command(r)
		return
	case protocol.OpExec: // of SET and STRLEN, which is all that anybody asks
		value := protocol.Array(protocol.Simple("OK"), protocol.Integer(4))
		s.answer(r, protocol.Reply{OK: true, Value: &value})
		return
	}
	s.answer(r, protocol.Reply{OK: true})
}

// command runs with stateMu held.
func (s *session) command(r protocol.Request) {
	var value protocol.Value
	get := func(key string) protocol.Value {
		if text, ok := s.store[key]; ok {
			return protocol.Bulk(text)
		}
		return protocol.Null()
	}
	switch r.Args[0] {
	case "PING":
		value = protocol.Simple("PONG")
	case "ECHO":
		value = protocol.Bulk(r.Args[1])
	case "SET":
		s.store[r.Args[1]] = r.Args[2]
		value = protocol.Simple("OK")
	case "GET":
		value = get(r.Args[1])
	case "MGET":
		value = protocol.Array(get(r.Args[1]), get(r.Args[2]))
	case "STRLEN":
		value = protocol.Integer(int64(len(s.store[r.Args[1]])))
	case "BLPOP":
		s.stateMu.Unlock()
		seconds, _ := strconv.Atoi(r.Args[2])
		select {
		case <-time.After(time.Duration(seconds) * time.Second):
		case <-s.ctx.Done():
		}
		s.stateMu.Lock()
		value = protocol.Null()
	case "PUBLISH":
		heard := int64(0)
		for client, channels := range s.clients {
			if channels[r.Args[1]] {
				line, err := protocol.Encode(protocol.Event{Kind: protocol.EventMessage, Client: client, Channel: r.Args[1], Value: r.Args[2]})
				if err != nil {
					panic(err)
				}
				s.write(line)
				heard++
			}
		}
		value = protocol.Integer(heard)
	default:
		s.fail(r, protocol.KindRedis, "ERR unknown command '"+r.Args[0]+"'")
		return
	}
	s.answer(r, protocol.Reply{OK: true, Value: &value})
}

func (s *session) dial(r protocol.Request) {
	conn, err := dialAndListen(s.ctx, r.Cache.Host, r.Cache.Port)
	if err == nil {
		conn.Close()
	}
	s.stateMu.Lock()
	delete(s.clients, r.Client)
	s.stateMu.Unlock()
	s.fail(r, protocol.KindNetwork, "the cache said nothing")
}

func honest() *stub {
	return &stub{name: "stub", capabilities: []protocol.Capability{protocol.CapAccessKey, protocol.CapRESP2, protocol.CapPubSub, protocol.CapBlocking, protocol.CapTransactions}}
}

func (s *stub) target() Target { return InProcess(s.name, s.run) }

// helperVariable makes the test binary itself a driver process: its value chooses one.
const helperVariable = "DRIVER_TEST_HELPER"

func TestMain(m *testing.M) {
	if which := os.Getenv(helperVariable); which != "" {
		os.Exit(helper(which))
	}
	os.Exit(m.Run())
}

// accessKeyOpen is an open request for which the stub dials nobody.
func accessKeyOpen(client string) protocol.Request {
	return protocol.Open(protocol.Request{
		Client: client, Scenario: "test", Cache: &protocol.Cache{Host: "127.0.0.1", Port: 1},
		Credential: &protocol.Credential{Kind: protocol.CredentialAccessKey, AccessKey: "hush-hush-key"},
	})
}
