package fakeserver

import (
	"crypto/sha1" //nolint:gosec // Redis names scripts by their SHA-1
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"

	"github.com/entracache/entracache/fakeserver/internal/acl"
	"github.com/entracache/entracache/fakeserver/internal/keyspace"
	"github.com/entracache/entracache/fakeserver/internal/resp"
)

// Texts of Redis 6.0 for calls that a script may not make.
const (
	scriptNoCommand = "The user executing the script can't run this command or subcommand"
	scriptNoKey     = "The user executing the script can't access at least one of the keys mentioned in the command arguments"
	scriptUnknown   = "Unknown Redis command called from Lua script"
	scriptForbidden = "This Redis command is not allowed from scripts"
	scriptArity     = "Wrong number of args calling Redis command From Lua script"
)

// scriptLine finds the line in the data engine's error.
var scriptLine = regexp.MustCompile(`<string>:(\d+):`)

// cmdEval is EVAL and EVALSHA. The data engine runs the script; every call that
// it makes is checked here as if the user had sent it.
func cmdEval(q *request) {
	refused := ""
	script := &keyspace.Script{Intercept: func(args []string) (string, bool) {
		reply, text := q.scriptCall(args)
		if text != "" {
			refused = text
			return "-" + text + "\r\n", true
		}
		return reply, reply != ""
	}}
	start := len(q.out)
	q.data(script)
	if refused == "" || !q.failed {
		return
	}
	// The script did not catch the refusal: tell it in Redis' words.
	line := "1"
	if m := scriptLine.FindSubmatch(q.out[start:]); m != nil {
		line = string(m[1])
	}
	q.out = resp.AppendError(q.out[:start], fmt.Sprintf("ERR Error running script (call to f_%s): @user_script:%s: @user_script: %s: %s",
		q.scriptSHA(), line, line, refused))
}

func (q *request) scriptSHA() string {
	if q.cmd.Name == "evalsha" {
		return strings.ToLower(clip(q.args[1], 40))
	}
	sum := sha1.Sum(q.args[1]) //nolint:gosec // as above
	return hex.EncodeToString(sum[:])
}

// scriptCall decides on a call that a script makes: a refusal, a reply of ours,
// or neither, and then the data engine runs it.
func (q *request) scriptCall(args []string) (reply, refused string) {
	raw := make([][]byte, len(args))
	for i, a := range args {
		raw[i] = []byte(a)
	}
	cmd := q.s.table.Lookup(raw[0])
	switch {
	case cmd == nil || q.s.prof.blocks(cmd.Name, raw):
		return "", scriptUnknown
	case !cmd.ArityOK(len(raw)):
		return "", scriptArity
	case cmd.HasFlag("noscript"):
		return "", scriptForbidden
	case scriptMayNotBlock(cmd, args):
		return "", cmd.Name + " command is not allowed with BLOCK option from scripts"
	}
	if id := q.c.identity.Load(); id != nil && cmd.Name != "auth" {
		switch v := id.grant.set.Load().Check(cmd, raw); v {
		case acl.OK:
		case acl.DeniedKey:
			q.deniedInScript(cmd.Name, scriptNoKey)
			return "", scriptNoKey
		default:
			q.deniedInScript(cmd.Name, scriptNoCommand)
			return "", scriptNoCommand
		}
	}
	if cmd.Name == "publish" {
		return fmt.Sprintf(":%d\r\n", q.s.hub.publish(args[1], raw[2])), ""
	}
	if h := q.s.handlers[cmd.ID]; h != nil && !engineRuns[cmd.Name] {
		return "", fmt.Sprintf("entracache does not emulate '%s' in a script", cmd.Name)
	}
	return "", ""
}

// engineRuns are commands of ours that the data engine can run for a script
// just as well.
var engineRuns = map[string]bool{"ping": true, "echo": true, "select": true, "time": true, "dbsize": true, "xread": true, "xreadgroup": true}

func (q *request) deniedInScript(command, text string) {
	q.s.record(Event{Kind: EventDenied, Conn: q.c.id, Command: command, User: q.c.user(), Outcome: OutcomeRefused, Token: q.c.token(),
		Proto: q.c.protocol(), Detail: fmt.Sprintf("the access policy forbids %s, which a script called: %s", upper(command), text)})
}
