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

// hook sees every call before the engine does: ours, and those of a script.
func (e *Engine) hook(p *server.Peer, name string, args ...string) bool {
	if e.outer {
		e.outer = false
		e.noteFlush(name, e.existsOutside)
		return false
	}
	if waits[strings.ToLower(name)] {
		// It would wait with the keyspace locked.
		p.WriteError("This Redis command is not allowed from scripts")
		return true
	}
	if e.script == nil {
		return false
	}
	if e.script.Intercept != nil {
		if reply, handled := e.script.Intercept(append([]string{strings.ToLower(name)}, args...)); handled {
			p.WriteRaw(reply)
			return true
		}
	}
	if timed[strings.ToLower(name)] || name == "SET" {
		// Which of them are keys does not matter: for anything else PTTL
		// finds nothing.
		e.script.keys = append(e.script.keys, args...)
	}
	// The engine is locked while a script runs, so it cannot be asked whether
	// a key exists; taking every watched key as removed is the safe side.
	e.noteFlush(name, func(dbKey) bool { return true })
	return false
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
