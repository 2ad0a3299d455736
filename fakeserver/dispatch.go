package fakeserver

import (
	"bytes"
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/tidwall/redcon"

	"github.com/entracache/entracache/fakeserver/internal/acl"
	"github.com/entracache/entracache/fakeserver/internal/command"
	"github.com/entracache/entracache/fakeserver/internal/keyspace"
	"github.com/entracache/entracache/fakeserver/internal/resp"
)

// request is one command on its way through the server.
type request struct {
	s    *Server
	c    *connection
	cmd  *command.Command
	args [][]byte // the command's name included
	out  []byte   // the reply
	// tx is the keyspace inside EXEC, nil outside.
	tx *keyspace.Tx
	// verified holds, inside EXEC, the sign-ins that were checked before the
	// keyspace was locked.
	verified map[[2]string]signIn
	failed   bool      // an error was replied
	faulty   *spoiling // nil unless faults are set
	inScript bool      // a script calls it
	caller   *request  // the EVAL of that script
	// resp and sess are, for a call that a script makes, the script's own
	// protocol version and place in the keyspace; otherwise the connection's.
	resp int
	sess *keyspace.Session
}

type handler func(*request)

// handle is redcon's callback for a command.
func (s *Server) handle(rc redcon.Conn, cmd redcon.Command) {
	c := rc.Context().(*connection)
	defer func() {
		if p := recover(); p != nil {
			s.panicked(c, cmd.Args, p)
		}
	}()
	// redcon goes on with what it has read already after a connection was
	// closed: those commands must not run.
	if !c.alive() {
		rc.ReadPipeline()
		return
	}
	c.tick()
	if c.expired(c.moment) {
		rc.ReadPipeline()
		c.kill(ReasonTokenExpired)
		return
	}
	if len(cmd.Args) == 0 {
		return
	}
	q := c.begin(cmd.Args)
	if faults := s.faults.commands.Load(); faults != nil {
		q.dispatchFaulty(*faults)
	} else {
		c.behind = false
		q.dispatch()
		q.emit()
	}
	c.mute = c.mute.next()
	c.ran(q.cmd, len(rc.PeekPipeline()) > 0)
	if c.quit {
		rc.ReadPipeline()
		if c.silent {
			redcon.BaseWriter(rc).SetBuffer(nil)
		} else {
			_ = redcon.BaseWriter(rc).Flush() // the connection ends either way
			c.guard.Flush()
		}
		c.kill(c.quitReason)
	}
}

// panicked closes the connection of a command that failed by a fault of ours.
func (s *Server) panicked(c *connection, args [][]byte, p any) {
	name := ""
	if len(args) > 0 {
		name = strings.ToLower(clip(args[0], 32))
	}
	c.rc.ReadPipeline()
	c.rc.WriteError("ERR internal error of the fake cache, which closes this connection")
	_ = redcon.BaseWriter(c.rc).Flush()
	c.guard.Flush()
	s.fault(c, name, p)
}

// fault records a panic and closes the connection that it concerns, nil if it
// concerns none. The command is empty if none was under way.
func (s *Server) fault(c *connection, command string, p any) {
	e := Event{Kind: EventCommand, Command: command, Outcome: OutcomeRefused, Reason: ReasonPanic,
		Detail: fmt.Sprintf("a fault of the fake itself, please report it: %v\n%s", p, debug.Stack())}
	if c != nil {
		e.Conn, e.User = c.id, c.user()
	}
	s.record(e)
	if c != nil {
		c.kill(ReasonPanic)
	}
}

// contain is deferred by what runs in a goroutine outside of a command, so that
// a fault in it ends one connection, or nothing, rather than the process.
func (s *Server) contain(c *connection) {
	if p := recover(); p != nil {
		s.fault(c, "", p)
	}
}

// dispatch checks the command in the order of processCommand of the profile's
// level, with the service's blocked commands taken out of the table, and runs
// it.
func (q *request) dispatch() {
	s, c := q.s, q.c
	if s.clustered {
		defer func() { c.landed(); q.asked() }()
	}
	if s.prof.since("7.0") && (equalFold(q.args[0], "post") || equalFold(q.args[0], "host:")) {
		cmdHTTP(q) // before it they are commands like others, which need a sign-in and a permission
		return
	}
	if equalFold(q.args[0], "quit") {
		q.simple("OK")
		c.quit, c.quitReason = true, ReasonQuit
		return
	}
	cmd, container := s.table.Find(q.args)
	named := cmd
	if named == nil {
		named = container
	}
	if named == nil {
		q.unknown()
		return
	}
	q.cmd = named
	if s.traits[named.ID].blocked && s.prof.blocks(named.Name, q.args) {
		s.record(Event{Kind: EventBlocked, Conn: c.id, Command: q.name(), User: c.user(), Outcome: OutcomeRefused, Proto: c.protocol(),
			Detail: "the service blocks this command: -" + withoutArgs(q.unknownText(q.args))})
		q.unknown()
		return
	}
	if cmd == nil {
		q.rejected(unknownSubcommandText(q.args))
		q.logged()
		return
	}
	c.lastCmd.Store(cmd)
	c.lastAt.Store(c.moment)
	if c.identity.Load() == nil {
		s.letIn(c)
	}
	switch {
	case !cmd.ArityOK(len(q.args)):
		q.rejected("ERR wrong number of arguments for '" + cmd.Name + "' command")
	case cmd.Protected && s.prof.openUsers:
		q.rejected(protectedText(cmd))
	case c.identity.Load() == nil && !cmd.HasFlag("no_auth"):
		q.rejected("NOAUTH Authentication required.")
	case c.multi != nil && cmd.HasFlag("no_multi"):
		q.rejected("ERR Command not allowed inside a transaction")
	case !q.permitted():
	case s.clustered && !q.routed():
	case q.outOfMemory():
		q.rejected(oomText)
	case c.node.flags.Load() != 0 && q.impaired() != "":
		q.rejected(q.impaired())
	case c.subscriptions() > 0 && c.protocol() == 2 && !subscriberMay[cmd.Name]:
		q.rejected(q.subscribedText())
	case q.loads():
		q.rejected(loadingText)
	case q.scriptIsBusy():
		q.rejected(busyScript)
	case !q.waitForPause():
		return
	case s.clustered && !c.inFlight && !q.routed(): // it may have waited
	case c.multi != nil && !controlsTransaction[cmd.Name]:
		c.multi.queue(q)
		return // it is logged when it runs
	default:
		q.execute()
	}
	q.logged()
}

// logged records the command as an event if that is wanted.
func (q *request) logged() {
	if q.s.opts.commandEvents {
		q.log()
	}
}

// protectedText refuses DEBUG and MODULE as a server does that was not
// configured to allow them. Where a service blocks them there is another answer
// before this one.
func protectedText(cmd *command.Command) string {
	name := "module"
	if cmd.Name == "debug" {
		name = "debug"
	}
	return fmt.Sprintf("ERR %s command not allowed. If the enable-%s-command option is set to \"local\", you can run it from a local connection, otherwise you need to set this option in the configuration file, and then restart the server.",
		strings.ToUpper(name), name)
}

// subscriberMay is what a RESP2 connection may run while it is subscribed.
var subscriberMay = map[string]bool{
	"subscribe": true, "unsubscribe": true, "psubscribe": true, "punsubscribe": true, "ssubscribe": true, "sunsubscribe": true,
	"ping": true, "reset": true,
}

func (q *request) subscribedText() string {
	may := "(P)SUBSCRIBE / (P)UNSUBSCRIBE / PING / QUIT"
	switch {
	case q.s.prof.since("7.0"):
		may = "(P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET"
	case q.s.prof.since("6.2"):
		may += " / RESET"
	}
	return "ERR Can't execute '" + q.cmd.Name + "': only " + may + " are allowed in this context"
}

// controlsTransaction are the commands that are not queued after MULTI.
var controlsTransaction = map[string]bool{"multi": true, "exec": true, "discard": true, "watch": true, "reset": true}

// run executes the command; all checks are done.
func (q *request) run() {
	if option := q.hiddenSortKeys(); option != "" {
		q.err("ERR " + option + " option of SORT denied due to insufficient ACL permissions.")
		return
	}
	if q.s.traits[q.cmd.ID].mayBeTooNew && q.tooNew() {
		return
	}
	if h := q.s.handlers[q.cmd.ID]; h != nil {
		h(q)
		return
	}
	q.data(nil)
}

// data runs a command of the data engine.
func (q *request) data(script *keyspace.Script) {
	call := keyspace.Call{Session: q.session(), Command: q.cmd, Args: q.args, Proto: q.protocol(), Script: script}
	if q.s.clustered && !q.inShard(&call) {
		return
	}
	start := len(q.out)
	if q.tx != nil {
		q.out = q.tx.Do(q.out, call)
	} else {
		q.out = q.s.keyspace.Do(q.out, call)
	}
	q.failed = len(q.out) > start && q.out[start] == '-'
	if call.Proto >= 3 && string(q.out[start:]) == "*-1\r\n" {
		q.out = resp.AppendNull(q.out[:start], call.Proto) // the engine has only one null
	}
}

// permitted checks the access policy and answers NOPERM where it says no.
func (q *request) permitted() bool {
	id := q.c.identity.Load()
	if id == nil {
		return true
	}
	set := id.grant.set.Load()
	verdict := set.Check(q.cmd, q.args)
	if verdict == acl.OK {
		return true
	}
	text := noPermText(q.s.prof.level, id.user, q.cmd, verdict)
	q.denied(text)
	q.noteDenied(set, q.cmd, q.args, deniedInCommand(q.c))
	q.rejected(text)
	return false
}

func (q *request) denied(text string) {
	q.s.record(Event{Kind: EventDenied, Conn: q.c.id, Command: q.name(), User: q.c.user(), Outcome: OutcomeRefused, Token: q.c.token(),
		Proto: q.c.protocol(), Detail: fmt.Sprintf("the access policy forbids %s: -%s", strings.ToUpper(q.name()), text)})
}

func noPermText(level, user string, cmd *command.Command, v acl.Verdict) string {
	switch {
	case v == acl.DeniedKey && level >= "7.2":
		return "NOPERM No permissions to access a key"
	case v == acl.DeniedKey:
		return "NOPERM this user has no permissions to access one of the keys used as arguments"
	case v == acl.DeniedChannel && level >= "7.2":
		return "NOPERM No permissions to access a channel"
	case v == acl.DeniedChannel:
		return "NOPERM this user has no permissions to access one of the channels used as arguments"
	case level >= "7.2":
		return "NOPERM User " + user + " has no permissions to run the '" + cmd.Name + "' command"
	case level >= "7.0":
		return "NOPERM this user has no permissions to run the '" + cmd.Name + "' command"
	default:
		return "NOPERM this user has no permissions to run the '" + cmd.Name + "' command or its subcommand"
	}
}

// revokedText is what EXEC says of a queued command that is not permitted any
// more.
func revokedText(v acl.Verdict) string {
	why := "no permission to execute the command or subcommand"
	switch v {
	case acl.DeniedKey:
		why = "no permission to touch the specified keys"
	case acl.DeniedChannel:
		why = "no permission to access one of the channels used as arguments"
	}
	return "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This command is no longer allowed for the following reason: " + why
}

// hiddenSortKeys names the option of a SORT that reads keys which the command
// does not name, and which the user may not all read: BY or GET. 7.0 asks for
// that, and not before it begins to run.
func (q *request) hiddenSortKeys() (option string) {
	if q.cmd.Name != "sort" && q.cmd.Name != "sort_ro" || !q.s.prof.since("7.0") {
		return ""
	}
	id := q.c.identity.Load()
	if id == nil || id.grant.set.Load().ReadsAnyKey(q.cmd, q.args) {
		return ""
	}
	for i := 2; i < len(q.args); i++ {
		left := len(q.args) - i - 1
		switch arg := q.args[i]; {
		case equalFold(arg, "asc"), equalFold(arg, "desc"), equalFold(arg, "alpha"):
		case equalFold(arg, "limit") && left >= 2:
			i += 2
		case equalFold(arg, "store") && left >= 1:
			i++
		case equalFold(arg, "by") && left >= 1:
			// Without a star the pattern names no key: the elements are not sorted.
			if i++; bytes.IndexByte(q.args[i], '*') >= 0 {
				return "BY"
			}
		case equalFold(arg, "get") && left >= 1:
			return "GET"
		default:
			return "" // a syntax error, which the command finds itself
		}
	}
	return ""
}

// rejected answers a command that does not run; inside MULTI it spoils the
// transaction. EXEC ends it, and says so even if there is none.
func (q *request) rejected(text string) {
	if q.cmd != nil {
		q.s.stats.byCommand[q.cmd.ID].rejected.Add(1)
	}
	switch {
	case q.cmd != nil && q.cmd.Name == "exec":
		q.endTransaction()
		q.unwatch()
		text = "EXECABORT Transaction discarded because of: " + strings.TrimPrefix(text, "ERR ")
	case q.c.multi == nil:
	default:
		q.c.multi.spoiled = true
	}
	q.err(text)
}

// cmdHTTP closes the connection without a word, and drops the replies to what
// came before in the same read: somebody has tricked a browser into sending a
// web request to the port.
func cmdHTTP(q *request) {
	c := q.c
	c.quit, c.quitReason, c.silent = true, ReasonProtocolError, true
	c.brokeProtocol("closed without a reply: an HTTP request (" + clip(q.args[0], 8) + ")")
}

func (q *request) unknown() {
	q.rejected(q.unknownText(q.args))
	q.logged()
}

// unknownText answers a command that the level does not have.
func (q *request) unknownText(args [][]byte) string { return unknownText(q.s.prof.level, args) }

func unknownText(level string, args [][]byte) string {
	name, arg, longest := "'%s'", "'%s' ", 128
	if level < "7.0" {
		name, arg, longest = "`%s`", "`%s`, ", len(args[0])
	}
	var b strings.Builder
	for _, a := range args[1:] {
		if b.Len() >= 128 {
			break
		}
		fmt.Fprintf(&b, arg, clip(a, 128-b.Len()))
	}
	return fmt.Sprintf("ERR unknown command "+name+", with args beginning with: %s", clip(args[0], longest), b.String())
}

// unknownSubcommandText answers a subcommand that the level, 7.0 or later, does
// not have.
func unknownSubcommandText(args [][]byte) string {
	return fmt.Sprintf("ERR unknown subcommand '%s'. Try %s HELP.", clip(args[1], 128), strings.ToUpper(string(args[0])))
}

// withoutArgs cuts the arguments off the answer to an unknown command: they
// may be a password, and events must not hold any.
func withoutArgs(text string) string {
	text, _, _ = strings.Cut(text, ", with args beginning with: ")
	return text
}

// clip cuts like C's %.*s: at n bytes or at a zero byte.
func clip(b []byte, n int) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b[:min(len(b), n)])
}

// containers are the commands whose first argument names what they do, in
// levels where the table does not say so.
var containers = map[string]bool{
	"acl": true, "client": true, "cluster": true, "command": true, "config": true, "debug": true, "latency": true, "memory": true,
	"module": true, "object": true, "pubsub": true, "script": true, "slowlog": true, "stralgo": true, "xgroup": true, "xinfo": true,
}

// name is the command's name for events: "client|setname" with its
// subcommand.
func (q *request) name() string {
	if q.cmd == nil {
		return strings.ToLower(clip(q.args[0], 32))
	}
	if containers[q.cmd.Name] && len(q.args) > 1 {
		return q.cmd.Name + "|" + strings.ToLower(clip(q.args[1], 32))
	}
	return q.cmd.Name
}

// log records the command as an event.
func (q *request) log() {
	e := Event{Kind: EventCommand, Conn: q.c.id, Command: q.name(), User: q.c.user(), Outcome: OutcomeOK, Proto: q.c.protocol()}
	if q.failed {
		e.Outcome = OutcomeRefused
		if line, _, ok := bytes.Cut(q.out, []byte("\r\n")); ok && len(line) > 0 && line[0] == '-' {
			e.Detail = withoutArgs(clip(line, 1024)) // 6.0 repeats an unknown name in full
		}
	}
	q.s.record(e)
}

// equalFold compares an argument with a lower-case ASCII word.
func equalFold(arg []byte, lower string) bool {
	return len(arg) == len(lower) && strings.EqualFold(string(arg), lower)
}
