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
)

// keepReply bounds the reply buffer that an idle connection keeps.
const keepReply = 16 << 10

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
	failed   bool // an error was replied
}

type handler func(*request)

// handle is redcon's callback for a command.
func (s *Server) handle(rc redcon.Conn, cmd redcon.Command) {
	c := rc.Context().(*connection)
	// redcon goes on with what it has read already after a connection was
	// closed: those commands must not run.
	if !c.alive() {
		rc.ReadPipeline()
		return
	}
	if c.expired() {
		rc.ReadPipeline()
		c.kill(ReasonTokenExpired)
		return
	}
	defer func() {
		if p := recover(); p != nil {
			s.panicked(c, cmd.Args, p)
		}
	}()
	if len(cmd.Args) == 0 {
		return
	}
	q := request{s: s, c: c, args: cmd.Args, out: c.out[:0]}
	q.dispatch()
	q.emit()
	c.mute = c.mute.next()
	if c.out = q.out; cap(c.out) > keepReply {
		c.out = nil
	}
	if c.quit {
		rc.ReadPipeline()
		_ = redcon.BaseWriter(rc).Flush() // the connection ends either way
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
	s.record(Event{Kind: EventCommand, Conn: c.id, Command: name, User: c.user(), Outcome: OutcomeRefused, Reason: ReasonPanic,
		Detail: fmt.Sprintf("a fault of the fake itself, please report it: %v\n%s", p, debug.Stack())})
	c.kill(ReasonPanic)
}

// dispatch checks the command in the order of Redis 6.0's processCommand, with
// the service's blocked commands taken out of the table, and runs it.
func (q *request) dispatch() {
	s, c := q.s, q.c
	if equalFold(q.args[0], "quit") {
		q.simple("OK")
		c.quit, c.quitReason = true, ReasonQuit
		return
	}
	q.cmd = s.table.Lookup(q.args[0])
	if q.cmd == nil {
		q.unknown()
		return
	}
	c.status.update(func(st *status) { st.lastCmd, st.lastAt = q.cmd.Name, s.opts.clock.Now() })
	switch {
	case s.prof.blocks(q.cmd.Name, q.args):
		s.record(Event{Kind: EventBlocked, Conn: c.id, Command: q.name(), User: c.user(), Outcome: OutcomeRefused, Proto: c.protocol(),
			Detail: "the service blocks this command: -" + withoutArgs(unknownText(q.args))})
		q.unknown()
		return
	case !q.cmd.ArityOK(len(q.args)):
		q.rejected("ERR wrong number of arguments for '" + q.cmd.Name + "' command")
	case c.identity.Load() == nil && q.cmd.Name != "auth" && q.cmd.Name != "hello":
		q.rejected("NOAUTH Authentication required.")
	case !q.permitted():
	case c.subscriptions() > 0 && c.protocol() == 2 && !subscriberMay[q.cmd.Name]:
		q.rejected("ERR Can't execute '" + q.cmd.Name + "': only (P)SUBSCRIBE / (P)UNSUBSCRIBE / PING / QUIT are allowed in this context")
	case c.multi != nil && !controlsTransaction[q.cmd.Name]:
		c.multi.queue(q)
		return // it is logged when it runs
	default:
		q.run()
	}
	if s.opts.commandEvents {
		q.log()
	}
}

// subscriberMay is what a RESP2 connection may run while it is subscribed.
var subscriberMay = map[string]bool{"subscribe": true, "unsubscribe": true, "psubscribe": true, "punsubscribe": true, "ping": true}

// controlsTransaction are the commands that are not queued after MULTI.
var controlsTransaction = map[string]bool{"multi": true, "exec": true, "discard": true, "watch": true}

// run executes the command; all checks are done.
func (q *request) run() {
	if h := q.s.handlers[q.cmd.ID]; h != nil {
		h(q)
		return
	}
	q.data(nil)
}

// data runs a command of the data engine.
func (q *request) data(script *keyspace.Script) {
	call := keyspace.Call{Session: q.c.session, Command: q.cmd, Args: q.args, Proto: q.c.protocol(), Script: script}
	start := len(q.out)
	if q.tx != nil {
		q.out = q.tx.Do(q.out, call)
	} else {
		q.out = q.s.keyspace.Do(q.out, call)
	}
	q.failed = len(q.out) > start && q.out[start] == '-'
}

// permitted checks the access policy and answers NOPERM where it says no.
func (q *request) permitted() bool {
	id := q.c.identity.Load()
	if id == nil || q.cmd.Name == "auth" {
		return true
	}
	text := noPermText(q.cmd, id.grant.set.Load().Check(q.cmd, q.args))
	if text == "" {
		return true
	}
	q.denied(text)
	q.rejected(text)
	return false
}

func (q *request) denied(text string) {
	q.s.record(Event{Kind: EventDenied, Conn: q.c.id, Command: q.name(), User: q.c.user(), Outcome: OutcomeRefused, Token: q.c.token(),
		Proto: q.c.protocol(), Detail: fmt.Sprintf("the access policy forbids %s: -%s", strings.ToUpper(q.name()), text)})
}

func noPermText(cmd *command.Command, v acl.Verdict) string {
	switch v {
	case acl.OK:
		return ""
	case acl.DeniedKey:
		return "NOPERM this user has no permissions to access one of the keys used as arguments"
	default:
		return "NOPERM this user has no permissions to run the '" + cmd.Name + "' command or its subcommand"
	}
}

// rejected answers a command that does not run; inside MULTI it spoils the
// transaction.
func (q *request) rejected(text string) {
	if q.c.multi != nil {
		q.c.multi.spoiled = true
	}
	q.err(text)
}

func (q *request) unknown() {
	q.rejected(unknownText(q.args))
	if q.s.opts.commandEvents {
		q.log()
	}
}

// unknownText is Redis 6.0's answer to a command that it does not know.
func unknownText(args [][]byte) string {
	var b strings.Builder
	for _, a := range args[1:] {
		if b.Len() >= 128 {
			break
		}
		fmt.Fprintf(&b, "`%s`, ", clip(a, 128-b.Len()))
	}
	return fmt.Sprintf("ERR unknown command `%s`, with args beginning with: %s", clip(args[0], 128), b.String())
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

// containers are the commands whose first argument names what they do.
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
			e.Detail = withoutArgs(string(line))
		}
	}
	q.s.record(e)
}

// equalFold compares an argument with a lower-case ASCII word.
func equalFold(arg []byte, lower string) bool {
	return len(arg) == len(lower) && strings.EqualFold(string(arg), lower)
}
