package driver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/entracache/entracache/scenarios/protocol"
)

// CheckState is the outcome of one check.
type CheckState string

// The outcomes of a check.
const (
	CheckOK      CheckState = "ok"
	CheckFailed  CheckState = "failed"
	CheckSkipped CheckState = "skipped" // Why says what it would have needed
)

// Check is one rule of the protocol, held against a driver.
type Check struct {
	Name  string // what a driver does that keeps the rule
	State CheckState
	Why   string // what was seen, unless ok
	Do    string // what to change, if failed
}

// DoctorOptions are for [Doctor].
type DoctorOptions struct {
	Start Options
	// Open, if set, makes an open request that leads to a cache that works, for a client with the given name. Then the checks
	// that need one are run too.
	Open func(client string) protocol.Request
	// Patience bounds each answer; default 15 s.
	Patience time.Duration
}

// Doctor holds a driver against the rules of the protocol and returns one [Check] for each rule, in a fixed order. It starts
// the driver several times. Only ctx's cancellation is an error.
func Doctor(ctx context.Context, target Target, options DoctorOptions) ([]Check, error) {
	if options.Patience == 0 {
		options.Patience = 15 * time.Second
	}
	doc := &doctor{target: target, options: options}
	defer doc.dismiss()
	for _, rule := range doc.rules() {
		if ctx.Err() != nil {
			return doc.checks, context.Cause(ctx)
		}
		doc.run(ctx, rule)
	}
	return doc.checks, nil
}

type doctor struct {
	target  Target
	options DoctorOptions
	driver  *Driver // shared by the checks that leave it well; nil if there is none
	mute    bool    // the driver cannot even say hello
	ended   bool    // because it ended, or could not be started
	noise   error   // the first thing on standard output that was not protocol
	checks  []Check
}

type rule struct {
	name string
	do   string
	run  func(ctx context.Context) error
	mute bool // makes sense for a driver that cannot say hello
}

// skipError says why a check could not be made.
type skipError struct{ why string }

func (e skipError) Error() string { return e.why }

func (doc *doctor) rules() []rule {
	rules := []rule{
		{name: "answers hello", do: "Read lines of JSON from standard input; answer {\"op\":\"hello\"} with protocol, driver and capabilities.", run: doc.hello},
		{name: "names its library's version", do: "Read the version from the installed package at run time and put the client library first in driver.libraries.", run: doc.version},
		{name: "agrees with its " + ConfigFile, do: "Make name, library and capabilities the same in both.", run: doc.agrees},
		{name: "can sign in somehow", do: "Declare credential:client-secret or credential:access-key.", run: doc.credential},
		{name: "refuses another protocol number", do: "Compare \"protocol\" in hello with 1; answer any other with an error of kind unsupported.", run: doc.otherProtocol},
		{name: "answers unsupported to an unknown op", do: "Give the switch on \"op\" a default that answers with an error of kind unsupported.", run: doc.unknownOp},
		{name: "answers unsupported to an unknown credential", do: "Look at credential.kind before anything else in open.", run: doc.unknownCredential},
		{name: "answers closed for an unknown client", do: "Answer every op for a client that is not open with an error of kind closed.", run: doc.unknownClient},
		{name: "ignores members that it does not know", do: "Read the members you know and ignore the rest; treat null as absent.", run: doc.unknownMembers},
		{name: "reads lines of up to 1 MiB", do: "Raise the limit of the line reader; many default to 64 KiB.", run: doc.longLine},
		{name: "answers others while one request waits", do: "Handle each request in a thread or task of its own; one lock around writing a line is enough.", run: doc.concurrent},
		{name: "ends with status 0 after shutdown", do: "Answer shutdown, then exit with status 0 even if clients are open.", run: doc.shutdown},
		{name: "ends when its standard input ends", do: "Exit with status 0 when reading standard input meets its end.", run: doc.eof},
	}
	if doc.options.Open != nil {
		rules = append(rules,
			rule{name: "opens a client and runs commands", do: "Report the reply as the library gives it, with its type.", run: doc.commands},
			rule{name: "reports a server's error as kind redis", do: "Map the library's server-error type to kind redis and put the error's first word into code.", run: doc.serverError},
			rule{name: "does not let a blocking command hold up others", do: "Use the library's pool, or a thread or task for each request.", run: doc.blocking},
			rule{name: "delivers published messages", do: "Answer subscribe once the library has it confirmed, then send a message event for each message.", run: doc.pubsub},
			rule{name: "runs transactions", do: "Keep the transaction from begin to exec, then report the library's list of replies as an array.", run: doc.transactions},
			rule{name: "forgets a closed client", do: "Close the client and its credential provider, then answer closed to whatever names it.", run: doc.closing},
		)
	}
	return append(rules, rule{name: "keeps its standard output for the protocol", mute: true, run: doc.quiet,
		do: "Make this the first thing the program does: keep the real standard output for the protocol and point descriptor 1 at stderr."})
}

func (doc *doctor) run(ctx context.Context, r rule) {
	check := Check{Name: r.name, State: CheckOK}
	err := error(skipError{"it needs a driver that answers hello"})
	if !doc.mute || r.mute {
		bounded, cancel := context.WithTimeout(ctx, 4*doc.options.Patience)
		err = r.run(bounded)
		cancel()
	}
	var skip skipError
	switch {
	case errors.As(err, &skip):
		check.State, check.Why = CheckSkipped, skip.why
	case err != nil:
		check.State, check.Why, check.Do = CheckFailed, err.Error(), r.do
		if doc.mute && !r.mute {
			check.Do = doc.whyMute()
		}
	}
	doc.checks = append(doc.checks, check)
	if doc.driver != nil && doc.driver.Err() != nil {
		doc.dismiss()
	}
}

// whyMute says what to do about a driver that could not say hello: it matters whether it printed something else, ended, or never
// began.
func (doc *doctor) whyMute() string {
	switch {
	case doc.noise != nil:
		return "Keep the real standard output for the protocol, before anything can print, and point what the language calls standard output at stderr."
	case doc.ended:
		return "Run the command by hand and look at what it prints: it must start, and wait for lines on its standard input."
	default:
		return "Read lines of JSON from standard input; answer {\"op\":\"hello\"} with protocol, driver and capabilities."
	}
}

// start starts the driver without hello.
func (doc *doctor) start() (*Driver, error) { return launch(doc.target, doc.options.Start) }

// patient is a driver that has said hello; it is started anew if an earlier check broke it.
func (doc *doctor) patient(ctx context.Context) (*Driver, error) {
	if doc.driver != nil {
		return doc.driver, nil
	}
	d, err := doc.start()
	if err != nil {
		doc.ended = true
		return nil, err
	}
	if err := d.shakeHands(ctx); err != nil {
		doc.ended = isClosed(d.process.exited())
		doc.heard(d)
		d.abort()
		return nil, err
	}
	doc.driver = d
	return d, nil
}

// heard remembers what a driver printed that it should not have.
func (doc *doctor) heard(d *Driver) {
	var line *protocol.LineError
	if doc.noise == nil && errors.As(d.Err(), &line) && line.What == "line" {
		doc.noise = d.Err()
	}
}

func (doc *doctor) dismiss() {
	if doc.driver != nil {
		doc.heard(doc.driver)
		doc.driver.abort()
		doc.driver = nil
	}
}

// within bounds one answer.
func (doc *doctor) within(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, doc.options.Patience)
}

func (doc *doctor) call(ctx context.Context, request protocol.Request) (*Driver, protocol.Reply, error) {
	d, err := doc.patient(ctx)
	if err != nil {
		return nil, protocol.Reply{}, err
	}
	ctx, cancel := doc.within(ctx)
	defer cancel()
	reply, err := d.call(ctx, request)
	return d, reply, err
}

func (doc *doctor) hello(ctx context.Context) error {
	_, err := doc.patient(ctx)
	doc.mute = err != nil
	return err
}

func (doc *doctor) version(ctx context.Context) error {
	d, err := doc.patient(ctx)
	if err != nil {
		return err
	}
	for _, library := range d.hello.Driver.Libraries {
		if !strings.ContainsAny(library.Version, "0123456789") {
			return fmt.Errorf("the version of %s is given as %q, which is none", library.Name, library.Version)
		}
	}
	return nil
}

func (doc *doctor) agrees(ctx context.Context) error {
	if doc.target.pinned == nil {
		return skipError{"it was given as a command, without a " + ConfigFile}
	}
	d, err := doc.patient(ctx)
	if err != nil {
		return err
	}
	if found := doc.target.pinned.disagreements(d.hello); len(found) > 0 {
		return errors.New(strings.Join(found, "; "))
	}
	return nil
}

func (doc *doctor) credential(ctx context.Context) error {
	d, err := doc.patient(ctx)
	if err != nil {
		return err
	}
	if !d.Declares(protocol.CapClientSecret) && !d.Declares(protocol.CapAccessKey) {
		return fmt.Errorf("it declares neither %s nor %s", protocol.CapClientSecret, protocol.CapAccessKey)
	}
	return nil
}

func (doc *doctor) otherProtocol(ctx context.Context) error {
	d, err := doc.start()
	if err != nil {
		return err
	}
	defer d.abort()
	defer doc.heard(d)
	ctx, cancel := doc.within(ctx)
	defer cancel()
	const other = protocol.Version + 998
	// A driver that says ok here would say protocol 999, which the schema forbids, or 1, which is not what was asked: the
	// schema's complaint would hide what is wrong.
	reply, err := d.call(ctx, protocol.Request{Op: protocol.OpHello, Protocol: other, Harness: d.options.Harness})
	var line *protocol.LineError
	if errors.As(err, &line) && line.Field == "protocol" {
		return fmt.Errorf("it accepted protocol %d, which does not exist: %s", other, line.Line)
	}
	return d.mustBe(protocol.KindUnsupported, fmt.Sprintf("protocol %d, which does not exist,", other), reply, err)
}

func (doc *doctor) unknownOp(ctx context.Context) error {
	d, err := doc.patient(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := doc.within(ctx)
	defer cancel()
	return d.probeUnknownOp(ctx)
}

func (doc *doctor) unknownCredential(ctx context.Context) error {
	d, err := doc.patient(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := doc.within(ctx)
	defer cancel()
	return d.probeUnknownCredential(ctx)
}

func (doc *doctor) unknownClient(ctx context.Context) error {
	d, err := doc.patient(ctx)
	if err != nil {
		return err
	}
	requests := []protocol.Request{protocol.Close("nobody"), protocol.Command("nobody", "PING")}
	if d.Declares(protocol.CapPubSub) {
		requests = append(requests, protocol.Subscribe("nobody", "news"))
	}
	if d.Declares(protocol.CapTransactions) {
		requests = append(requests, protocol.Begin("nobody", nil, []string{"PING"}), protocol.Exec("nobody"))
	}
	for _, request := range requests {
		d, reply, err := doc.call(ctx, request)
		if d == nil {
			return err
		}
		if err := d.mustBe(protocol.KindClosed, fmt.Sprintf("%s on a client that was never opened", request.Op), reply, err); err != nil {
			return err
		}
	}
	return nil
}

// closeNobody sends a close for an unknown client with further members. Any driver can answer that without a network.
func (doc *doctor) closeNobody(ctx context.Context, asked string, members map[string]any) error {
	d, err := doc.patient(ctx)
	if err != nil {
		return err
	}
	members["client"] = "nobody"
	ctx, cancel := doc.within(ctx)
	defer cancel()
	reply, err := d.callRaw(ctx, protocol.OpClose, members)
	return d.mustBe(protocol.KindClosed, asked, reply, err)
}

func (doc *doctor) unknownMembers(ctx context.Context) error {
	return doc.closeNobody(ctx, "close on an unknown client, with members that do not exist and one that is null,",
		map[string]any{"x-list": []any{1, "two", nil}, "x-object": map[string]any{"a": true}, "x-text": "é ✓ 😀", "scenario": nil})
}

func (doc *doctor) longLine(ctx context.Context) error {
	const room = 200 // for the other members
	return doc.closeNobody(ctx, fmt.Sprintf("close on an unknown client, in a line of nearly %d bytes,", protocol.MaxLine),
		map[string]any{"x-filler": strings.Repeat("x", protocol.MaxLine-room)})
}

// concurrent opens a client on a listener that never says a word and asks other things meanwhile.
func (doc *doctor) concurrent(ctx context.Context) error {
	d, err := doc.patient(ctx)
	if err != nil {
		return err
	}
	silence := min(4*time.Second, doc.options.Patience)
	hole, err := newBlackHole(silence)
	if err != nil {
		return err
	}
	defer hole.close()

	client := nonsense()
	open := protocol.Request{
		Client: client, Scenario: "doctor", Cache: &protocol.Cache{Host: "127.0.0.1", Port: hole.port(), CAPEM: someCA()},
		Credential: &protocol.Credential{Kind: protocol.CredentialAccessKey, AccessKey: nonsense()},
		Options:    &protocol.Options{ConnectTimeoutMS: int(silence.Milliseconds()), CommandTimeoutMS: int(silence.Milliseconds())},
	}
	switch {
	case d.Declares(protocol.CapAccessKey):
	case d.Declares(protocol.CapClientSecret):
		open.Entra = nowhere(fmt.Sprintf("127.0.0.1:%d", hole.port()))
		open.Credential = &protocol.Credential{Kind: protocol.CredentialClientSecret, ClientID: nonsense(), ClientSecret: nonsense()}
		open.Scopes = []string{"https://redis.azure.com/.default"}
	default:
		return skipError{"it declares no credential"}
	}

	slow := make(chan error, 1)
	var slowDone atomic.Bool
	start := time.Now()
	waiting, giveUp := context.WithCancel(ctx)
	defer giveUp()
	go func() {
		reply, err := d.call(waiting, protocol.Open(open))
		if err == nil && reply.OK { // it connects at the first command
			_, err = d.call(waiting, protocol.Command(client, "PING"))
		}
		slowDone.Store(true)
		slow <- err
	}()
	if !hole.visited(silence) {
		return skipError{"neither open nor a command led to a connection within " + silence.String()}
	}
	const others = 10
	var unanswered, late atomic.Int32
	var group sync.WaitGroup
	for range others {
		group.Go(func() {
			ctx, cancel := doc.within(ctx)
			defer cancel()
			_, err := d.call(ctx, protocol.Close("nobody")) // what it answers is another rule's affair
			switch {
			case errors.Is(err, context.DeadlineExceeded):
				unanswered.Add(1)
			case slowDone.Load():
				late.Add(1)
			}
		})
	}
	group.Wait()
	took := time.Since(start)
	hole.close() // from here on a connection is refused at once
	switch {
	case d.Err() != nil:
		return d.Err()
	case unanswered.Load() > 0 || late.Load() > 0 && took > silence/2:
		return fmt.Errorf("while one request waited for a cache that says nothing, %d of %d other requests were not answered before it",
			unanswered.Load()+late.Load(), others)
	case late.Load() > 0:
		return skipError{"the request that should have waited was answered at once"}
	}
	// Whether the client exists by now is the library's affair, and so is how long it goes on trying. That closing it is
	// answered, one way or the other, is the rule.
	if _, _, err := doc.call(ctx, protocol.Close(client)); err != nil {
		return err
	}
	select {
	case err := <-slow:
		return err
	case <-time.After(silence):
		return nil
	}
}

func (doc *doctor) shutdown(ctx context.Context) error {
	d, err := doc.patient(ctx)
	if err != nil {
		return err
	}
	doc.driver = nil
	err = d.Stop()
	doc.heard(d)
	return err
}

func (doc *doctor) eof(ctx context.Context) error {
	d, err := doc.patient(ctx)
	if err != nil {
		return err
	}
	doc.driver = nil
	err = d.stopByEOF()
	doc.heard(d)
	return err
}

func (doc *doctor) quiet(context.Context) error {
	doc.dismiss()
	return doc.noise
}

// opened runs a check with a client that works.
func (doc *doctor) opened(ctx context.Context, use func(d *Driver, client string) error) error {
	client := "doctor-" + nonsense()
	d, reply, err := doc.call(ctx, protocol.Open(doc.options.Open(client)))
	switch {
	case err != nil:
		return err
	case !reply.OK:
		return fmt.Errorf("open failed: %w", reply.Error)
	}
	useErr := use(d, client)
	if _, _, err := doc.call(ctx, protocol.Close(client)); useErr == nil && d.Err() == nil {
		return err
	}
	return useErr
}

// expect runs a command and compares its reply.
func (doc *doctor) expect(ctx context.Context, client string, want protocol.Value, args ...string) error {
	_, reply, err := doc.call(ctx, protocol.Command(client, args...))
	switch {
	case err != nil:
		return err
	case !reply.OK:
		return fmt.Errorf("%s failed: %w", args[0], reply.Error)
	case !reply.Value.Equal(want):
		return fmt.Errorf("%s: expected %s, got %s", strings.Join(args, " "), want, reply.Value)
	}
	return nil
}

func (doc *doctor) commands(ctx context.Context) error {
	return doc.opened(ctx, func(_ *Driver, client string) error {
		key := "doctor:" + nonsense()
		const value = "é ✓ 😀"
		return firstError(
			doc.expect(ctx, client, protocol.Simple("PONG"), "PING"),
			doc.expect(ctx, client, protocol.Simple("OK"), "SET", key, value),
			doc.expect(ctx, client, protocol.Bulk(value), "GET", key),
			doc.expect(ctx, client, protocol.Integer(int64(len(value))), "STRLEN", key),
			doc.expect(ctx, client, protocol.Null(), "GET", key+":none"),
			doc.expect(ctx, client, protocol.Array(protocol.Bulk(value), protocol.Null()), "MGET", key, key+":none"),
		)
	})
}

func (doc *doctor) serverError(ctx context.Context) error {
	return doc.opened(ctx, func(_ *Driver, client string) error {
		d, reply, err := doc.call(ctx, protocol.Command(client, "NO-SUCH-COMMAND"))
		if d == nil {
			return err
		}
		if err := d.mustBe(protocol.KindRedis, "a command that the server does not know", reply, err); err != nil {
			return err
		}
		if reply.Error.Code != "ERR" {
			return fmt.Errorf("the code of %q must be ERR, the first word of the server's error, but is %q", reply.Error.Message, reply.Error.Code)
		}
		return nil
	})
}

func (doc *doctor) blocking(ctx context.Context) error {
	return doc.opened(ctx, func(d *Driver, client string) error {
		if !d.Declares(protocol.CapBlocking) {
			return skipError{"it does not declare " + string(protocol.CapBlocking)}
		}
		const seconds = 2
		var blocked atomic.Bool
		blocked.Store(true)
		done := make(chan error, 1)
		go func() {
			_, err := d.call(ctx, protocol.Command(client, "BLPOP", "doctor:"+nonsense(), strconv.Itoa(seconds)))
			blocked.Store(false)
			done <- err
		}()
		// Several, spread over a third of a second, so that most of them come after the BLPOP.
		const pings, apart = 10, 30 * time.Millisecond
		start := time.Now()
		var err error
		for range pings {
			err = firstError(err, doc.expect(ctx, client, protocol.Simple("PONG"), "PING"))
			time.Sleep(apart)
		}
		took, held := time.Since(start), !blocked.Load()
		if err = firstError(err, <-done); err != nil {
			return err
		}
		switch {
		case held && took > seconds*time.Second/2:
			return fmt.Errorf("PING was answered only after a BLPOP of %d seconds on the same client", seconds)
		case held:
			return skipError{"a BLPOP on an empty list did not block"}
		}
		return nil
	})
}

func (doc *doctor) pubsub(ctx context.Context) error {
	return doc.opened(ctx, func(d *Driver, client string) error {
		if !d.Declares(protocol.CapPubSub) {
			return skipError{"it does not declare " + string(protocol.CapPubSub)}
		}
		channel := "doctor:" + nonsense()
		d, reply, err := doc.call(ctx, protocol.Subscribe(client, channel))
		switch {
		case err != nil:
			return err
		case !reply.OK:
			return fmt.Errorf("subscribe failed: %w", reply.Error)
		}
		return doc.opened(ctx, func(_ *Driver, publisher string) error {
			_, reply, err := doc.call(ctx, protocol.Command(publisher, "PUBLISH", channel, "hello"))
			switch {
			case err != nil:
				return err
			case !reply.OK:
				return fmt.Errorf("PUBLISH failed: %w", reply.Error)
			}
			waiting, cancel := doc.within(ctx)
			defer cancel()
			_, err = d.WaitEvent(waiting, client, func(e Event) bool {
				return e.Kind == protocol.EventMessage && e.Channel == channel && e.Value == "hello"
			})
			if err != nil && d.Err() == nil {
				return fmt.Errorf("no message event for a message published after subscribe was answered, within %s", doc.options.Patience)
			}
			return err
		})
	})
}

func (doc *doctor) transactions(ctx context.Context) error {
	return doc.opened(ctx, func(d *Driver, client string) error {
		if !d.Declares(protocol.CapTransactions) {
			return skipError{"it does not declare " + string(protocol.CapTransactions)}
		}
		key := "doctor:" + nonsense()
		_, reply, err := doc.call(ctx, protocol.Begin(client, nil, []string{"SET", key, "four"}, []string{"STRLEN", key}))
		if err == nil && !reply.OK {
			err = fmt.Errorf("begin failed: %w", reply.Error)
		}
		if err != nil {
			return err
		}
		_, reply, err = doc.call(ctx, protocol.Exec(client))
		switch {
		case err != nil:
			return err
		case !reply.OK:
			return fmt.Errorf("exec failed: %w", reply.Error)
		case len(reply.Value.Items) != 2 || !reply.Value.Items[1].Equal(protocol.Integer(int64(len("four")))):
			return fmt.Errorf("a transaction of SET and STRLEN was answered %s", reply.Value)
		}
		return nil
	})
}

func (doc *doctor) closing(ctx context.Context) error {
	client := ""
	err := doc.opened(ctx, func(_ *Driver, c string) error { client = c; return nil })
	if err != nil {
		return err
	}
	for _, request := range []protocol.Request{protocol.Close(client), protocol.Command(client, "PING")} {
		d, reply, err := doc.call(ctx, request)
		if d == nil {
			return err
		}
		if err := d.mustBe(protocol.KindClosed, fmt.Sprintf("%s on a client that has been closed", request.Op), reply, err); err != nil {
			return err
		}
	}
	return nil
}

func firstError(errs ...error) error {
	if at := slices.IndexFunc(errs, func(err error) bool { return err != nil }); at >= 0 {
		return errs[at]
	}
	return nil
}

// blackHole is a listener that takes connections and says nothing, until it hangs up.
type blackHole struct {
	listener net.Listener
	first    chan struct{} // closed at the first connection
	once     sync.Once
	end      sync.Once
	wait     sync.WaitGroup
	over     chan struct{}
}

func newBlackHole(silence time.Duration) (*blackHole, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	hole := &blackHole{listener: listener, first: make(chan struct{}), over: make(chan struct{})}
	hole.wait.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			hole.once.Do(func() { close(hole.first) })
			hole.wait.Go(func() {
				select {
				case <-time.After(silence):
				case <-hole.over:
				}
				conn.Close()
			})
		}
	})
	return hole, nil
}

func (h *blackHole) port() int { return h.listener.Addr().(*net.TCPAddr).Port }

func (h *blackHole) visited(within time.Duration) bool {
	select {
	case <-h.first:
		return true
	case <-time.After(within):
		return false
	}
}

func (h *blackHole) close() {
	h.end.Do(func() { close(h.over); h.listener.Close() })
	h.wait.Wait()
}
