package fakeserver

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// FaultAction is what a fault does.
type FaultAction string

// What a fault does to a command. Commands that came before it in a pipeline are
// answered first, and those behind it wait, so that replies keep their order.
const (
	// FaultError answers with Error instead of running the command. Inside MULTI
	// that spoils the transaction, as any refused command does.
	FaultError FaultAction = "error"
	// FaultSlow runs the command, but only after Delay.
	FaultSlow FaultAction = "slow"
	// FaultHang neither runs nor answers the command until the fault is removed;
	// then it does both, unless the connection has ended.
	FaultHang FaultAction = "hang"
	// FaultClose closes the connection instead of running the command.
	FaultClose FaultAction = "close"
	// FaultReset resets it: the client sees ECONNRESET, over TLS without a
	// close_notify.
	FaultReset FaultAction = "reset"
	// FaultTruncate runs the command, sends no more than the first Bytes bytes of
	// the reply, and then does what Then says.
	FaultTruncate FaultAction = "truncate"
	// FaultDrop runs the command and does not send its reply. With Command
	// [FaultSignIn], InBatch and Failing it is the bug of redis/redis#15640.
	FaultDrop FaultAction = "drop"
	// FaultHalfOpen makes the connection seem alive and dead at once, as when a
	// packet filter has forgotten it: from this command on nothing that the client
	// sends arrives, and nothing that the cache sends leaves, its closing of the
	// connection included. When the fault is removed, what was held up goes on its
	// way.
	FaultHalfOpen FaultAction = "half-open"
)

// What a fault does to a connection that is being opened. Such a connection has a
// number, but there is no event that it was opened.
const (
	// FaultRefuse resets the connection as soon as it was accepted. (The port
	// itself stays open.)
	FaultRefuse FaultAction = "refuse"
	// FaultTLSRefuse answers the ClientHello with the alert handshake_failure.
	FaultTLSRefuse FaultAction = "tls-refuse"
	// FaultTLSClose closes the connection instead of answering the ClientHello.
	FaultTLSClose FaultAction = "tls-close"
	// FaultTLSHang does not answer the ClientHello until the fault is removed. That
	// the client has given up meanwhile is noticed only then.
	FaultTLSHang FaultAction = "tls-hang"
	// FaultTLSSlow answers it after Delay.
	FaultTLSSlow FaultAction = "tls-slow"
)

// FaultSignIn as the Command of a fault stands for AUTH and HELLO with AUTH.
const FaultSignIn = "sign-in"

// Fault makes commands or connections fail. It is counted and never random.
type Fault struct {
	Action FaultAction

	// Command is the command that fails, in any case, with its subcommand as in
	// "client|setname" or without it for all of them, or FaultSignIn; "" is every
	// command. Inside MULTI a command counts when it arrives; the calls that a
	// script makes do not count. It must be "" for a connection that is being
	// opened.
	Command string
	// User limits the fault to who is signed in so, or tries to sign in so with
	// this very command; "" is everybody.
	User string
	// Conn limits it to the connection of this number, Ordinal to the one that was
	// the Ordinal-th to be accepted since the fault was set, 1 being the first, and
	// ConnName to connections with this name (CLIENT SETNAME). Zero values do not
	// limit it.
	Conn     int64
	Ordinal  int
	ConnName string
	// InBatch limits it to commands that had come together with the one before
	// them: all of a pipeline but the first.
	InBatch bool
	// Failing limits it to commands that are answered with an error. It is for
	// FaultDrop and FaultTruncate.
	Failing bool
	// AtOnce makes the fault strike the open connections that match when it is set,
	// oldest first, rather than wait for their next command. It is for FaultClose,
	// FaultReset and FaultHalfOpen, without Command, InBatch and Ordinal.
	AtOnce bool

	// After is how many that match are let through before the first one fails: 2,
	// with Times 1, makes the third fail and no other. What an older fault takes is
	// not counted.
	After int
	// Times is how many fail. 0 means all of them until Remove is called.
	Times int

	// Delay, unless 0, is how long to wait, on the server's clock, before anything
	// is done. It ends early when the fault is removed. It is not for AtOnce.
	Delay time.Duration
	// Error is the text that FaultError answers, without the leading "-" and on one
	// line, such as "LOADING Redis is loading the dataset in memory".
	Error string
	// Bytes is how much of the reply FaultTruncate sends.
	Bytes int
	// Then is what FaultTruncate does after it: FaultClose, the default, or
	// FaultHang, which sends the rest when the fault is removed.
	Then FaultAction
}

var (
	commandFaults = []FaultAction{
		FaultError, FaultSlow, FaultHang, FaultClose, FaultReset, FaultTruncate, FaultDrop, FaultHalfOpen,
	}
	openingFaults = []FaultAction{FaultRefuse, FaultTLSRefuse, FaultTLSClose, FaultTLSHang, FaultTLSSlow}
)

func (f Fault) opening() bool { return slices.Contains(openingFaults, f.Action) }

func (f Fault) spoilsReply() bool { return f.Action == FaultDrop || f.Action == FaultTruncate }

func (f Fault) check() error {
	switch {
	case !f.opening() && !slices.Contains(commandFaults, f.Action):
		return fmt.Errorf("unknown action %q: expected one of %q or %q", f.Action, commandFaults, openingFaults)
	case f.After < 0 || f.Times < 0 || f.Delay < 0 || f.Bytes < 0 || f.Ordinal < 0 || f.Conn < 0:
		return fmt.Errorf("expected After, Times, Delay, Bytes, Ordinal and Conn of zero or more, got %d, %d, %s, %d, %d and %d",
			f.After, f.Times, f.Delay, f.Bytes, f.Ordinal, f.Conn)
	case f.opening() && (f.Command != "" || f.User != "" || f.ConnName != "" || f.InBatch):
		return fmt.Errorf("%s concerns a connection that is being opened: leave Command, User, ConnName and InBatch empty", f.Action)
	case (f.Action == FaultError) != (f.Error != ""):
		return fmt.Errorf("expected an Error for %s, and for nothing else, got %s with %q", FaultError, f.Action, f.Error)
	case strings.ContainsAny(f.Error, "\r\n"):
		return fmt.Errorf("an error is one line, got %q", f.Error)
	case (f.Action == FaultSlow || f.Action == FaultTLSSlow) && f.Delay == 0:
		return fmt.Errorf("%s needs a Delay", f.Action)
	case f.Failing && !f.spoilsReply():
		return fmt.Errorf("field Failing is for %s and %s, got %s", FaultDrop, FaultTruncate, f.Action)
	case f.Action != FaultTruncate && (f.Bytes != 0 || f.Then != ""):
		return fmt.Errorf("fields Bytes and Then are for %s, got %s", FaultTruncate, f.Action)
	case f.Then != "" && f.Then != FaultClose && f.Then != FaultHang:
		return fmt.Errorf("field Then: expected %s or %s, got %q", FaultClose, FaultHang, f.Then)
	case f.AtOnce && f.Action != FaultClose && f.Action != FaultReset && f.Action != FaultHalfOpen:
		return fmt.Errorf("field AtOnce is for %s, %s and %s, got %s", FaultClose, FaultReset, FaultHalfOpen, f.Action)
	case f.AtOnce && (f.Command != "" || f.InBatch || f.Ordinal != 0 || f.Delay != 0):
		return fmt.Errorf("field AtOnce strikes connections that are there: leave Command, InBatch, Ordinal and Delay empty")
	}
	return nil
}

// FaultHandle follows a fault that was set.
type FaultHandle struct {
	s       *Server
	id      int64
	fault   Fault
	base    int64 // the number of the last connection when it was set
	removed chan struct{}

	// Guarded by faults.mu.
	matched int
	fired   int
	spent   bool // it has fired Times times
	gone    bool // removed is closed
	gates   []*gate
}

// faultList are the faults set at present, oldest first.
type faultList struct {
	// commands and opening are those that can still fire; nil if there are none, so
	// that a server without faults pays for one load.
	commands, opening atomic.Pointer[[]*FaultHandle]

	mu   sync.Mutex
	last int64
	all  []*FaultHandle
}

// AddFault makes coming commands or connections fail as the fault says, or those
// that are there with AtOnce. Of several faults for the same command the oldest is
// used. Whenever a fault fires, EventFault tells. The error says which fields make
// no sense.
func (s *Server) AddFault(f Fault) (*FaultHandle, error) {
	if err := f.check(); err != nil {
		return nil, fmt.Errorf("add fault: %w", err)
	}
	f.Command = strings.ToLower(f.Command)
	h := &FaultHandle{s: s, fault: f, removed: make(chan struct{})}
	s.connsMu.Lock()
	h.base = s.lastConn
	s.connsMu.Unlock()
	s.faults.mu.Lock()
	s.faults.last++
	h.id = s.faults.last
	s.faults.all = append(s.faults.all, h)
	s.faults.publish()
	s.faults.mu.Unlock()
	if f.AtOnce {
		h.strike()
	}
	return h, nil
}

// Fail is AddFault for tests: it panics on a fault that AddFault refuses.
func (s *Server) Fail(f Fault) *FaultHandle {
	h, err := s.AddFault(f)
	if err != nil {
		panic(err)
	}
	return h
}

// Faults lists the faults that were set and not removed, oldest first.
func (s *Server) Faults() []*FaultHandle {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	return slices.Clone(s.faults.all)
}

// RemoveFaults removes every fault and lets go of what they hold.
func (s *Server) RemoveFaults() {
	for _, h := range s.Faults() {
		h.Remove()
	}
}

// ID numbers the faults of a server from 1.
func (h *FaultHandle) ID() int64 { return h.id }

// Fault is what the fault was set as.
func (h *FaultHandle) Fault() Fault { return h.fault }

// Matched tells how many commands or connections were as the fault asks, those
// that After let through included.
func (h *FaultHandle) Matched() int {
	h.s.faults.mu.Lock()
	defer h.s.faults.mu.Unlock()
	return h.matched
}

// Fired tells how many the fault has hit.
func (h *FaultHandle) Fired() int {
	h.s.faults.mu.Lock()
	defer h.s.faults.mu.Unlock()
	return h.fired
}

// Remove ends the fault and lets go of what it holds, also when it has fired as
// often as it was to. It may be called more than once.
func (h *FaultHandle) Remove() {
	f := &h.s.faults
	f.mu.Lock()
	f.all = slices.DeleteFunc(slices.Clone(f.all), func(other *FaultHandle) bool { return other == h })
	f.publish()
	gates := h.gates
	h.gates = nil
	if !h.gone {
		h.gone = true
		close(h.removed)
	}
	f.mu.Unlock()
	for _, g := range gates {
		g.open()
	}
}

// publish makes the lists for those who look without the lock; f.mu is held.
func (f *faultList) publish() {
	var commands, opening []*FaultHandle
	for _, h := range f.all {
		switch {
		case h.spent || h.fault.AtOnce:
		case h.fault.opening():
			opening = append(opening, h)
		default:
			commands = append(commands, h)
		}
	}
	store(&f.commands, commands)
	store(&f.opening, opening)
}

func store(to *atomic.Pointer[[]*FaultHandle], list []*FaultHandle) {
	if len(list) == 0 {
		to.Store(nil)
		return
	}
	to.Store(&list)
}

// take counts one that matches, and says whether the fault fires.
func (h *FaultHandle) take() bool {
	f := &h.s.faults
	f.mu.Lock()
	defer f.mu.Unlock()
	if h.spent || h.gone {
		return false
	}
	h.matched++
	if h.matched <= h.fault.After {
		return false
	}
	h.fired++
	if h.fired == h.fault.Times {
		h.spent = true
		f.publish()
	}
	return true
}

// concerns says whether the fault is about the connection.
func (h *FaultHandle) concerns(c *connection) bool {
	f := &h.fault
	if f.Conn != 0 && f.Conn != c.id || f.Ordinal != 0 && h.base+int64(f.Ordinal) != c.id {
		return false
	}
	if f.ConnName == "" {
		return true
	}
	named := false
	c.status.update(func(st *status) { named = st.name == f.ConnName })
	return named
}

// concernsCommand says whether it is about the command.
func (h *FaultHandle) concernsCommand(q *request, name, tried string) bool {
	f := &h.fault
	switch {
	case f.Command == "":
	case f.Command == FaultSignIn:
		if name != "auth" && (name != "hello" || tried == "") {
			return false
		}
	case f.Command != name && !strings.HasPrefix(name, f.Command+"|"):
		return false
	}
	return (f.User == "" || f.User == q.c.user() || f.User == tried) && (!f.InBatch || q.faulty.inBatch) && h.concerns(q.c)
}

// note tells that the fault fired.
func (h *FaultHandle) note(c *connection, command string) {
	what := "connection " + fmt.Sprint(c.id)
	if command != "" {
		what = strings.ToUpper(command) + " on " + what
	}
	detail := fmt.Sprintf("fault %d hits %s: %s", h.id, what, h.fault.Action)
	if h.fault.Error != "" {
		detail += ": -" + h.fault.Error
	}
	h.s.record(Event{Kind: EventFault, Conn: c.id, Command: command, User: c.user(), Proto: c.protocol(), Detail: detail})
}

// strike is AtOnce.
func (h *FaultHandle) strike() {
	for _, c := range h.s.connections() {
		if (h.fault.User == "" || h.fault.User == c.user()) && h.concerns(c) && h.take() {
			h.note(c, "")
			h.end(c)
		}
	}
}

// end does to a connection, from any goroutine, what the fault says.
func (h *FaultHandle) end(c *connection) {
	switch h.fault.Action {
	case FaultClose:
		c.kill(ReasonFault)
	case FaultReset:
		c.reset()
	case FaultHalfOpen:
		h.shut(c, true)
	}
}

// shut closes a gate on the connection, which opens when the fault is removed.
func (h *FaultHandle) shut(c *connection, both bool) {
	g := c.wire.shut(both)
	if g == nil {
		return // there is one
	}
	h.s.faults.mu.Lock()
	gone := h.gone
	if !gone {
		h.gates = append(h.gates, g)
	}
	h.s.faults.mu.Unlock()
	if gone {
		g.open()
	}
}

// reset ends the connection so that the client sees a reset.
func (c *connection) reset() {
	if c.end(ReasonFault) {
		abort(c.socket)
		_ = c.guard.Close()
	}
}

// abort closes a socket with a reset, where it can be.
func abort(socket interface{ Close() error }) {
	if l, ok := socket.(interface{ SetLinger(int) error }); ok {
		_ = l.SetLinger(0)
	}
	_ = socket.Close()
}

// spoiling is what a command knows of the faults.
type spoiling struct {
	inBatch   bool           // it had come together with the command before
	by        *FaultHandle   // spoils the reply
	left      int            // how many bytes of the reply by lets through
	rest      []byte         // what it held back
	ifFailing []*FaultHandle // those that spoil the reply if it is an error
}

// dispatchFaulty is dispatch while faults are set.
func (q *request) dispatchFaulty(active []*FaultHandle) {
	q.faulty = &spoiling{inBatch: q.c.behind}
	if q.suffer(active) {
		q.dispatch()
	}
	q.emit()
	q.spoiled()
	q.emit()
	q.c.behind = len(q.c.rc.PeekPipeline()) > 0 || q.c.guard.Buffered()
}

// suffer lets the faults have their way with a command that has come. It reports
// whether the command is to be run.
func (q *request) suffer(active []*FaultHandle) bool {
	cmd, container := q.s.table.Find(q.args)
	if q.cmd = cmd; cmd == nil {
		q.cmd = container
	}
	name, tried := q.name(), q.triedUser()
	for _, h := range active {
		if h.fault.Failing {
			if h.concernsCommand(q, name, tried) {
				q.faulty.ifFailing = append(q.faulty.ifFailing, h)
			}
			continue
		}
		if h.concernsCommand(q, name, tried) && h.take() {
			return q.undergo(h)
		}
	}
	return true
}

// triedUser is whom the command tries to sign in, "" if it does not.
func (q *request) triedUser() string {
	switch {
	case q.cmd == nil:
	case q.cmd.Name == "auth" && (len(q.args) == 2 || len(q.args) == 3):
		user, _ := authArguments(q.args[1:])
		return user
	case q.cmd.Name == "hello":
		for i := 2; i+2 < len(q.args); i++ {
			if equalFold(q.args[i], "auth") {
				return string(q.args[i+1])
			}
		}
	}
	return ""
}

func (q *request) undergo(h *FaultHandle) bool {
	f, c := h.fault, q.c
	h.note(c, q.name())
	if f.Delay > 0 && !q.hold(h, f.Delay) {
		return false
	}
	switch f.Action {
	case FaultError:
		q.rejected(f.Error)
		q.logged()
		return false
	case FaultHang:
		return q.hold(h, 0)
	case FaultClose, FaultReset:
		q.flush()
		h.end(c)
		return false
	case FaultHalfOpen:
		q.flush()
		h.end(c)
		return q.hold(h, 0)
	case FaultTruncate, FaultDrop:
		q.faulty.by, q.faulty.left = h, f.Bytes
	}
	return true
}

// hold waits until the fault is removed or, unless d is 0, that long. It reports
// whether the connection is still there.
func (q *request) hold(h *FaultHandle, d time.Duration) bool {
	c := q.c
	q.flush() // what was asked before is answered
	c.postponed.Store(true)
	defer c.postponed.Store(false)
	left, stop := c.guard.WatchDisconnect()
	defer stop()
	switch h.wait(c, d, left) {
	case waitEnded:
	case waitLeft:
		c.kill(ReasonClientClosed)
		return false
	case waitClosed:
		return false
	}
	c.tick()
	if c.expired(c.moment) {
		c.kill(ReasonTokenExpired)
		return false
	}
	return true
}

type waitResult int

const (
	waitEnded  waitResult = iota // the time is over, or the fault was removed
	waitLeft                     // the client has left
	waitClosed                   // the connection was closed from here
)

func (h *FaultHandle) wait(c *connection, d time.Duration, left <-chan struct{}) waitResult {
	var timer <-chan time.Time
	if d > 0 {
		t := h.s.opts.clock.NewTimer(d)
		defer t.Stop()
		timer = t.Chan()
	}
	select {
	case <-timer:
		return waitEnded
	case <-h.removed:
		return waitEnded
	case <-left:
		return waitLeft
	case <-c.gone:
		return waitClosed
	}
}

// spoil does to the reply what a fault says. It is called with each part of it.
func (q *request) spoil() {
	x := q.faulty
	if x.by == nil && q.failed {
		for _, h := range x.ifFailing {
			if h.take() {
				h.note(q.c, q.name())
				x.by, x.left = h, h.fault.Bytes
				break
			}
		}
	}
	x.ifFailing = nil
	switch {
	case x.by == nil:
	case x.by.fault.Action == FaultDrop:
		q.out = q.out[:0]
	case len(q.out) <= x.left:
		x.left -= len(q.out)
	default:
		x.rest = append(x.rest, q.out[x.left:]...)
		q.out = q.out[:x.left]
		x.left = 0
	}
}

// spoiled ends a command whose reply was cut short.
func (q *request) spoiled() {
	h, rest := q.faulty.by, q.faulty.rest
	q.faulty = nil
	if h == nil || h.fault.Action != FaultTruncate || !q.c.alive() {
		return
	}
	q.flush()
	if h.fault.Then != FaultHang {
		q.c.kill(ReasonFault)
		return
	}
	// What other goroutines send, messages of a channel say, must not get into
	// the middle of the reply.
	h.shut(q.c, false)
	q.out = append(q.out, rest...)
	q.hold(h, 0)
}

// sufferOpening lets the faults have their way with a connection that is being
// opened. It reports whether it is to be opened.
func (c *connection) sufferOpening(tlsPort bool) bool {
	active := c.s.faults.opening.Load()
	if active == nil {
		return true
	}
	for _, h := range *active {
		if (tlsPort || h.fault.Action == FaultRefuse) && h.concerns(c) && h.take() {
			return c.undergoOpening(h)
		}
	}
	return true
}

func (c *connection) undergoOpening(h *FaultHandle) bool {
	h.note(c, "")
	if h.fault.Delay > 0 && h.wait(c, h.fault.Delay, nil) != waitEnded {
		return false
	}
	switch h.fault.Action {
	case FaultRefuse:
		c.reset()
		return false
	case FaultTLSHang:
		return h.wait(c, 0, nil) == waitEnded
	case FaultTLSRefuse, FaultTLSClose:
		// Read first: closing with something unread would be a reset.
		_ = c.wire.SetReadDeadline(time.Now().Add(c.s.opts.handshakeTimeout))
		if err := discardRecord(c.wire); err == nil && h.fault.Action == FaultTLSRefuse {
			_, _ = c.wire.Write(handshakeFailure)
		}
		c.kill(ReasonFault)
		return false
	}
	return true
}

// handshakeFailure is a TLS record: alert, version 1.2, 2 bytes, fatal,
// handshake_failure (RFC 8446, section 6).
var handshakeFailure = []byte{21, 3, 3, 0, 2, 2, 40}

// discardRecord reads one TLS record: type, version, length, and so many bytes.
func discardRecord(r io.Reader) error {
	var header [5]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return err
	}
	_, err := io.CopyN(io.Discard, r, int64(binary.BigEndian.Uint16(header[3:])))
	return err
}
