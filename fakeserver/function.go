package fakeserver

import "fmt"

// cmdFunction is FUNCTION, which came with 7.0: there are no libraries, and none
// can be loaded.
func cmdFunction(q *request) {
	switch {
	case q.is("help", 2, 2):
		q.help("DELETE <library> -- Remove a library.", "DUMP -- The libraries, serialized.", "FLUSH [ASYNC|SYNC] -- Remove all libraries.",
			"KILL -- End the function that runs.", "LIST [LIBRARYNAME <pattern>] [WITHCODE] -- The libraries.", "LOAD [REPLACE] <code> -- Add a library.",
			"RESTORE <payload> -- Add what DUMP gave.", "STATS -- What runs, and which engines there are.")
	case q.is("flush", 2, 2):
		q.simple("OK")
	case q.is("flush", 3, 3):
		if !equalFold(q.args[2], "sync") && !equalFold(q.args[2], "async") {
			q.err("ERR FUNCTION FLUSH only supports SYNC|ASYNC option")
			return
		}
		q.simple("OK")
	case q.is("list", 2, -1):
		q.functionList()
	case q.is("delete", 3, 3):
		q.err("ERR Library not found")
	case q.is("kill", 2, 2):
		q.err(notBusy)
	case q.is("stats", 2, 2):
		q.mapHeader(2)
		q.bulk("running_script")
		q.null()
		q.bulk("engines")
		q.mapHeader(1)
		q.bulk("LUA")
		q.mapHeader(2)
		q.bulk("libraries_count")
		q.integer(0)
		q.bulk("functions_count")
		q.integer(0)
	case q.is("load", 2, -1), q.is("dump", 2, 2), q.is("restore", 3, -1):
		q.err("ERR entracache does not emulate the command '" + q.name() + "'")
	default:
		q.unknownSubcommand()
	}
}

func (q *request) functionList() {
	for i := 2; i < len(q.args); i++ {
		switch {
		case equalFold(q.args[i], "withcode"):
		case equalFold(q.args[i], "libraryname") && i+1 < len(q.args):
			i++
		case equalFold(q.args[i], "libraryname"):
			q.err("ERR library name argument was not given")
			return
		default:
			q.err(fmt.Sprintf("ERR Unknown argument %s", clip(q.args[i], 128)))
			return
		}
	}
	q.array(0)
}

// cmdFCall is FCALL and FCALL_RO.
func cmdFCall(q *request) { q.err("ERR Function not found") }
