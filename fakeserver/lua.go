package fakeserver

import (
	"context"
	"crypto/sha1" // Redis names scripts by their SHA-1
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	luajson "github.com/alicebob/miniredis/v2/gopher-json"
	lua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/parse"

	"github.com/entracache/entracache/fakeserver/internal/acl"
	"github.com/entracache/entracache/fakeserver/internal/keyspace"
	"github.com/entracache/entracache/fakeserver/internal/resp"
)

// chunkName is what error messages call a script.
const chunkName = "user_script"

// luaRun is a script while it runs, with the keyspace locked.
type luaRun struct {
	q        *request // the EVAL
	tx       *keyspace.Tx
	l        *lua.LState
	sha      string
	readonly bool // it may not write
	full     bool // the memory was full when it began
	resp     int  // the protocol version of what it sees
	session  *keyspace.Session
	slot     int  // in a clustered cache: that of the keys that it has used, -1 before
	crossing bool // and whether they may be of several slots

	stop   context.CancelFunc
	killed atomic.Bool
	wrote  atomic.Bool
	busy   atomic.Bool // it runs for so long that others are refused
}

// luaError is a command's error on its way through a script.
type luaError struct {
	text string // with its code: "ERR …"
	bare bool   // 6.0 shows the line before it, too
	line int
}

const luaErrorType = "redis error"

// compileScript makes the function of a script, or says what is wrong with it.
func compileScript(body string) (*lua.FunctionProto, error) {
	chunk, err := parse.Parse(strings.NewReader(body), chunkName)
	var wrong *parse.Error
	if errors.As(err, &wrong) {
		return nil, fmt.Errorf("%s:%d: %s near '%s'", chunkName, wrong.Pos.Line, strings.TrimSpace(wrong.Message), wrong.Token)
	}
	if err != nil {
		return nil, err
	}
	return lua.Compile(chunk, chunkName)
}

// scriptFlags are what the first line of a script may ask for since 7.0:
// "#!lua flags=no-writes".
var scriptFlags = map[string]bool{"no-writes": true, "allow-oom": true, "allow-stale": true, "no-cluster": true, "allow-cross-slot-keys": true}

// shebang reads a script's first line where it is no Lua, and returns the body
// without it, its line kept empty so that line numbers stay.
func (q *request) shebang(body string) (rest string, flags map[string]bool, refusal string) {
	if !q.since("7.0") || !strings.HasPrefix(body, "#!") {
		return body, nil, ""
	}
	line, rest, found := strings.Cut(body, "\n")
	if !found {
		return "", nil, "ERR Invalid script shebang"
	}
	words := strings.Fields(line)
	if words[0] != "#!lua" {
		return "", nil, "ERR Unexpected engine in script shebang: " + words[0]
	}
	flags = map[string]bool{"shebang": true}
	for _, word := range words[1:] {
		list, ok := strings.CutPrefix(word, "flags=")
		if !ok {
			return "", nil, "ERR Unknown lua shebang option: " + word
		}
		for flag := range strings.SplitSeq(list, ",") {
			if flag != "" && !scriptFlags[flag] {
				return "", nil, "ERR Unexpected flag in script shebang: " + flag
			}
			flags[flag] = true
		}
	}
	return "\n" + rest, flags, ""
}

// run runs the compiled script and appends its reply to q.out.
func (r *luaRun) run(proto *lua.FunctionProto, keys, argv [][]byte) {
	q := r.q
	ctx, stop := context.WithCancel(q.s.ctx)
	defer stop()
	r.stop = stop
	r.l = lua.NewState(lua.Options{SkipOpenLibs: true})
	defer r.l.Close()
	r.l.SetContext(ctx)
	r.session = q.s.keyspace.NewSession()
	r.session.Owner = q.c
	r.tx.Select(r.session, q.session().DB())
	r.resp = 2
	r.full = q.s.full()
	r.openLibraries()
	for name, list := range map[string][][]byte{"KEYS": keys, "ARGV": argv} {
		table := r.l.NewTable()
		for _, v := range list {
			table.Append(lua.LString(v))
		}
		r.l.SetGlobal(name, table)
	}
	r.protectGlobals()

	// Real time, whatever the clock: a script that does not end must not stop a
	// frozen clock from being of use.
	limit, _ := strconv.ParseInt(q.s.setting("lua-time-limit"), 10, 64)
	timer := time.AfterFunc(time.Duration(limit)*time.Millisecond, func() { r.busy.Store(true) })
	defer timer.Stop()
	q.s.script.Store(r)
	defer q.s.script.Store(nil)

	fn := r.l.NewFunctionFromProto(proto)
	r.l.Push(fn)
	if err := r.l.PCall(0, 1, nil); err != nil {
		q.err(r.errorText(err))
		return
	}
	r.reply(r.l.Get(-1), 0)
}

var luaLine = regexp.MustCompile(chunkName + `:(\d+):`)

// errorText tells, in the level's words, why the script failed.
func (r *luaRun) errorText(err error) string {
	q := r.q
	text, line := "", 0
	if r.killed.Load() {
		text = "ERR Script killed by user with SCRIPT KILL."
		if !q.since("7.0") {
			text = "Script killed by user with SCRIPT KILL..."
		}
	}
	api, _ := err.(*lua.ApiError) // PCall returns no other
	if api != nil {
		if m := luaLine.FindStringSubmatch(api.StackTrace); m != nil {
			line, _ = strconv.Atoi(m[1])
		}
	}
	switch {
	case text != "" || api == nil:
	case api.Object.Type() == lua.LTUserData:
		if e, ok := api.Object.(*lua.LUserData).Value.(*luaError); ok {
			text, line = e.text, e.line
			if e.bare && !q.since("7.0") {
				text = fmt.Sprintf("@%s: %d: %s", chunkName, line, e.text)
			}
		}
	case api.Object.Type() == lua.LTTable:
		if v := api.Object.(*lua.LTable).RawGetString("err"); v.Type() == lua.LTString {
			text = v.String()
		}
	default:
		text = api.Object.String()
		if m := luaLine.FindStringSubmatch(text); m != nil {
			line, _ = strconv.Atoi(m[1])
		}
		if q.since("7.0") {
			text = "ERR " + text
		}
	}
	if line == 0 {
		line = 1
	}
	if q.since("7.0") {
		return fmt.Sprintf("%s script: %s, on @%s:%d.", text, r.sha, chunkName, line)
	}
	return fmt.Sprintf("ERR Error running script (call to f_%s): @%s:%d: %s", r.sha, chunkName, line, text)
}

// raise ends the script, or the pcall that it is in, with an error.
func (r *luaRun) raise(text string, bare bool) {
	ud := r.l.NewUserData()
	ud.Value = &luaError{text: text, bare: bare, line: r.line()}
	ud.Metatable = r.l.GetTypeMetatable(luaErrorType)
	r.l.Error(ud, 0)
}

// line is the script's line that is being run.
func (r *luaRun) line() int {
	for level := 1; level < 32; level++ {
		frame, ok := r.l.GetStack(level)
		if !ok {
			break
		}
		if _, err := r.l.GetInfo("Sl", frame, lua.LNil); err == nil && frame.CurrentLine > 0 {
			return frame.CurrentLine
		}
	}
	return 1
}

// call is redis.call and redis.pcall.
func (r *luaRun) call(protected bool) lua.LGFunction {
	return func(l *lua.LState) int {
		reply, refusal := r.command(l)
		var text string
		switch {
		case refusal != "":
			text = refusal
		case reply.Kind == resp.KindError:
			text = string(reply.Text)
		default:
			l.Push(r.toLua(reply))
			return 1
		}
		if !protected {
			r.raise(text, refusal != "")
		}
		if refusal != "" && !r.q.since("7.0") {
			text = fmt.Sprintf("@%s: %d: %s", chunkName, r.line(), text)
		}
		table := l.NewTable()
		table.RawSetString("err", lua.LString(text))
		l.Push(table)
		return 1
	}
}

// command runs one call of the script. refusal is why it may not run, in the
// level's words.
func (r *luaRun) command(l *lua.LState) (reply resp.Value, refusal string) {
	q := r.q
	args := make([][]byte, l.GetTop())
	if len(args) == 0 {
		return reply, q.scriptText(scriptNoArguments)
	}
	for i := range args {
		switch v := l.Get(i + 1).(type) {
		case lua.LString:
			args[i] = []byte(v)
		case lua.LNumber:
			args[i] = luaNumber(float64(v))
		default:
			return reply, q.scriptText(scriptBadArgument)
		}
	}
	cmd, container := q.s.table.Find(args)
	named := cmd
	if named == nil {
		named = container
	}
	switch {
	case cmd == nil || q.s.prof.blocks(named.Name, args):
		return reply, q.scriptText(scriptUnknown)
	case !cmd.ArityOK(len(args)):
		return reply, q.scriptText(scriptArity)
	case cmd.HasFlag("noscript"):
		return reply, q.scriptText(scriptForbidden)
	case r.readonly && (cmd.Write || cmd.HasFlag("may_replicate")):
		return reply, q.scriptText(scriptNoWrites)
	case r.full && !r.wrote.Load() && cmd.HasFlag("denyoom"):
		return reply, oomText
	case cmd.Write && q.c.node.has(nodeReplica):
		return reply, readOnlyText
	case scriptMayNotBlock(cmd, args):
		return reply, q.scriptText(cmd.Name + " command is not allowed with BLOCK option from scripts")
	}
	if id := q.c.identity.Load(); id != nil {
		set := id.grant.set.Load()
		if v := set.Check(cmd, args); v != acl.OK {
			text := q.scriptDenied(id, cmd, v)
			q.deniedInScript(cmd.Name, text)
			q.noteDenied(set, cmd, args, deniedInLua)
			return reply, text
		}
	}
	if q.s.clustered {
		if text := q.scriptRefusal(cmd, args, &r.slot, r.crossing); text != "" {
			return reply, text
		}
	}
	if cmd.Write {
		r.wrote.Store(true)
	}
	inner := request{s: q.s, c: q.c, cmd: cmd, args: args, tx: r.tx, inScript: true, caller: r.q, resp: r.resp, sess: r.session}
	inner.execute()
	v, _, err := resp.Parse(inner.out)
	if err != nil {
		return reply, q.scriptText("entracache got no proper reply from '" + cmd.Name + "'")
	}
	return v, ""
}

// luaNumber writes a number as C's %.17g does.
func luaNumber(f float64) []byte {
	if f == math.Trunc(f) && math.Abs(f) < 1e17 {
		return strconv.AppendInt(nil, int64(f), 10)
	}
	switch {
	case math.IsInf(f, 0) || math.IsNaN(f):
		return []byte(strings.TrimPrefix(strings.ToLower(strconv.FormatFloat(f, 'g', -1, 64)), "+"))
	}
	return strconv.AppendFloat(nil, f, 'g', 17, 64)
}

// toLua converts a command's reply.
func (r *luaRun) toLua(v resp.Value) lua.LValue {
	field := func(name string, value lua.LValue) lua.LValue {
		t := r.l.NewTable()
		t.RawSetString(name, value)
		return t
	}
	switch {
	case v.Kind == resp.KindNull:
		return lua.LNil
	case v.Null:
		return lua.LFalse
	}
	switch v.Kind {
	case resp.KindInt:
		return lua.LNumber(v.Int)
	case resp.KindSimple:
		return field("ok", lua.LString(v.Text))
	case resp.KindError, resp.KindBulkError:
		return field("err", lua.LString(v.Text))
	case resp.KindBool:
		return lua.LBool(v.Int != 0)
	case resp.KindDouble:
		f, _ := strconv.ParseFloat(string(v.Text), 64)
		return field("double", lua.LNumber(f))
	case resp.KindBigNumber:
		return field("big_number", lua.LString(v.Text))
	case resp.KindVerbatim:
		t := r.l.NewTable()
		t.RawSetString("string", lua.LString(v.Text))
		t.RawSetString("format", lua.LString(v.Format))
		return field("verbatim_string", t)
	case resp.KindMap:
		t := r.l.NewTable()
		for i := 0; i+1 < len(v.Elems); i += 2 {
			t.RawSet(r.toLua(v.Elems[i]), r.toLua(v.Elems[i+1]))
		}
		return field("map", t)
	case resp.KindSet:
		t := r.l.NewTable()
		for _, e := range v.Elems {
			t.RawSet(r.toLua(e), lua.LTrue)
		}
		return field("set", t)
	case resp.KindArray, resp.KindPush:
		t := r.l.NewTable()
		for i, e := range v.Elems {
			t.RawSetInt(i+1, r.toLua(e))
		}
		return t
	default:
		return lua.LString(v.Text)
	}
}

// maxLuaDepth bounds the nesting of what a script returns.
const maxLuaDepth = 1000

// reply appends what the script returned.
func (r *luaRun) reply(v lua.LValue, depth int) {
	q := r.q
	if depth > maxLuaDepth {
		q.err("ERR reached lua stack limit")
		return
	}
	switch v := v.(type) {
	case lua.LNumber:
		n := float64(v)
		if n >= math.MaxInt64 || n <= math.MinInt64 || math.IsNaN(n) {
			q.integer(math.MinInt64)
		} else {
			q.integer(int64(n))
		}
	case lua.LString:
		q.bulk(string(v))
	case lua.LBool:
		switch {
		case q.protocol() >= 3 && r.resp >= 3:
			q.out = resp.AppendBool(q.out, 3, bool(v))
		case bool(v):
			q.integer(1)
		default:
			q.null()
		}
	case *lua.LTable:
		r.replyTable(v, depth)
	default:
		q.null()
	}
}

func (r *luaRun) replyTable(t *lua.LTable, depth int) {
	q := r.q
	if err, ok := t.RawGetString("err").(lua.LString); ok {
		q.failed = q.failed || depth == 0
		q.out = resp.AppendError(q.out, string(err))
		return
	}
	if ok, is := t.RawGetString("ok").(lua.LString); is {
		q.simple(string(ok))
		return
	}
	if n, is := t.RawGetString("double").(lua.LNumber); is {
		q.out = resp.AppendDouble(q.out, q.protocol(), float64(n))
		return
	}
	if n, is := t.RawGetString("big_number").(lua.LString); is {
		q.out = resp.AppendBigNumber(q.out, q.protocol(), strings.Map(oneLine, string(n)))
		return
	}
	if m, is := t.RawGetString("map").(*lua.LTable); is {
		var keys, values []lua.LValue
		m.ForEach(func(k, v lua.LValue) { keys, values = append(keys, k), append(values, v) })
		q.mapHeader(len(keys))
		for i := range keys {
			r.reply(keys[i], depth+1)
			r.reply(values[i], depth+1)
		}
		return
	}
	if m, is := t.RawGetString("set").(*lua.LTable); is {
		var members []lua.LValue
		m.ForEach(func(k, _ lua.LValue) { members = append(members, k) })
		q.setHeader(len(members))
		for _, k := range members {
			r.reply(k, depth+1)
		}
		return
	}
	if m, is := t.RawGetString("verbatim_string").(*lua.LTable); is {
		q.out = resp.AppendVerbatim(q.out, q.protocol(), m.RawGetString("format").String(), []byte(m.RawGetString("string").String()))
		return
	}
	n := 0
	for t.RawGetInt(n+1) != lua.LNil {
		n++
	}
	q.array(n)
	for i := range n {
		r.reply(t.RawGetInt(i+1), depth+1)
	}
}

// oneLine keeps a line from being broken.
func oneLine(c rune) rune {
	if c == '\r' || c == '\n' {
		return ' '
	}
	return c
}

func sha1Hex(s []byte) string {
	sum := sha1.Sum(s)
	return hex.EncodeToString(sum[:])
}

// openLibraries gives the script what Redis gives it, but for cmsgpack and
// struct. What reaches files, modules or our own output is left out.
func (r *luaRun) openLibraries() {
	l := r.l
	for name, open := range map[string]lua.LGFunction{
		lua.LoadLibName: lua.OpenPackage, lua.TabLibName: lua.OpenTable,
		lua.StringLibName: lua.OpenString, lua.MathLibName: lua.OpenMath,
	} {
		l.Push(l.NewFunction(open))
		l.Push(lua.LString(name))
		l.Call(1, 0)
	}
	l.Push(l.NewFunction(lua.OpenBase))
	l.Push(lua.LString(lua.BaseLibName))
	l.Call(1, 0)
	luajson.Preload(l)
	r.openJSON()
	for _, name := range []string{"dofile", "loadfile", "require", "module", "package", "_printregs", "newproxy"} {
		l.SetGlobal(name, lua.LNil)
	}
	l.SetGlobal("print", l.NewFunction(func(*lua.LState) int { return 0 }))
	l.NewTypeMetatable(luaErrorType)
	r.wrapPcall()
	r.openBit()
	addStruct(r.l)
	osTable := l.NewTable()
	begin := time.Now()
	osTable.RawSetString("clock", l.NewFunction(func(l *lua.LState) int {
		l.Push(lua.LNumber(time.Since(begin).Seconds()))
		return 1
	}))
	l.SetGlobal("os", osTable)
	r.openRedis()
}

// wrapPcall makes pcall hand out our errors as the strings that they are for a
// script.
func (r *luaRun) wrapPcall() {
	text := func(v lua.LValue) lua.LValue {
		switch v := v.(type) {
		case *lua.LUserData:
			if e, ok := v.Value.(*luaError); ok {
				if e.bare && !r.q.since("7.0") {
					return lua.LString(fmt.Sprintf("@%s: %d: %s", chunkName, e.line, e.text))
				}
				return lua.LString(e.text)
			}
		case *lua.LTable:
			if s, ok := v.RawGetString("err").(lua.LString); ok && r.q.since("7.0") {
				return s
			}
		}
		return v
	}
	pcall := r.l.GetGlobal("pcall")
	r.l.SetGlobal("pcall", r.l.NewFunction(func(l *lua.LState) int {
		n := l.GetTop()
		l.Insert(pcall, 1)
		l.Call(n, lua.MultRet)
		if r.killed.Load() {
			l.RaiseError("killed")
		}
		if l.Get(1) == lua.LFalse {
			l.Replace(2, text(l.Get(2)))
		}
		return l.GetTop()
	}))
}

func (r *luaRun) openJSON() {
	l := r.l
	module := l.NewTable()
	l.Push(l.NewFunction(luajson.Loader))
	l.Call(0, 1)
	plain := l.CheckTable(-1)
	l.Pop(1)
	for _, name := range []string{"encode", "decode"} {
		f := plain.RawGetString(name)
		module.RawSetString(name, l.NewFunction(func(l *lua.LState) int {
			n := l.GetTop()
			l.Insert(f, 1)
			l.Call(n, 2)
			if l.Get(-2) == lua.LNil && l.Get(-1) != lua.LNil {
				l.RaiseError("%s", l.Get(-1).String())
			}
			l.Pop(1)
			return 1
		}))
	}
	l.SetGlobal("cjson", module)
}

// openBit is the bit library: operations on 32 bits.
func (r *luaRun) openBit() {
	l := r.l
	module := l.NewTable()
	toBit := func(n lua.LNumber) int32 { return int32(uint32(int64(math.Mod(math.RoundToEven(float64(n)), 1<<32)))) } // wraps around by definition
	fold := func(f func(a, b int32) int32) lua.LGFunction {
		return func(l *lua.LState) int {
			v := toBit(l.CheckNumber(1))
			for i := 2; i <= l.GetTop(); i++ {
				v = f(v, toBit(l.CheckNumber(i)))
			}
			l.Push(lua.LNumber(v))
			return 1
		}
	}
	shift := func(f func(v uint32, n uint) uint32) lua.LGFunction {
		return func(l *lua.LState) int {
			n := uint(toBit(l.CheckNumber(2))) & 31 // the lower five bits
			l.Push(lua.LNumber(int32(f(uint32(toBit(l.CheckNumber(1))), n))))
			return 1
		}
	}
	for name, f := range map[string]lua.LGFunction{
		"tobit":   fold(func(a, _ int32) int32 { return a }),
		"band":    fold(func(a, b int32) int32 { return a & b }),
		"bor":     fold(func(a, b int32) int32 { return a | b }),
		"bxor":    fold(func(a, b int32) int32 { return a ^ b }),
		"lshift":  shift(func(v uint32, n uint) uint32 { return v << n }),
		"rshift":  shift(func(v uint32, n uint) uint32 { return v >> n }),
		"arshift": shift(func(v uint32, n uint) uint32 { return uint32(int32(v) >> n) }),
		"rol":     shift(func(v uint32, n uint) uint32 { return v<<n | v>>(32-n)&^0 }),
		"ror":     shift(func(v uint32, n uint) uint32 { return v>>n | v<<(32-n) }),
		"bnot": func(l *lua.LState) int {
			l.Push(lua.LNumber(^toBit(l.CheckNumber(1))))
			return 1
		},
		"bswap": func(l *lua.LState) int {
			v := uint32(toBit(l.CheckNumber(1)))
			l.Push(lua.LNumber(int32(v>>24 | v>>8&0xff00 | v<<8&0xff0000 | v<<24)))
			return 1
		},
		"tohex": func(l *lua.LState) int {
			n := 8
			if l.GetTop() > 1 {
				n = int(toBit(l.CheckNumber(2)))
			}
			format := "%08x"
			if n < 0 {
				n, format = -n, "%08X"
			}
			hexed := fmt.Sprintf(format, uint32(toBit(l.CheckNumber(1))))
			l.Push(lua.LString(hexed[8-min(n, 8):]))
			return 1
		},
	} {
		module.RawSetString(name, l.NewFunction(f))
	}
	l.SetGlobal("bit", module)
}

// openRedis is the library redis, which 7.4 also calls server.
func (r *luaRun) openRedis() {
	l := r.l
	module := l.NewTable()
	single := func(name string) lua.LGFunction {
		return func(l *lua.LState) int {
			t := l.NewTable()
			s, ok := l.Get(1).(lua.LString)
			switch {
			case l.GetTop() != 1 || !ok:
				t.RawSetString("err", lua.LString("ERR wrong number or type of arguments"))
			case name == "err" && r.q.since("7.0"):
				text := strings.TrimPrefix(string(s), "-")
				if !strings.Contains(text, " ") {
					text = "ERR " + text
				}
				t.RawSetString(name, lua.LString(text))
			default:
				t.RawSetString(name, s)
			}
			l.Push(t)
			return 1
		}
	}
	for name, f := range map[string]lua.LGFunction{
		"call": r.call(false), "pcall": r.call(true), "error_reply": single("err"), "status_reply": single("ok"),
		"sha1hex": func(l *lua.LState) int {
			if l.GetTop() != 1 {
				r.raise(r.q.scriptError("wrong number of arguments"), true)
			}
			l.Push(lua.LString(sha1Hex([]byte(l.ToString(1)))))
			return 1
		},
		"log": func(l *lua.LState) int {
			if l.GetTop() < 2 {
				r.raise(r.q.scriptError("redis.log() requires two arguments or more."), true)
			}
			return 0
		},
		"setresp": func(l *lua.LState) int {
			n := l.ToInt(1)
			switch {
			case l.GetTop() != 1:
				r.raise(r.q.scriptError("redis.setresp() requires one argument."), true)
			case n != 2 && n != 3:
				r.raise(r.q.scriptError("RESP version must be 2 or 3."), true)
			}
			r.resp = n
			return 0
		},
		"replicate_commands": func(l *lua.LState) int { l.Push(lua.LTrue); return 1 },
		"set_repl":           func(*lua.LState) int { return 0 },
		"breakpoint":         func(l *lua.LState) int { l.Push(lua.LFalse); return 1 },
		"debug":              func(*lua.LState) int { return 0 },
	} {
		module.RawSetString(name, l.NewFunction(f))
	}
	for i, name := range []string{"LOG_DEBUG", "LOG_VERBOSE", "LOG_NOTICE", "LOG_WARNING"} {
		module.RawSetString(name, lua.LNumber(i))
	}
	for name, v := range map[string]int{"REPL_NONE": 0, "REPL_AOF": 1, "REPL_SLAVE": 2, "REPL_REPLICA": 2, "REPL_ALL": 3} {
		module.RawSetString(name, lua.LNumber(v))
	}
	if r.q.since("7.0") {
		module.RawSetString("REDIS_VERSION", lua.LString(r.q.s.prof.version))
		module.RawSetString("REDIS_VERSION_NUM", lua.LNumber(versionNumber(r.q.s.prof.version)))
		module.RawSetString("acl_check_cmd", l.NewFunction(r.aclCheck))
	}
	if r.q.since("7.0") {
		meta := l.NewTable()
		meta.RawSetString("__newindex", l.NewFunction(func(l *lua.LState) int {
			l.RaiseError("Attempt to modify a readonly table")
			return 0
		}))
		l.SetMetatable(module, meta)
	}
	l.SetGlobal("redis", module)
	if r.q.since("7.4") {
		l.SetGlobal("server", module)
	}
}

func versionNumber(version string) (n int) {
	for part := range strings.SplitSeq(version, ".") {
		digit, _ := strconv.Atoi(part)
		n = n<<8 | digit
	}
	return n
}

// aclCheck is redis.acl_check_cmd: may the user run this?
func (r *luaRun) aclCheck(l *lua.LState) int {
	args := make([][]byte, l.GetTop())
	for i := range args {
		args[i] = []byte(l.ToString(i + 1))
	}
	if len(args) == 0 {
		r.raise("ERR Please specify at least one argument for this redis.acl_check_cmd() call", true)
	}
	cmd, _ := r.q.s.table.Find(args)
	if cmd == nil {
		r.raise("ERR Invalid command passed to redis.acl_check_cmd()", true)
	}
	id := r.q.c.identity.Load()
	l.Push(lua.LBool(id == nil || id.grant.set.Load().Check(cmd, args) == acl.OK))
	return 1
}

// protectGlobals keeps the script from making globals, and from reading those
// that there are not.
func (r *luaRun) protectGlobals() {
	l := r.l
	meta := l.NewTable()
	meta.RawSetString("__newindex", l.NewFunction(func(l *lua.LState) int {
		if r.q.since("7.0") {
			l.RaiseError("Attempt to modify a readonly table")
		}
		l.RaiseError("Script attempted to create global variable '%s'", l.ToString(2))
		return 0
	}))
	meta.RawSetString("__index", l.NewFunction(func(l *lua.LState) int {
		l.RaiseError("Script attempted to access nonexistent global variable '%s'", l.ToString(2))
		return 0
	}))
	l.SetMetatable(l.Get(lua.GlobalsIndex), meta)
}
