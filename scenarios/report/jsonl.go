package report

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"sync"

	"github.com/entracache/entracache/scenarios/protocol"
)

// Writer writes a report line by line while the run goes on, so that what was finished survives whatever breaks. It may be
// used from several goroutines. It keeps the report in memory, too.
type Writer struct {
	mu     sync.Mutex
	w      io.Writer
	report Report
	err    error
}

// NewWriter starts a report with its run line.
func NewWriter(w io.Writer, run Run) *Writer {
	out := &Writer{w: w}
	out.report.Run = run
	out.line("run", run)
	return out
}

// line writes one object with its kind as the member "line". The caller holds the lock, or is alone.
func (w *Writer) line(kind string, v any) {
	if w.err != nil {
		return
	}
	body, err := json.Marshal(v)
	if err != nil {
		w.err = fmt.Errorf("encode a %s line: %w", kind, err)
		return
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, `{"line":%q`, kind)
	if len(body) > len("{}") {
		b.WriteByte(',')
	}
	b.Write(body[1:])
	b.WriteByte('\n')
	_, w.err = io.WriteString(w.w, protocol.Redact(b.String()))
}

// accept adds what the caller is about to write, or remembers why it must not be written: a line that the reader would refuse.
func (w *Writer) accept(kind string, err error) bool {
	if err != nil && w.err == nil {
		w.err = fmt.Errorf("write a %s line: %w", kind, err)
	}
	return err == nil
}

// Driver adds a driver.
func (w *Writer) Driver(d Driver) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.accept("driver", w.report.addDriver(d)) {
		w.line("driver", d)
	}
}

// Scenario adds a scenario.
func (w *Writer) Scenario(s Scenario) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.accept("scenario", w.report.addScenario(s)) {
		w.line("scenario", s)
	}
}

// Result adds a result.
func (w *Writer) Result(r Result) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.accept("result", w.report.addResult(r)) {
		w.line("result", r)
	}
}

// End writes the end line and returns the whole report. The error is the first that any write met.
func (w *Writer) End(end End) (*Report, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	end.Results, end.Counts = len(w.report.Results), count(w.report.Results)
	if end.Complete && !w.accept("end", w.report.complete()) {
		end.Complete = false
	}
	w.report.End = end
	w.report.End.Exit = w.report.ExitCode()
	w.line("end", w.report.End)
	return &w.report, w.err
}

func count(results []Result) map[Status]int {
	counts := map[Status]int{}
	for _, r := range results {
		counts[r.Status]++
	}
	return counts
}

// maxLine bounds a line of a report: a timeline can be long.
const maxLine = 64 << 20

// Read reads a report back. It returns what it could read together with an error that says what is wrong: a line that is not
// understood, a missing end line, or counts that do not agree.
func Read(r io.Reader) (*Report, error) {
	report := &Report{}
	ended := false
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	n := 0
	for lines.Scan() {
		n++
		if ended {
			return report, fmt.Errorf("line %d: there is something after the end line: two reports in one file? merge them with `entracache report merge`", n)
		}
		if err := report.add(lines.Bytes(), &ended); err != nil {
			return report, fmt.Errorf("line %d: %w", n, err)
		}
	}
	if err := lines.Err(); err != nil {
		return report, fmt.Errorf("after line %d: %w", n, err)
	}
	if !ended {
		return report, fmt.Errorf("no end line after %d lines: the run was cut short, its results are not complete", n)
	}
	if report.Run.Version == "" {
		return report, errors.New("no run line: expected it first")
	}
	if report.End.Results != len(report.Results) || !maps.Equal(report.End.Counts, count(report.Results)) {
		return report, fmt.Errorf("the end line counts %d results %v, but there are %d %v: lines are missing or were added",
			report.End.Results, report.End.Counts, len(report.Results), count(report.Results))
	}
	if report.End.Complete {
		if err := report.complete(); err != nil {
			return report, fmt.Errorf("the end line says that the run is complete, but %w", err)
		}
	}
	if have := report.ExitCode(); report.End.Exit != have {
		return report, fmt.Errorf("the end line says exit %d, but its results make it %d", report.End.Exit, have)
	}
	return report, nil
}

func (r *Report) add(line []byte, ended *bool) error {
	var kind struct {
		Line string `json:"line"`
	}
	if err := json.Unmarshal(line, &kind); err != nil {
		return fmt.Errorf("not a JSON object: %w", err)
	}
	switch kind.Line {
	case "run":
		return json.Unmarshal(line, &r.Run)
	case "driver":
		return addLine(line, r.addDriver)
	case "scenario":
		return addLine(line, r.addScenario)
	case "result":
		return addLine(line, r.addKnownResult)
	case "end":
		*ended = true
		return json.Unmarshal(line, &r.End)
	default:
		return fmt.Errorf("unknown kind of line %q: expected run, driver, scenario, result or end", kind.Line)
	}
}

func addLine[T any](line []byte, add func(T) error) error {
	var v T
	if err := json.Unmarshal(line, &v); err != nil {
		return err
	}
	return add(v)
}
