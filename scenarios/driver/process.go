package driver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime/debug"
	"sort"
	"strings"
)

// process is a running driver, whether a process of the system or a function in this one.
type process interface {
	stdin() io.WriteCloser
	stdout() io.ReadCloser
	stderr() io.ReadCloser
	exited() <-chan struct{} // closed when it has ended
	status() string          // how it ended, "" for success; valid once exited is closed
	terminate()              // asks it to end
	kill()                   // ends it; afterwards exited is closed soon, if that is in our power
}

// command prepares a command with a process group of its own. A cancelled context kills the group.
func command(ctx context.Context, words []string, dir string, overlay map[string]string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Dir = dir
	cmd.Env = environ(overlay)
	ownGroup(cmd)
	cmd.Cancel = func() error { killGroup(cmd.Process); return nil }
	return cmd
}

// environ is our own environment with an overlay. ENTRACACHE_ variables configure the harness; a driver that saw them could
// come to depend on them.
func environ(overlay map[string]string) []string {
	var env []string
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		if _, replaced := overlay[name]; replaced || strings.HasPrefix(name, "ENTRACACHE_") {
			continue
		}
		env = append(env, entry)
	}
	for name, value := range overlay {
		env = append(env, name+"="+value)
	}
	sort.Strings(env)
	return env
}

type osProcess struct {
	cmd        *exec.Cmd
	in         *os.File
	out, err   *os.File
	done       chan struct{}
	exitStatus string
}

// startProcess starts a command with pipes that we close ourselves: exec.Cmd's own would be closed at exit with lines unread.
func startProcess(words []string, dir string, env []string) (process, error) {
	var files []*os.File
	pipe := func() (r, w *os.File, err error) {
		r, w, err = os.Pipe()
		files = append(files, r, w)
		return r, w, err
	}
	closeAll := func() {
		for _, f := range files {
			if f != nil {
				f.Close()
			}
		}
	}
	inR, inW, err1 := pipe()
	outR, outW, err2 := pipe()
	errR, errW, err3 := pipe()
	if err := errors.Join(err1, err2, err3); err != nil {
		closeAll()
		return nil, err
	}
	cmd := command(context.Background(), words, dir, nil)
	cmd.Env = env
	cmd.Stdin, cmd.Stdout, cmd.Stderr = inR, outW, errW
	if err := cmd.Start(); err != nil {
		closeAll()
		return nil, err
	}
	inR.Close()
	outW.Close()
	errW.Close()
	p := &osProcess{cmd: cmd, in: inW, out: outR, err: errR, done: make(chan struct{})}
	go p.wait()
	return p, nil
}

func (p *osProcess) wait() {
	if err := p.cmd.Wait(); err != nil {
		p.exitStatus = strings.Replace(err.Error(), "exit status", "status", 1)
	}
	killGroup(p.cmd.Process) // whatever it started and left behind
	close(p.done)
}

func (p *osProcess) stdin() io.WriteCloser   { return p.in }
func (p *osProcess) stdout() io.ReadCloser   { return p.out }
func (p *osProcess) stderr() io.ReadCloser   { return p.err }
func (p *osProcess) exited() <-chan struct{} { return p.done }
func (p *osProcess) status() string          { return p.exitStatus }

// A process that has ended is not signalled: its number may belong to another by now.
func (p *osProcess) terminate() {
	if !isClosed(p.done) {
		terminateGroup(p.cmd.Process)
	}
}

func (p *osProcess) kill() {
	if !isClosed(p.done) {
		killGroup(p.cmd.Process)
	}
}

type functionProcess struct {
	in         *io.PipeWriter
	out, err   *io.PipeReader
	cancel     context.CancelFunc
	done       chan struct{}
	exitStatus string
}

// environmentKey finds the environment in the context of a driver that runs as a function.
type environmentKey struct{}

// Getenv is os.Getenv for a driver that may run as a function: in ctx, which it was given, is the environment that a process would have.
func Getenv(ctx context.Context, name string) string {
	env, inProcess := ctx.Value(environmentKey{}).([]string)
	if !inProcess {
		return os.Getenv(name)
	}
	for _, entry := range env {
		if value, ok := strings.CutPrefix(entry, name+"="); ok {
			return value
		}
	}
	return ""
}

func startFunction(run func(ctx context.Context, stdin io.Reader, stdout, stderr io.Writer) error, env []string) process {
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	errR, errW := io.Pipe()
	ctx, cancel := context.WithCancel(context.WithValue(context.Background(), environmentKey{}, env))
	p := &functionProcess{in: inW, out: outR, err: errR, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		defer cancel()
		if err := callSafely(errW, func() error { return run(ctx, inR, outW, errW) }); err != nil {
			p.exitStatus = err.Error()
		}
		inR.Close()
		outW.Close()
		errW.Close()
	}()
	return p
}

// callSafely turns a panic into an error and, as a process would, prints it.
func callSafely(stderr io.Writer, f func() error) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("panic: %v", cause)
			fmt.Fprintf(stderr, "%s\n%v\n", debug.Stack(), err) // the cause last: the last line is what an error shows
		}
	}()
	return f()
}

func (p *functionProcess) stdin() io.WriteCloser   { return p.in }
func (p *functionProcess) stdout() io.ReadCloser   { return p.out }
func (p *functionProcess) stderr() io.ReadCloser   { return p.err }
func (p *functionProcess) exited() <-chan struct{} { return p.done }
func (p *functionProcess) status() string          { return p.exitStatus }
func (p *functionProcess) terminate()              { p.cancel() }

// kill takes away everything that the function could wait for. A function that waits for something else cannot be ended.
func (p *functionProcess) kill() {
	p.cancel()
	p.in.Close()
	p.out.Close()
	p.err.Close()
}
