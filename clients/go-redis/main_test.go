package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"
)

// TestMain lets this test binary stand in for the driver, so that the tests talk to a process over its real stdin and stdout.
func TestMain(m *testing.M) {
	if os.Getenv("RUN_AS_DRIVER") != "" {
		main()
		fmt.Fprintln(os.Stdout, "a line that some library prints") // must not reach the protocol
		return
	}
	os.Exit(m.Run())
}

type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines chan string
}

func start(t *testing.T) *process {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "RUN_AS_DRIVER=1")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{t, cmd, stdin, make(chan string)}
	go func() {
		defer close(p.lines)
		for s := bufio.NewScanner(stdout); s.Scan(); {
			p.lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // fails when it has ended, as it should have
	})
	return p
}

// ask sends one request and returns the one line that answers it.
func (p *process) ask(line string) response {
	p.t.Helper()
	if _, err := io.WriteString(p.stdin, line+"\n"); err != nil {
		p.t.Fatal(err)
	}
	var answer response
	answer.hello = &hello{}
	if err := json.Unmarshal([]byte(p.next()), &answer); err != nil {
		p.t.Fatal(err)
	}
	return answer
}

// next returns "" at the end of stdout.
func (p *process) next() string {
	p.t.Helper()
	select {
	case line := <-p.lines:
		return line
	case <-time.After(30 * time.Second):
		p.t.Fatal("the driver said nothing for 30 s")
		return ""
	}
}

func (p *process) ended() {
	p.t.Helper()
	if line := p.next(); line != "" {
		p.t.Errorf("after the end the driver said %q", line)
	}
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("the driver ended with %v, want exit 0", err)
	}
}

func TestHello(t *testing.T) {
	p := start(t)
	answer := p.ask(`{"id":1,"op":"hello","protocol":1,"harness":"test","unknown":[1]}`)
	if !answer.OK || answer.ID != 1 || answer.Protocol != 1 || answer.Driver.Name != "go-redis" || len(answer.Capabilities) == 0 {
		t.Fatalf("hello: got %+v", answer)
	}
	if len(answer.Driver.Libraries) != len(libraries) {
		t.Fatalf("libraries: got %+v, want %d", answer.Driver.Libraries, len(libraries))
	}
	for i, lib := range answer.Driver.Libraries {
		if lib.Name != libraries[i] || lib.Version == "" {
			t.Errorf("library %d: got %+v, want %s with its version", i, lib, libraries[i])
		}
	}
	if answer := p.ask(`{"id":2,"op":"hello","protocol":2}`); answer.OK || answer.Error.Kind != "unsupported" {
		t.Errorf("hello with another protocol: got %+v", answer)
	}
}

func TestRefusals(t *testing.T) {
	p := start(t)
	const cache = `"cache":{"host":"127.0.0.1","port":1}`
	for i, test := range []struct{ request, kind string }{
		{`"op":"no-such-op"`, "unsupported"},
		{`"op":"open","client":"a",` + cache + `,"credential":{"kind":"no-such-kind"}`, "unsupported"},
		{`"op":"open","client":"a","cache":{"host":"127.0.0.1","port":1,"ca_pem":"none"},"credential":{"kind":"access-key"}`, "config"},
		{`"op":"open","client":"a",` + cache + `,"credential":{"kind":"client-secret"}`, "config"},
		{`"op":"command","client":"a","args":["PING"]`, "closed"},
		{`"op":"subscribe","client":"a","channels":["c"]`, "closed"},
		{`"op":"close","client":"a"`, "closed"},
		{`"op":"command","client":"a","args":7`, "config"},
		// A failed open has left no client behind, and open waits for no server.
		{`"op":"open","client":"a",` + cache + `,"credential":{"kind":"access-key","access_key":"k"}`, ""},
		{`"op":"open","client":"a",` + cache + `,"credential":{"kind":"access-key","access_key":"k"}`, "config"},
		{`"op":"command","client":"a","args":[]`, "config"},
		{`"op":"command","client":"a","args":["PING"]`, "network"},
		{`"op":"close","client":"a"`, ""},
		{`"op":"command","client":"a","args":["PING"]`, "closed"},
		{`"op":"close","client":"a"`, "closed"},
	} {
		answer := p.ask(fmt.Sprintf(`{"id":%d,%s}`, i+1, test.request))
		kind := ""
		if answer.Error != nil {
			kind = answer.Error.Kind
		}
		if answer.ID != i+1 || answer.OK != (test.kind == "") || kind != test.kind {
			t.Errorf("%s: got %+v %+v, want kind %q", test.request, answer, answer.Error, test.kind)
		}
	}
}

func TestShutdown(t *testing.T) {
	p := start(t)
	if answer := p.ask(`{"id":1,"op":"shutdown"}`); !answer.OK || answer.ID != 1 {
		t.Errorf("shutdown: got %+v", answer)
	}
	p.ended()
}

func TestEndOfInput(t *testing.T) {
	p := start(t)
	p.ask(`{"id":1,"op":"open","client":"a","cache":{"host":"127.0.0.1","port":1},"credential":{"kind":"access-key"}}`)
	if err := p.stdin.Close(); err != nil {
		t.Fatal(err)
	}
	p.ended()
}
