package driver

import (
	"bufio"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// StderrLine is a line that a driver wrote to its standard error, redacted.
type StderrLine struct {
	Time time.Time
	Text string
}

const (
	stderrKept    = 1000 // lines
	stderrLineMax = 8 << 10
)

// stderrRing keeps the latest lines.
type stderrRing struct {
	mu    sync.Mutex
	lines []StderrLine
}

func (r *stderrRing) add(line StderrLine) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.lines) == 2*stderrKept { // moved rarely, so that a flood costs little
		r.lines = append(r.lines[:0:0], r.lines[stderrKept:]...)
	}
	r.lines = append(r.lines, line)
}

func (r *stderrRing) all() []StderrLine {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]StderrLine{}, r.lines[max(0, len(r.lines)-stderrKept):]...)
}

// traceLines is how long a stack trace may be for the error above it to be found.
const traceLines = 50

// errorLine begins with what runtimes call an error that ends the process.
var errorLine = regexp.MustCompile(`^(Uncaught )?[\w.$]*(Error|Exception)\b|^(panic|fatal error): |^thread '.*' panicked`)

// lastWords is the line among the latest that names an error, else the last one with something on it: Node.js ends with its version, and
// Java and Go with a stack trace.
func (r *stderrRing) lastWords() string {
	last := ""
	lines := r.all()
	for i, line := range slices.Backward(lines) {
		text := strings.TrimSpace(line.Text)
		if last == "" {
			last = text
		}
		if errorLine.MatchString(text) {
			return text
		}
		if i < len(lines)-traceLines {
			break
		}
	}
	return last
}

// readText hands on each line of r; a longer one is cut off with an ellipsis. It returns when r ends.
func readText(r io.Reader, line func(text string)) {
	reader := bufio.NewReaderSize(r, stderrLineMax)
	for {
		chunk, err := reader.ReadSlice('\n')
		text := strings.TrimRight(string(chunk), "\r\n")
		for err == bufio.ErrBufferFull { // skip the rest
			if _, err = reader.ReadSlice('\n'); err != bufio.ErrBufferFull {
				text += "…"
			}
		}
		if text != "" || err == nil {
			line(text)
		}
		if err != nil {
			return
		}
	}
}
