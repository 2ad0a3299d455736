package fakeserver

import (
	"github.com/entracache/entracache/fakeserver/internal/command"
)

// cmdCommand is COMMAND at the level of Redis 6.0. Commands that the service
// blocks altogether are not shown: it answers as if it did not have them (that
// it leaves them out here too has no source).
func cmdCommand(q *request) {
	switch {
	case len(q.args) == 1:
		shown := q.shownCommands()
		q.array(len(shown))
		for _, cmd := range shown {
			q.describe(cmd)
		}
	case equalFold(q.args[1], "count") && len(q.args) == 2:
		q.integer(int64(len(q.shownCommands())))
	case equalFold(q.args[1], "info"):
		q.array(len(q.args) - 2)
		for _, name := range q.args[2:] {
			if cmd := q.s.table.Lookup(name); cmd != nil && !q.hidden(cmd) {
				q.describe(cmd)
			} else {
				q.nullArray()
			}
		}
	case equalFold(q.args[1], "getkeys") && len(q.args) >= 3:
		q.commandKeys(q.args[2:])
	case equalFold(q.args[1], "help") && len(q.args) == 2:
		q.help("COMMAND", "(no subcommand) -- Return details about all Redis commands.",
			"COUNT -- Return the total number of commands in this Redis server.",
			"GETKEYS <full-command> -- Return the keys from a full Redis command.",
			"INFO [command-name ...] -- Return details about multiple Redis commands.")
	default:
		q.unknownSubcommand()
	}
}

func (q *request) hidden(cmd *command.Command) bool {
	subs, blocked := q.s.prof.blocked[cmd.Name]
	return blocked && subs == nil
}

func (q *request) shownCommands() []*command.Command {
	var shown []*command.Command
	for _, cmd := range q.s.table.All() {
		if !q.hidden(cmd) {
			shown = append(shown, cmd)
		}
	}
	return shown
}

// describe replies with the seven fields of 6.0.
func (q *request) describe(cmd *command.Command) {
	q.array(7)
	q.bulk(cmd.Name)
	q.integer(int64(cmd.Arity))
	q.setHeader(len(cmd.Flags))
	for _, f := range cmd.Flags {
		q.simple(f)
	}
	q.integer(int64(cmd.FirstKey))
	q.integer(int64(cmd.LastKey))
	q.integer(int64(cmd.KeyStep))
	q.setHeader(len(cmd.Categories))
	for _, c := range cmd.Categories {
		q.simple("@" + c)
	}
}

func (q *request) commandKeys(args [][]byte) {
	cmd := q.s.table.Lookup(args[0])
	switch {
	case cmd == nil || q.hidden(cmd):
		q.err("ERR Invalid command specified")
	case cmd.FirstKey == 0 && !cmd.Movable:
		q.err("ERR The command has no key arguments")
	case !cmd.ArityOK(len(args)):
		q.err("ERR Invalid number of arguments specified for command")
	default:
		keys := cmd.Keys(args)
		if len(keys) == 0 {
			q.err("ERR Invalid arguments specified for command")
			return
		}
		q.array(len(keys))
		for _, k := range keys {
			q.bulk(string(k))
		}
	}
}
