package driver

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/entracache/entracache/scenarios/protocol"
)

// Options say how a driver is started. The zero value is usable.
type Options struct {
	Harness string            // sent in hello; default "entracache"
	Env     map[string]string // laid over our own environment; see [Environment]. An in-process driver reads it with [Getenv]
	Clock   clockwork.Clock   // stamps lines and events; default the one that the process sees. Bounds on the driver's manners are always real time

	HelloTimeout time.Duration // default three minutes: a cold start of a runtime has taken more than one while other drivers were being prepared
	Grace        time.Duration // given to each step of Stop; default 5 s

	OnLine   func(TranscriptLine) // every line of the protocol, in both directions
	OnStderr func(StderrLine)     // every line of standard error
	OnEvent  func(Event)          // every event; it is in the log as well
	// Each callback is called from one goroutine at a time and holds up the driver's reader: it must be quick.
}

// TranscriptLine is one line of the protocol with tokens and secrets replaced.
type TranscriptLine struct {
	Time       time.Time
	FromDriver bool
	Text       string
}

// Driver is a running driver. Its methods may be used from many goroutines.
type Driver struct {
	name    string
	target  Target
	options Options
	process process
	hello   protocol.Reply
	redact  protocol.Redactor
	stderr  stderrRing
	events  *eventLog

	lines chan []byte   // to the writer
	gone  chan struct{} // closed when standard output has ended, or is no longer read

	mu        sync.Mutex
	lastID    int64
	waiting   map[int64]*waiter
	abandoned map[int64]protocol.Op // their callers gave up; the answers may still come
	stopping  bool
	err       error
	broken    chan struct{} // closed when err is set or the driver has been stopped

	lineMu     sync.Mutex // serialises OnLine
	stop       sync.Once
	stopErr    error
	stderrDone chan struct{} // closed when standard error has ended
}

// waiter is a call that waits for its answer. The channel holds one, so that the reader never waits for the caller.
type waiter struct {
	op     protocol.Op
	answer chan answer
}

type answer struct {
	reply protocol.Reply
	err   error
}

const (
	defaultHelloTimeout = 3 * time.Minute
	defaultGrace        = 5 * time.Second
	// drainTime is how long we read on after the driver has ended, in case something that it started holds its output open.
	drainTime = 2 * time.Second
)

// Start starts a driver and shakes hands with it. A driver that came from a client folder must declare what its client.yaml
// says. The error is a [*DriverError] unless ctx was cancelled; no process is left behind then. Cancelling ctx later has no
// effect: use [Driver.Stop].
func Start(ctx context.Context, target Target, options Options) (*Driver, error) {
	d, err := launch(target, options)
	if err != nil {
		return nil, err
	}
	if err := d.shakeHands(ctx); err != nil {
		d.abort()
		return nil, err
	}
	if p, ok := d.process.(*osProcess); ok && target.preloaded != "" {
		if err := preloaded(p.cmd.Process.Pid, target.preloaded); err != nil {
			d.abort()
			return nil, &DriverError{Driver: d.name, Problem: "cannot be sped up: " + err.Error(), Err: err}
		}
	}
	if target.pinned != nil {
		if found := target.pinned.disagreements(d.hello); len(found) > 0 {
			d.abort()
			return nil, &DriverError{Driver: d.name, Problem: "its hello and its " + ConfigFile + " disagree: " + strings.Join(found, "; ")}
		}
	}
	return d, nil
}

func launch(target Target, options Options) (*Driver, error) {
	if options.Harness == "" {
		options.Harness = "entracache"
	}
	if options.Clock == nil && target.virtual != nil {
		options.Clock = target.virtual.Clock()
	} else if options.Clock == nil {
		options.Clock = clockwork.NewRealClock()
	}
	if options.HelloTimeout == 0 {
		options.HelloTimeout = defaultHelloTimeout
	}
	if options.Grace == 0 {
		options.Grace = defaultGrace
	}
	env := maps.Clone(target.env)
	if env == nil {
		env = map[string]string{}
	}
	maps.Copy(env, options.Env)
	process, err := target.launch(environ(env))
	if err != nil {
		return nil, &DriverError{Driver: target.Name, Problem: "cannot be started: " + err.Error(), Err: err}
	}
	d := &Driver{
		name: target.Name, target: target, options: options, process: process, events: newEventLog(),
		lines: make(chan []byte), gone: make(chan struct{}), broken: make(chan struct{}), stderrDone: make(chan struct{}),
		waiting: map[int64]*waiter{}, abandoned: map[int64]protocol.Op{},
	}
	go d.readStderr()
	go d.readStdout()
	go d.write()
	go d.closePipes()
	return d, nil
}

func (d *Driver) shakeHands(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, d.options.HelloTimeout)
	defer cancel()
	hello, err := d.call(ctx, protocol.Hello(d.options.Harness))
	if err != nil {
		return err
	}
	if !hello.OK {
		return &DriverError{Driver: d.name, Problem: fmt.Sprintf("refuses protocol %d: %s", protocol.Version, hello.Error)}
	}
	d.hello = hello
	return nil
}

// Name is the target's name.
func (d *Driver) Name() string { return d.name }

// Hello is the driver's answer to hello; Raw is the line as it came.
func (d *Driver) Hello() protocol.Reply { return d.hello }

// Library is the client library under test, as the driver's hello gives it.
func (d *Driver) Library() protocol.Library { return d.hello.Driver.Libraries[0] }

// Declares says whether the driver declared a capability.
func (d *Driver) Declares(capability protocol.Capability) bool {
	return slices.Contains(d.hello.Capabilities, capability)
}

// Stderr is the last thousand lines of the driver's standard error.
func (d *Driver) Stderr() []StderrLine { return d.stderr.all() }

// Err says what broke the driver, or nil if it is well or was stopped in good order. After an error it takes no more calls.
func (d *Driver) Err() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err
}

// Broken is closed when the driver can take no more calls, because it broke or was stopped.
func (d *Driver) Broken() <-chan struct{} { return d.broken }

// Call sends a request, whose ID it chooses, and waits for the answer. A library's failure is an answer, with OK false. The
// error is
//   - a [*DriverError] if the driver crashed, broke the protocol, did not answer before ctx's deadline (then it is also
//     context.DeadlineExceeded), reported an error of kind internal, or answered unsupported to something it had declared;
//   - a [*HarnessError] if the request is not valid;
//   - ctx's own if it was cancelled.
func (d *Driver) Call(ctx context.Context, request protocol.Request) (protocol.Reply, error) {
	reply, err := d.call(ctx, request)
	if err != nil || reply.OK {
		return reply, err
	}
	switch reply.Error.Kind {
	case protocol.KindInternal:
		return reply, d.fault(fmt.Sprintf("reports a bug of its own in answer to %s: %s", request.Op, d.redact.Show([]byte(reply.Error.Error()))), reply.Error)
	case protocol.KindUnsupported:
		if len(without(request.Needs(), d.hello.Capabilities)) == 0 {
			return reply, d.fault(fmt.Sprintf("declares all that this %s needs but answers unsupported: %s", request.Op,
				d.redact.Show([]byte(reply.Error.Message))), reply.Error)
		}
	}
	return reply, nil
}

// call is Call without judging the answer.
func (d *Driver) call(ctx context.Context, request protocol.Request) (protocol.Reply, error) {
	d.redact.Add(request.Secrets()...)
	if request.Op == protocol.OpOpen {
		d.events.opened(request.Client)
	}
	return d.roundTrip(ctx, request.Op, func(id int64) ([]byte, error) {
		request.ID = id
		return protocol.Encode(request)
	})
}

// callRaw sends members that no Request has, for checking a driver's manners.
func (d *Driver) callRaw(ctx context.Context, op protocol.Op, members map[string]any) (protocol.Reply, error) {
	return d.roundTrip(ctx, op, func(id int64) ([]byte, error) {
		members["id"], members["op"] = id, op
		line, err := json.Marshal(members)
		if err != nil {
			return nil, err
		}
		if _, err := protocol.ParseRequest(line); err != nil {
			return nil, err
		}
		return append(line, '\n'), nil
	})
}

func (d *Driver) roundTrip(ctx context.Context, op protocol.Op, encode func(id int64) ([]byte, error)) (protocol.Reply, error) {
	start := time.Now()
	d.mu.Lock()
	if d.err != nil {
		d.mu.Unlock()
		return protocol.Reply{}, d.Err()
	}
	d.lastID++
	id := d.lastID
	d.mu.Unlock()

	line, err := encode(id)
	if err != nil {
		return protocol.Reply{}, &HarnessError{Problem: "was about to send a bad line: " + err.Error(), Err: err}
	}
	// The entry is made before the line is sent: the answer may come before the send has returned.
	w := &waiter{op: op, answer: make(chan answer, 1)}
	d.mu.Lock()
	d.waiting[id] = w
	d.mu.Unlock()

	select {
	case d.lines <- line:
	case <-ctx.Done():
		return protocol.Reply{}, d.giveUp(ctx, id, op, start, false)
	case <-d.broken:
		return protocol.Reply{}, d.cannotCall()
	}
	select {
	case a := <-w.answer:
		return a.reply, a.err
	case <-ctx.Done():
		select {
		case a := <-w.answer: // both were ready
			return a.reply, a.err
		default:
			return protocol.Reply{}, d.giveUp(ctx, id, op, start, true)
		}
	case <-d.broken:
		select {
		case a := <-w.answer: // it answered before it broke
			return a.reply, a.err
		default:
			return protocol.Reply{}, d.cannotCall()
		}
	}
}

func (d *Driver) cannotCall() error {
	if err := d.Err(); err != nil {
		return err
	}
	return d.fault("was stopped", nil)
}

func (d *Driver) giveUp(ctx context.Context, id int64, op protocol.Op, start time.Time, sent bool) error {
	d.mu.Lock()
	delete(d.waiting, id)
	if sent {
		d.abandoned[id] = op
	}
	d.mu.Unlock()
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return context.Cause(ctx)
	}
	did := "did not answer"
	if !sent {
		did = "does not read its standard input: it did not take"
	}
	return d.fault(fmt.Sprintf("%s %s (request %d) within %s%s", did, op, id, time.Since(start).Round(time.Millisecond), d.lastWords()),
		context.DeadlineExceeded)
}

func (d *Driver) fault(problem string, err error) *DriverError {
	return &DriverError{Driver: d.name, Problem: problem, Err: err}
}

// fail breaks the driver: every call that waits, and every later one, gets the error. The first one stays.
func (d *Driver) fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err == nil && !isClosed(d.broken) {
		d.err = err
		close(d.broken)
		d.process.kill()
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// lastWords is the end of standard error, as an addition to an error.
func (d *Driver) lastWords() string {
	if text := d.stderr.lastWords(); text != "" {
		return "; its last words on stderr: " + protocol.Show([]byte(text))
	}
	return ""
}

func (d *Driver) note(fromDriver bool, line []byte) {
	if d.options.OnLine == nil {
		return
	}
	d.lineMu.Lock()
	defer d.lineMu.Unlock()
	text := d.redact.Redact(string(bytes.TrimRight(line, "\r\n")))
	d.options.OnLine(TranscriptLine{Time: d.options.Clock.Now(), FromDriver: fromDriver, Text: text})
}

func (d *Driver) write() {
	for {
		select {
		case line := <-d.lines:
			d.note(false, line)
			if _, err := d.process.stdin().Write(line); err != nil {
				// The end of standard output, when that comes too, explains more.
				select {
				case <-d.broken:
				case <-d.gone:
				case <-time.After(drainTime):
				}
				if !d.isStopping() {
					d.fail(d.fault("closed its standard input: "+err.Error(), err))
				}
				return
			}
		case <-d.broken:
			return
		}
	}
}

func (d *Driver) readStderr() {
	defer close(d.stderrDone)
	readText(d.process.stderr(), func(text string) {
		line := StderrLine{Time: d.options.Clock.Now(), Text: d.redact.Redact(text)}
		d.stderr.add(line)
		if d.options.OnStderr != nil {
			d.options.OnStderr(line)
		}
	})
}

// closePipes ends the readers once the driver has ended. Something that it started may hold its output open for ever.
func (d *Driver) closePipes() {
	<-d.process.exited()
	patience := time.After(drainTime)
	for _, done := range []<-chan struct{}{d.gone, d.stderrDone} {
		select {
		case <-done:
		case <-patience:
		}
	}
	d.process.stdin().Close()
	d.process.stdout().Close()
	d.process.stderr().Close()
}

func (d *Driver) readStdout() {
	defer close(d.gone)
	reader := bufio.NewReaderSize(d.process.stdout(), 64<<10)
	for {
		line, err := readLine(reader)
		switch {
		case errors.Is(err, errLong):
			d.fail(d.fault(fmt.Sprintf("printed a line of more than %d bytes, the limit; it begins: %s", protocol.MaxLine, d.redact.Show(line)), err))
			return
		case err != nil && len(line) > 0:
			d.note(true, line)
			d.fail(d.fault(fmt.Sprintf("stopped in the middle of a line%s; the %d bytes it left: %s", d.ending(), len(line), d.redact.Show(line)), err))
			return
		case err != nil:
			d.ended()
			return
		}
		d.note(true, line)
		if fault := d.handle(line); fault != nil {
			d.fail(fault)
			return
		}
	}
}

var errLong = errors.New("line too long")

// readLine reads a line without its newline. At the end of the input it returns the rest together with the error.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		chunk, err := r.ReadSlice('\n')
		line = append(line, chunk...)
		if err == nil {
			line = line[:len(line)-1]
		}
		if len(line) > protocol.MaxLine {
			return line, errLong
		}
		if err != bufio.ErrBufferFull {
			return line, err
		}
	}
}

// handle deals with one line. Its error breaks the driver; a bad answer to a known request concerns only its caller.
func (d *Driver) handle(raw []byte) error {
	line, err := protocol.ParseLine(raw)
	if err != nil {
		return d.fault("printed something that is not protocol: "+d.redact.Redact(err.Error())+
			"; standard output belongs to the protocol, everything else goes to stderr", err)
	}
	if line.IsEvent {
		parsed, err := line.Event()
		if err != nil {
			return d.fault("sent a bad event: "+d.redact.Redact(err.Error()), err)
		}
		event := Event{Event: parsed, Time: d.options.Clock.Now()}
		if !d.events.add(event) {
			return d.fault(fmt.Sprintf("sent an event for client %q, which was never opened", event.Client), nil)
		}
		if d.options.OnEvent != nil {
			d.options.OnEvent(event)
		}
		return nil
	}

	d.mu.Lock()
	w, ok := d.waiting[line.ID]
	delete(d.waiting, line.ID)
	op, late := d.abandoned[line.ID]
	delete(d.abandoned, line.ID)
	d.mu.Unlock()
	if !ok && !late {
		return d.fault(fmt.Sprintf("answered request %d, which does not wait for an answer: %s", line.ID, d.redact.Show(raw)), nil)
	}
	if ok {
		op = w.op
	}
	reply, err := line.Reply(op)
	if err != nil {
		err = d.fault("sent a bad answer: "+d.redact.Redact(err.Error()), err)
		if late {
			return err
		}
	}
	if ok {
		w.answer <- answer{reply, err}
	}
	return nil
}

// ended deals with the end of standard output between two lines.
func (d *Driver) ended() {
	if d.isStopping() {
		return
	}
	d.mu.Lock()
	unanswered := len(d.waiting)
	d.mu.Unlock()
	while := ""
	if unanswered > 0 {
		while = fmt.Sprintf(" with unanswered requests (%d)", unanswered)
	}
	d.fail(d.fault("stopped"+while+d.ending(), io.EOF))
}

// ending says how the process ended, with its last words. It waits a moment, since output ends a little before the process.
func (d *Driver) ending() string {
	select {
	case <-d.process.exited():
	case <-time.After(drainTime):
		return ": it closed its standard output but still runs" + d.lastWords()
	}
	how := d.process.status()
	if how == "" {
		how = "status 0"
	}
	first, _, _ := strings.Cut(how, "\n")
	select {
	case <-d.stderrDone: // its last words may still be in the pipe
	case <-time.After(drainTime):
	}
	words := d.lastWords()
	if strings.HasSuffix(words, first) { // a panic in this process stands in both
		words = ""
	}
	return ": it ended with " + first + words
}

func (d *Driver) isStopping() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stopping
}
