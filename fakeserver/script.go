package fakeserver

import (
	"fmt"
	"strings"
	"sync"

	lua "github.com/yuin/gopher-lua"

	"github.com/entracache/entracache/fakeserver/internal/acl"
	"github.com/entracache/entracache/fakeserver/internal/command"
	"github.com/entracache/entracache/fakeserver/internal/keyspace"
)

// scripts are those that EVAL has run or SCRIPT LOAD has kept, by their SHA-1.
type scripts struct {
	mu  sync.Mutex
	all map[string]*script
}

type script struct {
	proto    *lua.FunctionProto
	noWrites bool
	flags    map[string]bool // of its first line; nil where it has none
}

func (s *scripts) get(sha string) *script {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all[strings.ToLower(sha)]
}

func (s *scripts) put(sha string, sc *script) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[string]*script{}
	}
	s.all[sha] = sc
}

func (s *scripts) flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = nil
}

// scriptNodes are the nodes that learn of a connection's scripts: up to 6.2
// they are replicated, since 7.0 they are not.
func (q *request) scriptNodes() []*node {
	if q.since("7.0") {
		return []*node{q.c.node}
	}
	return q.s.topo.Load().of(q.c.node.shard)
}

func (q *request) keepScript(sha string, sc *script) {
	for _, n := range q.scriptNodes() {
		n.scripts.put(sha, sc)
	}
}

func (q *request) flushScripts() {
	for _, n := range q.scriptNodes() {
		n.scripts.flush()
	}
}

// Why a script may not make a call. The words changed with 7.0.
const (
	scriptNoCommand   = "The user executing the script can't run this command or subcommand"
	scriptNoKey       = "The user executing the script can't access at least one of the keys mentioned in the command arguments"
	scriptNoChannel   = "The user executing the script can't publish to the channel mentioned in the command"
	scriptUnknown     = "Unknown Redis command called from Lua script"
	scriptForbidden   = "This Redis command is not allowed from scripts"
	scriptArity       = "Wrong number of args calling Redis command From Lua script"
	scriptNoArguments = "Please specify at least one argument for redis.call()"
	scriptBadArgument = "Lua redis() command arguments must be strings or integers"
	scriptNoWrites    = "Write commands are not allowed from read-only scripts."
)

var scriptTexts70 = map[string]string{
	scriptUnknown:     "Unknown Redis command called from script",
	scriptForbidden:   "This Redis command is not allowed from script",
	scriptArity:       "Wrong number of args calling Redis command from script",
	scriptNoArguments: "Please specify at least one argument for this redis lib call",
	scriptBadArgument: "Lua redis lib command arguments must be strings or integers",
}

// scriptText is a text in the words of the level.
func (q *request) scriptText(text string) string {
	if !q.since("7.0") {
		return text
	}
	if newer := scriptTexts70[text]; newer != "" {
		text = newer
	}
	return "ERR " + text
}

// scriptError is a text that did not change, with the code that it has since
// 7.0.
func (q *request) scriptError(text string) string {
	if q.since("7.0") {
		return "ERR " + text
	}
	return text
}

// scriptDenied is what a script is told of a call that the user may not make.
func (q *request) scriptDenied(id *identity, cmd *command.Command, v acl.Verdict) string {
	if q.since("7.2") {
		return "ERR ACL failure in script: " + strings.TrimPrefix(noPermText(q.s.prof.level, id.user, cmd, v), "NOPERM ")
	}
	switch v {
	case acl.DeniedKey:
		return q.scriptText(scriptNoKey)
	case acl.DeniedChannel:
		return q.scriptText(scriptNoChannel)
	default:
		return q.scriptText(scriptNoCommand)
	}
}

// cmdEval is EVAL, EVALSHA and, since 7.0, their forms that may not write. The
// script runs with the keyspace locked; every call that it makes is checked as
// if the user had sent it.
func cmdEval(q *request) {
	n, ok := q.number(q.args[2], notAnInteger)
	switch {
	case !ok:
		return
	case n > int64(len(q.args)-3):
		q.err("ERR Number of keys can't be greater than number of args")
		return
	case n < 0:
		q.err("ERR Number of keys can't be negative")
		return
	}
	var sha string
	var sc *script
	if strings.HasPrefix(q.cmd.Name, "evalsha") {
		sha = strings.ToLower(string(q.args[1]))
		if sc = q.c.node.scripts.get(sha); sc == nil {
			q.err("NOSCRIPT No matching script. Please use EVAL.")
			return
		}
	} else {
		sha = sha1Hex(q.args[1])
		if sc = q.c.node.scripts.get(sha); sc == nil {
			if sc = q.loadScript(sha, string(q.args[1])); sc == nil {
				return
			}
		}
	}
	keys, argv := q.args[3:3+n], q.args[3+n:]
	switch {
	case sc.flags["no-cluster"] && q.s.clustered:
		q.err("ERR Can not run script on cluster, 'no-cluster' flag is set.")
		return
	case sc.flags["shebang"] && !sc.noWrites && q.c.node.has(nodeReplica):
		q.err("READONLY Can not run script with write flag on readonly replica")
		return
	}
	slot := -1
	if n > 0 {
		slot = keySlot(keys[0])
	}
	eval := func() {
		q.withKeyspace(func(tx *keyspace.Tx) {
			// Only a script with a first line of its own has rules about slots.
			run := luaRun{q: q, tx: tx, sha: sha, slot: slot, crossing: sc.flags == nil || sc.flags["allow-cross-slot-keys"], readonly: sc.noWrites || strings.HasSuffix(q.cmd.Name, "_ro")}
			q.s.tracker.together(func() { run.run(sc.proto, keys, argv) })
		})
	}
	// What it publishes to its own connection must not be sent while the
	// keyspace is locked: the client may not be reading.
	if q.tx == nil && q.c.subscriptions() > 0 {
		q.inOrder(func(*subscriber) { eval() })
	} else {
		eval()
	}
}

// loadScript compiles and keeps a script; it replies where that fails.
func (q *request) loadScript(sha, body string) *script {
	rest, flags, refusal := q.shebang(body)
	if refusal != "" {
		q.err(refusal)
		return nil
	}
	proto, err := compileScript(rest)
	if err != nil {
		q.err("ERR Error compiling script (new function): " + strings.Map(oneLine, err.Error()))
		return nil
	}
	sc := &script{proto: proto, noWrites: flags["no-writes"], flags: flags}
	q.keepScript(sha, sc)
	return sc
}

const (
	busyScript = "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE."
	notBusy    = "NOTBUSY No scripts in execution right now."
	unkillable = "UNKILLABLE Sorry the script already executed write commands against the dataset. You can either wait the script termination or kill the server in a hard way using the SHUTDOWN NOSAVE command."
)

// mayRunBeside are the commands that are not refused while a script runs for
// too long; since 7.0 a flag says so.
var mayRunBeside = map[string]bool{
	"auth": true, "hello": true, "replconf": true, "multi": true, "discard": true, "watch": true, "unwatch": true, "reset": true, "quit": true,
}

// scriptIsBusy refuses a command while a script runs for longer than
// lua-time-limit: it would wait for the keyspace until the script ends.
func (q *request) scriptIsBusy() bool {
	run := q.s.script.Load()
	if run == nil || !run.busy.Load() {
		return false
	}
	return !mayRunBeside[q.cmd.Name] && !q.cmd.HasFlag("allow_busy") && !(q.container() == "script" && q.is("kill", 2, 2))
}

// cmdScript is SCRIPT.
func cmdScript(q *request) {
	switch {
	case q.is("help", 2, 2):
		q.help("DEBUG YES|SYNC|NO -- Debug scripts; here only NO.", "EXISTS <sha1> [<sha1> ...] -- Which scripts there are.", "FLUSH -- Forget all scripts.",
			"KILL -- End the script that runs.", "LOAD <script> -- Keep a script.")
	case q.is("load", 3, 3):
		sha := sha1Hex(q.args[2])
		if q.c.node.scripts.get(sha) != nil || q.loadScript(sha, string(q.args[2])) != nil {
			q.bulk(sha)
		}
	case q.is("exists", 2, -1): // since 7.0 its arity says at least one
		q.array(len(q.args) - 2)
		for _, sha := range q.args[2:] {
			if q.c.node.scripts.get(string(sha)) != nil {
				q.integer(1)
			} else {
				q.integer(0)
			}
		}
	case q.is("flush", 2, 2):
		q.flushScripts()
		q.simple("OK")
	case q.is("flush", 3, -1) && q.since("6.2"):
		if len(q.args) != 3 || !equalFold(q.args[2], "sync") && !equalFold(q.args[2], "async") {
			q.err("ERR SCRIPT FLUSH only support SYNC|ASYNC option")
			return
		}
		q.flushScripts()
		q.simple("OK")
	case q.is("kill", 2, 2):
		run := q.s.script.Load()
		switch {
		case run == nil:
			q.err(notBusy)
		case run.wrote.Load():
			q.err(unkillable)
		default:
			run.killed.Store(true)
			run.stop()
			q.simple("OK")
		}
	case q.is("debug", 3, 3):
		switch {
		case equalFold(q.args[2], "no"):
			q.simple("OK")
		case equalFold(q.args[2], "yes"), equalFold(q.args[2], "sync"):
			q.err("ERR entracache does not emulate the script debugger")
		default:
			q.err("ERR Use SCRIPT DEBUG YES/SYNC/NO")
		}
	default:
		q.unknownSubcommand()
	}
}

func (q *request) deniedInScript(command, text string) {
	q.s.record(Event{Kind: EventDenied, Conn: q.c.id, Command: command, User: q.c.user(), Outcome: OutcomeRefused, Token: q.c.token(),
		Proto: q.c.protocol(), Detail: fmt.Sprintf("the access policy forbids %s, which a script called: %s", upper(command), text)})
}
