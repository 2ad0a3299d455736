package keyspace

import (
	"bufio"
	"bytes"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
	"github.com/jonboulle/clockwork"

	"github.com/entracache/entracache/fakeserver/internal/command"
)

// Databases is the number of databases of a keyspace, Redis' default.
const Databases = 16

// Engine is one keyspace. It is safe for concurrent use.
type Engine struct {
	clock clockwork.Clock

	mu       sync.Mutex
	mini     *miniredis.Miniredis
	srv      *server.Server
	peer     *server.Peer // every call goes through this one, with the caller's state put in
	out      replyBuffer
	epoch    time.Time // what times to live count from in the engine, see adjust
	at       time.Time // when the present command began
	expiry   deadlines
	held     [Databases]map[string]*held
	watchers map[*Watcher]struct{}
	waiting  map[dbKey]*queue
	turns    int64 // of the Waiters so far

	// About the call that the engine is running.
	outer   bool // the next call that the hook sees is ours, not a script's
	passing bool // the next call that the hook sees is one of its own
	reads   bool // ours changes no key
	locked  bool // the engine is, because a script runs
	current *Session
	script  *Script // nil if no script has called anything

	mortalFields bool // there have been hash fields with a time to live
	swapped      bool // databases were swapped

	// observe is told of every write command that did not fail, and expired of
	// every key that expired, both with the keyspace locked. See Observe.
	observe func(*Tx, Write)
	expired func(db int, key string)
}

// Write is a write command that ran. Args and Reply may not be kept; Reply is
// in the protocol version of the call.
type Write struct {
	Session *Session
	Command *command.Command
	Args    [][]byte
	Reply   []byte
}

// Observe sets who is told of writes and of keys that expired. Both are called
// with the keyspace locked, so they must not call the Engine; write may read by
// way of the Tx. They must be set before the first command.
func (e *Engine) Observe(write func(*Tx, Write), expired func(db int, key string)) {
	e.observe, e.expired = write, expired
}

// Expire removes the keys whose time has come, which otherwise happens with the
// next command.
func (e *Engine) Expire() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.expire()
}

// New makes an empty keyspace whose keys expire by the clock.
func New(clock clockwork.Clock) (*Engine, error) {
	e := &Engine{clock: clock, mini: miniredis.NewMiniRedis(), watchers: map[*Watcher]struct{}{}, waiting: map[dbKey]*queue{}}
	// Dial is what starts the engine without a listener; the connection
	// itself is not needed.
	conn, err := e.mini.Dial()
	if err != nil {
		return nil, fmt.Errorf("start the data engine: %w", err)
	}
	if err := conn.Close(); err != nil {
		return nil, fmt.Errorf("start the data engine: %w", err)
	}
	e.srv = e.mini.Server()
	e.newPeer()
	e.at = e.now()
	e.epoch = e.at.Add(-beforeStart)
	e.mini.SetTime(e.at)
	e.srv.SetPreHook(e.hook)
	return e, nil
}

func (e *Engine) newPeer() { e.peer = server.NewPeer(bufio.NewWriter(&e.out)) }

// Close stops the engine's goroutines. The keyspace must not be used after it.
func (e *Engine) Close() { e.mini.Close() }

// Knows says whether the engine has the command, named in any case.
func (e *Engine) Knows(name string) bool { return e.srv.IsRegisteredCommand(name) || ofFields[name] }

// ofFields are the commands that the engine lacks and adjust runs.
var ofFields = map[string]bool{
	"hpexpire": true, "hexpireat": true, "hpexpireat": true, "hexpiretime": true, "hpexpiretime": true,
}

// Session is one connection's place in the keyspace: the selected database
// and the protocol version of its replies. It belongs to one goroutine.
type Session struct {
	Owner any // whose it is; the engine does not look at it

	db     int
	engine any // the engine's own state of the connection
}

// NewSession returns a session on database 0.
func (e *Engine) NewSession() *Session { return &Session{} }

// DB is the selected database.
func (s *Session) DB() int { return s.db }

// Call is one command to run. Args includes the command's name and is not
// kept.
type Call struct {
	Session *Session
	Command *command.Command
	Args    [][]byte
	Proto   int // 2 or 3
	// Script is told of the calls that an EVAL makes; nil for other commands.
	Script *Script
	// Quiet calls are not told to who observes; see Tx.Tell.
	Quiet bool
}

// Do runs one command and appends its reply to dst.
func (e *Engine) Do(dst []byte, c Call) []byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	tx := Tx{e: e}
	dst = tx.Do(dst, c)
	tx.done()
	return dst
}

// Atomically runs fn while nothing else can touch the keyspace. Waiting
// clients are served after it. fn must not call the Engine, only the Tx.
func (e *Engine) Atomically(fn func(*Tx)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	tx := Tx{e: e}
	defer tx.done() // also when fn panics: what it wrote is there
	fn(&tx)
}

// Tx gives access to the keyspace inside Atomically.
type Tx struct {
	e       *Engine
	changed []dbKey // keys that were written and that somebody waits for
	all     bool    // anything may have been written
}

type dbKey struct {
	db  int
	key string
}

// Do runs one command and appends its reply to dst.
func (t *Tx) Do(dst []byte, c Call) []byte {
	e := t.e
	e.expire()
	start := len(dst)
	if dst, done := t.quick(dst, c); done {
		t.tell(c, dst[start:])
		return dst
	}
	if reply, refused := refuse(c); refused {
		return append(dst, reply...)
	}
	e.at = e.now()
	e.mini.SetTime(e.at)
	e.script = c.Script
	if c.Command.Name == "xread" || c.Command.Name == "xreadgroup" {
		c.Args = withoutBlock(c)
	}
	c.Args = allAtOnce(c)
	if waits[c.Command.Name] {
		dst = append(dst, e.withoutWaiting(c)...)
	} else {
		e.reads = !c.Command.Write
		dst = single(e.dispatch(dst, c.Session, c.Proto, stringArgs(c.Args)), start)
		e.reads = false
	}
	reply := dst[start:]
	e.repair(c, reply)
	e.noteDeadlines(c)
	e.learn(c, reply)
	scripted := e.script != nil
	e.script = nil
	t.tell(c, reply)
	switch {
	case scripted || c.Command.Name == "swapdb" || c.Command.Name == "move":
		t.all = true
	case c.Command.Write && !nothingDone(reply):
		for _, k := range c.Command.Keys(c.Args) {
			t.wrote(c.Session, k)
		}
	}
	return dst
}

// tell lets the observer know of a write that did not fail.
func (t *Tx) tell(c Call, reply []byte) {
	if c.Command.Write && !c.Quiet && t.e.observe != nil && len(reply) > 0 && reply[0] != '-' {
		t.e.observe(t, Write{Session: c.Session, Command: c.Command, Args: c.Args, Reply: reply})
	}
}

// Tell lets the observer know of a write that was made by several quiet calls.
func (t *Tx) Tell(c Call, reply []byte) { t.tell(c, reply) }

// wrote notes for those who wait that a key was written.
func (t *Tx) wrote(s *Session, key []byte) {
	if t.e.waiting[dbKey{s.db, string(key)}] == nil {
		return
	}
	k := dbKey{s.db, string(key)}
	if n := len(t.changed); n == 0 || t.changed[n-1] != k {
		t.changed = append(t.changed, k)
	}
}

// nothingDone says of a write command's reply that no list, sorted set or
// stream got an element: it is an error, a null or an empty array.
func nothingDone(reply []byte) bool {
	return len(reply) == 0 || reply[0] == '-' || reply[0] == '_' ||
		bytes.HasPrefix(reply, []byte("$-1")) || bytes.HasPrefix(reply, []byte("*-1")) || bytes.HasPrefix(reply, []byte("*0"))
}

// done serves the waiting clients whose keys were written.
func (t *Tx) done() {
	if t.all || len(t.changed) > 0 {
		t.e.serve(t)
	}
}

// Select changes the session's database; it reports whether there is one of
// that number.
func (t *Tx) Select(s *Session, db int) bool {
	if db < 0 || db >= Databases {
		return false
	}
	t.e.dispatch(nil, s, 2, []string{"SELECT", strconv.Itoa(db)})
	s.db = db
	return true
}

// Select changes the session's database; it reports whether there is one of
// that number.
func (e *Engine) Select(s *Session, db int) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := Tx{e: e}
	return t.Select(s, db)
}

// DBStat counts the keys of one database.
type DBStat struct{ DB, Keys, Expires int }

// Stats counts the keys of each database that has any.
func (t *Tx) Stats() []DBStat {
	e := t.e
	e.expire()
	var stats []DBStat
	for db := range Databases {
		s := Session{}
		t.Select(&s, db)
		if n := replyInt(e.dispatch(nil, &s, 2, []string{"DBSIZE"})); n > 0 {
			stats = append(stats, DBStat{DB: db, Keys: int(n), Expires: e.volatile(db)})
		}
	}
	return stats
}

// dispatch calls the engine as the session and appends the reply to dst.
func (e *Engine) dispatch(dst []byte, s *Session, proto int, args []string) []byte {
	defer func() {
		if p := recover(); p != nil {
			// The engine locks itself without defer, so a panic in one of its
			// commands leaves it locked. Nobody else uses that lock while we
			// hold ours: free it, or every later command would hang.
			e.mini.TryLock()
			e.mini.Unlock()
			e.newPeer()
			e.passing, e.reads, e.locked = false, false, false
			panic(p)
		}
	}()
	e.out.b = dst
	e.outer, e.current = true, s
	e.peer.Ctx = s.engine
	e.peer.Resp3 = proto == 3
	e.srv.Dispatch(e.peer, args)
	e.peer.Flush()
	s.engine = e.peer.Ctx
	dst, e.out.b = e.out.b, nil
	return dst
}

// replyBuffer lets the engine write straight to the caller's slice.
type replyBuffer struct{ b []byte }

func (r *replyBuffer) Write(p []byte) (int, error) {
	r.b = append(r.b, p...)
	return len(p), nil
}

func stringArgs(args [][]byte) []string {
	out := make([]string, len(args))
	for i, a := range args {
		out[i] = string(a)
	}
	return out
}

// replyInt reads an integer reply, 0 when it is none.
func replyInt(reply []byte) int64 {
	if len(reply) < 4 || reply[0] != ':' {
		return 0
	}
	n, err := strconv.ParseInt(string(reply[1:len(reply)-2]), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// now is the keyspace's time, in the engine's resolution.
func (e *Engine) now() time.Time { return e.clock.Now().Truncate(time.Millisecond) }
