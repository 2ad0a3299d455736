package driver

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/entracache/entracache/scenarios/protocol"
)

// Prepared is a client whose driver is ready to start.
type Prepared struct {
	Dir    string // what {cache} stands for
	Reused bool   // it had been prepared before
}

// PrepareOptions say where and how loudly a client is prepared. The zero value uses the user's cache folder, silently.
type PrepareOptions struct {
	Root     string            // prepared folders are made here; default: entracache/drivers in the user's cache folder
	Progress func(line string) // called with one line at a time, from one goroutine at a time
	Virtual  bool              // for the virtual lane: a client that is sped up by overlay is built with it
}

// PrepareError says which step failed and shows the end of what it printed.
type PrepareError struct {
	Client string
	Step   string
	Output string // the last lines
	Log    string // a file with all of it
	Err    error
}

func (e *PrepareError) Error() string {
	text := fmt.Sprintf("client %s could not be prepared: %q failed (%v); all it printed is in %s", e.Client, e.Step, e.Err, e.Log)
	if e.Output != "" {
		text += "; the end of it:\n    " + strings.ReplaceAll(e.Output, "\n", "\n    ")
	}
	return text
}

func (e *PrepareError) Unwrap() error { return e.Err }

const (
	marker        = ".prepared"            // written last: without it a folder is the rest of an attempt that failed
	tailLines     = 20                     // shown when a step fails
	lockPoll      = 100 * time.Millisecond // flock cannot be waited for together with a context
	quietInterval = 10 * time.Second       // a step that takes longer says so, as often
	pipeDelay     = 5 * time.Second        // for a step's children that keep its output open after it ended
)

// Prepare runs the client's prepare steps, unless the same inputs, client.yaml and runtime have been prepared before. Two
// processes that want the same folder do it once. A cancelled context stops the running step.
//
// The folder is used where it is made, never moved there: a Python virtual environment holds its own path.
func (c *Config) Prepare(ctx context.Context, found Runtime, options PrepareOptions) (Prepared, error) {
	progress := options.Progress
	if progress == nil {
		progress = func(string) {}
	}
	root := options.Root
	if root == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return Prepared{}, fmt.Errorf("no folder for prepared drivers: %w", err)
		}
		root = filepath.Join(user, "entracache", "drivers")
	}
	root, err := filepath.Abs(root)
	if err != nil {
		return Prepared{}, err
	}
	var goroot string
	var overlay map[string][]byte
	if options.Virtual && c.Virtual.By == ByOverlay {
		if goroot, err = gorootOf(ctx, c.Dir); err != nil {
			return Prepared{}, err
		}
		if overlay, err = overlayFiles(goroot); err != nil {
			return Prepared{}, err
		}
	}
	key, err := c.key(found, digest(overlay)+c.Version)
	if err != nil {
		return Prepared{}, err
	}
	prepared := Prepared{Dir: filepath.Join(root, c.Name+"-"+key)}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return Prepared{}, err
	}
	unlock, err := c.lock(ctx, prepared.Dir+".lock", progress)
	if err != nil {
		return Prepared{}, err
	}
	defer unlock()

	if _, err := os.Stat(filepath.Join(prepared.Dir, marker)); err == nil {
		prepared.Reused = true
		return prepared, nil
	}
	if err := os.RemoveAll(prepared.Dir); err != nil {
		return Prepared{}, err
	}
	if err := os.Mkdir(prepared.Dir, 0o755); err != nil {
		return Prepared{}, err
	}
	log, err := os.Create(prepared.Dir + ".log")
	if err != nil {
		return Prepared{}, err
	}
	defer log.Close()
	var env map[string]string
	if overlay != nil {
		if env, err = writeOverlay(filepath.Join(prepared.Dir, "overlay"), goroot, overlay); err != nil {
			return Prepared{}, err
		}
	}
	for i, step := range c.Steps {
		words := fillIn(step, "{cache}", prepared.Dir)
		progress(fmt.Sprintf("%s: preparing %d/%d: %s", c.Column(), i+1, len(c.Steps), strings.Join(words, " ")))
		if err := c.runStep(ctx, words, env, log, progress); err != nil {
			return Prepared{}, err
		}
	}
	return prepared, os.WriteFile(filepath.Join(prepared.Dir, marker), []byte(found.Output+"\n"), 0o644)
}

// key names the prepared folder by the content of everything that goes into it. extra is what is not in the client's own files.
func (c *Config) key(found Runtime, extra string) (string, error) {
	files, err := c.inputFiles()
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	fmt.Fprintf(sum, "%s/%s\n%s\n%s", runtime.GOOS, runtime.GOARCH, found.Output, extra)
	for _, name := range append([]string{ConfigFile}, files...) {
		content, err := os.ReadFile(filepath.Join(c.Dir, filepath.FromSlash(name)))
		if err != nil {
			return "", err
		}
		// The length separates a file from the next, so that no two sets of files look alike.
		fmt.Fprintf(sum, "%s %d\n", name, len(content))
		sum.Write(content)
	}
	return hex.EncodeToString(sum.Sum(nil))[:16], nil
}

func (c *Config) lock(ctx context.Context, file string, progress func(string)) (unlock func(), err error) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	poll := time.NewTicker(lockPoll)
	defer poll.Stop()
	for told := false; ; told = true {
		locked, err := tryLock(f)
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("%s cannot be locked: %w", file, err)
		}
		if locked {
			return func() { f.Close() }, nil
		}
		if !told {
			progress(c.Column() + ": waiting for another process that is preparing it")
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			f.Close()
			return nil, context.Cause(ctx)
		}
	}
}

func (c *Config) runStep(ctx context.Context, words []string, env map[string]string, log *os.File, progress func(string)) error {
	var (
		last  = &tail{keep: tailLines}
		cmd   = command(ctx, words, c.Dir, env)
		start = time.Now()
	)
	fmt.Fprintf(log, "$ %s\n", strings.Join(words, " "))
	output := io.MultiWriter(log, last)
	cmd.Stdout, cmd.Stderr = output, output
	cmd.WaitDelay = pipeDelay
	done := make(chan error, 1)
	go func() { done <- cmd.Run() }()
	quiet := time.NewTicker(quietInterval)
	defer quiet.Stop()
	for {
		select {
		case err := <-done:
			switch {
			case err == nil || errors.Is(err, exec.ErrWaitDelay):
				return nil
			case ctx.Err() != nil:
				return fmt.Errorf("client %s: preparing was stopped during %q: %w", c.Column(), strings.Join(words, " "), context.Cause(ctx))
			}
			return &PrepareError{Client: c.Column(), Step: strings.Join(words, " "), Output: last.String(), Log: log.Name(), Err: err}
		case <-quiet.C:
			progress(fmt.Sprintf("%s: … %s so far: %s", c.Column(), time.Since(start).Round(time.Second), last.Last()))
		}
	}
}

func fillIn(words []string, placeholder, text string) []string {
	filled := make([]string, len(words))
	for i, word := range words {
		filled[i] = strings.ReplaceAll(word, placeholder, text)
	}
	return filled
}

// tail keeps the last lines of what is written to it.
type tail struct {
	mu    sync.Mutex
	keep  int
	lines []string
	part  string
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := strings.Split(t.part+string(p), "\n")
	t.part = lines[len(lines)-1]
	t.lines = append(t.lines, lines[:len(lines)-1]...)
	t.lines = t.lines[max(0, len(t.lines)-t.keep):]
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := t.lines
	if t.part != "" {
		lines = append(lines[:len(lines):len(lines)], t.part)
	}
	return strings.Join(lines, "\n")
}

// colors are the escape sequences that some programs, such as Maven, print though nobody asked for colours.
var colors = regexp.MustCompile("\x1b\\[[0-9;]*m")

// Last is the last line with something on it, or a word that there was none.
func (t *tail) Last() string {
	lines := strings.Split(t.String(), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		if line := strings.TrimSpace(colors.ReplaceAllString(lines[i], "")); line != "" {
			return protocol.Show([]byte(line))
		}
	}
	return "it has printed nothing"
}
