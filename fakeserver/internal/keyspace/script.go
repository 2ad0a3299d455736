package keyspace

import (
	"strings"

	"github.com/alicebob/miniredis/v2/server"
)

// Script is told of every call that a script makes, before it runs.
type Script struct {
	// Intercept decides on a call; args includes the command's name. It
	// returns the reply in RESP2 and true to answer in the engine's place, or
	// false to let the engine run the call.
	Intercept func(args []string) (reply string, handled bool)

	keys []string // arguments that may be keys with a time to live
}

// hook sees every call before the engine does: ours, and those of a script. It
// returns true if the call is answered.
func (e *Engine) hook(p *server.Peer, name string, args ...string) bool {
	if e.passing {
		e.passing = false
		return false
	}
	if e.outer {
		e.outer = false
		e.prepare(name, args, e.reads)
		e.noteFlush(name, e.existsOutside)
		return e.adjust(p, name, args)
	}
	lower := strings.ToLower(name)
	if waits[lower] {
		// It would wait with the keyspace locked.
		p.WriteError("This Redis command is not allowed from scripts")
		return true
	}
	if e.script == nil {
		e.script = &Script{}
	}
	if e.script.Intercept != nil {
		if reply, handled := e.script.Intercept(append([]string{lower}, args...)); handled {
			p.WriteRaw(reply)
			return true
		}
	}
	e.locked = true
	defer func() { e.locked = false }()
	e.prepare(name, args, false)
	if timed[lower] || name == "SET" {
		// Which of them are keys does not matter: anything else has no time
		// to live.
		e.script.keys = append(e.script.keys, args...)
	}
	// The engine is locked while a script runs, so it cannot be asked whether
	// a key exists; taking every watched key as removed is the safe side.
	e.noteFlush(name, func(dbKey) bool { return true })
	return e.adjust(p, name, args)
}

// prepare is what has to be done before any call.
func (e *Engine) prepare(name string, args []string, reads bool) {
	switch name {
	case "SWAPDB":
		e.swapped = true
	case "FLUSHALL":
		e.expiry = deadlines{}
	}
	if e.holdsAny() {
		e.whileFree(func() { e.release(name, args, reads) })
	}
}

// whileFree does something with the engine unlocked: also a script's call,
// during which the engine has locked itself, may need to look at it. Nobody
// else uses that lock while we hold ours.
func (e *Engine) whileFree(f func()) {
	if e.locked {
		e.mini.Unlock()
		defer e.mini.Lock()
	}
	f()
}

func (e *Engine) noteFlush(name string, exists func(dbKey) bool) {
	if len(e.watchers) == 0 {
		return
	}
	switch name {
	case "FLUSHDB":
		e.flushed(e.current.db, exists)
	case "FLUSHALL", "SWAPDB":
		e.flushed(-1, exists)
	}
}

func (e *Engine) existsOutside(k dbKey) bool {
	return e.mini.DB(k.db).Exists(k.key)
}
