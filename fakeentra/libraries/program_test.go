package libraries_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/entracache/entracache/scenarios/driver"
)

const (
	answerBound = 3 * time.Minute // a library takes a few seconds to give up, and the machine is full of others, such as six JVMs that start
	endBound    = 10 * time.Second
)

// ask is what a program is told to do.
type ask struct {
	ID string `json:"id"`
	// Session names an object of the library's: the same one is used again with the
	// same name, and a new one is made with a new name.
	Session         string     `json:"session"`
	Library         string     `json:"library"`
	Credential      credential `json:"credential"`
	Authority       string     `json:"authority"` // empty: the library's own
	TenantID        string     `json:"tenant_id"`
	ClientID        string     `json:"client_id"`
	Secret          string     `json:"secret"`
	CertificateFile string     `json:"certificate_file"`
	AssertionFile   string     `json:"assertion_file"`
}

type answer struct {
	ID    string `json:"id"`
	OK    bool   `json:"ok"`
	Token string `json:"token"`
	Error string `json:"error"`
}

// program is a running program.
type program struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stderr bytes.Buffer
	ended  chan struct{} // closed when there will be no more answers

	mu      sync.Mutex
	asked   int
	waiting map[string]chan answer
}

// startProgram starts the program with these environment variables and those that
// every program needs; whatever else is set on the machine, such as proxies and
// the CAs to trust, is kept from it.
func startProgram(config *driver.Config, prepared driver.Prepared, env map[string]string) (*program, error) {
	words := make([]string, len(config.Command))
	for i, word := range config.Command {
		words[i] = strings.ReplaceAll(word, "{cache}", prepared.Dir)
	}
	p := &program{cmd: exec.Command(words[0], words[1:]...), ended: make(chan struct{}), waiting: map[string]chan answer{}}
	p.cmd.Dir = config.Dir
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "JAVA_HOME", "LD_LIBRARY_PATH", "SystemRoot"} {
		if value, ok := os.LookupEnv(name); ok {
			p.cmd.Env = append(p.cmd.Env, name+"="+value)
		}
	}
	for name, value := range env {
		p.cmd.Env = append(p.cmd.Env, name+"="+value)
	}
	p.cmd.Stderr = &p.stderr
	p.cmd.WaitDelay = endBound
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.stdin = stdin
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go p.read(stdout)
	return p, nil
}

func (p *program) read(stdout io.Reader) {
	defer close(p.ended)
	lines := bufio.NewScanner(stdout)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var a answer
		if json.Unmarshal(lines.Bytes(), &a) != nil {
			continue // a library's own words
		}
		p.mu.Lock()
		waiting := p.waiting[a.ID]
		delete(p.waiting, a.ID)
		p.mu.Unlock()
		if waiting != nil {
			waiting <- a
		}
	}
}

// ask returns an error if there is no answer; the library's error is an answer.
func (p *program) ask(ctx context.Context, a ask) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, answerBound)
	defer cancel()
	answered := make(chan answer, 1)
	p.mu.Lock()
	p.asked++
	a.ID = strconv.Itoa(p.asked)
	p.waiting[a.ID] = answered
	line, err := json.Marshal(a)
	if err == nil {
		_, err = p.stdin.Write(append(line, '\n'))
	}
	p.mu.Unlock()
	if err != nil {
		return answer{}, err
	}
	select {
	case a := <-answered:
		return a, nil
	case <-p.ended:
		return answer{}, fmt.Errorf("%s ended instead of answering; call end to see why", p.cmd.Path)
	case <-ctx.Done():
		return answer{}, fmt.Errorf("%s does not answer for %s with %s: %w", p.cmd.Path, a.Library, a.Credential, context.Cause(ctx))
	}
}

// end ends the program and returns what it wrote about errors of its own.
func (p *program) end() error {
	_ = p.stdin.Close()
	select {
	case <-p.ended:
	case <-time.After(endBound):
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w\n%s", p.cmd.Path, err, p.stderr.String())
	}
	return nil
}
