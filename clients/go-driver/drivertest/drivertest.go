// Package drivertest tests the manners of a driver: it runs the test binary as the driver, and talks to it over its real stdin and stdout.
package drivertest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"

	driver "github.com/entracache/entracache/clients/go-driver"
)

const runAsDriver = "RUN_AS_DRIVER"

// Main is for TestMain: it lets the test binary stand in for the driver, whose main function is given.
func Main(m *testing.M, main func()) {
	if os.Getenv(runAsDriver) != "" {
		main()
		fmt.Fprintln(os.Stdout, "a line that some library prints") // must not reach the protocol
		return
	}
	os.Exit(m.Run())
}

// Process is a running driver.
type Process struct {
	Stdin io.WriteCloser

	t     *testing.T
	cmd   *exec.Cmd
	lines chan string
}

// Start starts the driver. It is killed at the end of the test, should it still run.
func Start(t *testing.T) *Process {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), runAsDriver+"=1")
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
	p := &Process{stdin, t, cmd, make(chan string)}
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

// Ask sends one request and returns the one line that answers it.
func (p *Process) Ask(line string) driver.Response {
	p.t.Helper()
	if _, err := io.WriteString(p.Stdin, line+"\n"); err != nil {
		p.t.Fatal(err)
	}
	var answer driver.Response
	answer.Hello = &driver.Hello{}
	if err := json.Unmarshal([]byte(p.next()), &answer); err != nil {
		p.t.Fatal(err)
	}
	return answer
}

// next returns "" at the end of stdout.
func (p *Process) next() string {
	p.t.Helper()
	select {
	case line := <-p.lines:
		return line
	case <-time.After(30 * time.Second):
		p.t.Fatal("the driver said nothing for 30 s")
		return ""
	}
}

// Ended waits for the end of the driver, which has to say nothing any more and to exit with 0.
func (p *Process) Ended() {
	p.t.Helper()
	if line := p.next(); line != "" {
		p.t.Errorf("after the end the driver said %q", line)
	}
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("the driver ended with %v, want exit 0", err)
	}
}

// Hello tests that the driver says who it is, with the versions that were linked in.
func Hello(t *testing.T, l driver.Library) {
	p := Start(t)
	answer := p.Ask(`{"id":1,"op":"hello","protocol":1,"harness":"test","unknown":[1]}`)
	if !answer.OK || answer.ID != 1 || answer.Protocol != 1 || answer.Driver.Name != l.Name || len(answer.Capabilities) == 0 {
		t.Fatalf("hello: got %+v", answer)
	}
	if len(answer.Driver.Libraries) != len(l.Modules) {
		t.Fatalf("libraries: got %+v, want %d", answer.Driver.Libraries, len(l.Modules))
	}
	for i, lib := range answer.Driver.Libraries {
		if lib.Name != l.Modules[i] || lib.Version == "" {
			t.Errorf("library %d: got %+v, want %s with its version", i, lib, l.Modules[i])
		}
	}
	if answer := p.Ask(`{"id":2,"op":"hello","protocol":2}`); answer.OK || answer.Error.Kind != "unsupported" {
		t.Errorf("hello with another protocol: got %+v", answer)
	}
}

// Exchange is a request without its braces and id, and the kind of the error that answers it, or "".
type Exchange [2]string

// Exchanges tests what is answered to requests that follow each other.
func Exchanges(t *testing.T, exchanges []Exchange) {
	p := Start(t)
	for i, exchange := range exchanges {
		request, want := exchange[0], exchange[1]
		answer := p.Ask(fmt.Sprintf(`{"id":%d,%s}`, i+1, request))
		kind := ""
		if answer.Error != nil {
			kind = answer.Error.Kind
		}
		if answer.ID != i+1 || answer.OK != (want == "") || kind != want {
			t.Errorf("%s: got %+v %+v, want kind %q", request, answer, answer.Error, want)
		}
	}
}

// Ends tests that the driver ends after shutdown, and with its stdin, after the given requests.
func Ends(t *testing.T, before ...string) {
	t.Run("shutdown", func(t *testing.T) {
		p := Start(t)
		if answer := p.Ask(`{"id":1,"op":"shutdown"}`); !answer.OK || answer.ID != 1 {
			t.Errorf("shutdown: got %+v", answer)
		}
		p.Ended()
	})
	t.Run("end of input", func(t *testing.T) {
		p := Start(t)
		for _, line := range before {
			p.Ask(line)
		}
		if err := p.Stdin.Close(); err != nil {
			t.Fatal(err)
		}
		p.Ended()
	})
}
