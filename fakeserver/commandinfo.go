package fakeserver

import (
	"slices"
	"strings"

	"github.com/entracache/entracache/fakeserver/internal/acl"
	"github.com/entracache/entracache/fakeserver/internal/command"
)

// cmdCommand is COMMAND. Commands that the service blocks altogether are not
// shown: it answers as if it did not have them (that it leaves them out here
// too has no source).
func cmdCommand(q *request) {
	shown := q.shownCommands()
	switch {
	case len(q.args) == 1:
		q.describeAll(shown)
	case q.is("count", 2, 2):
		q.integer(int64(len(shown)))
	case q.is("info", 2, 2) && q.since("7.0"):
		q.describeAll(shown)
	case q.is("info", 2, -1):
		q.array(len(q.args) - 2)
		for _, name := range q.args[2:] {
			if cmd := q.shownCommand(name); cmd != nil {
				q.describe(cmd)
			} else {
				q.null()
			}
		}
	case q.is("docs", 2, -1) && q.since("7.0"):
		q.commandDocs(shown)
	case q.is("list", 2, -1) && q.since("7.0"):
		q.commandList(shown)
	case q.is("getkeys", 3, -1):
		q.commandKeys(q.args[2:], false)
	case q.is("getkeysandflags", 3, -1) && q.since("7.0"):
		q.commandKeys(q.args[2:], true)
	case q.is("help", 2, 2):
		q.help("(no subcommand) -- All commands in detail.",
			"COUNT -- The number of commands.",
			"7.0:DOCS [<command-name> ...] -- What the documentation knows about commands, without its sentences.",
			"GETKEYS <full-command> -- The keys in a call of a command.",
			"7.0:GETKEYSANDFLAGS <full-command> -- The same, and what happens to them.",
			"INFO [<command-name> ...] -- Commands in detail.",
			"7.0:LIST [FILTERBY (MODULE <name> | ACLCAT <category> | PATTERN <pattern>)] -- The names of commands.")
	default:
		q.unknownSubcommand()
	}
}

func (q *request) hidden(cmd *command.Command) bool {
	if cmd.Container != nil {
		cmd = cmd.Container
	}
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

// shownCommand finds a command, or a subcommand by a name like "config|get".
func (q *request) shownCommand(name []byte) *command.Command {
	if cmd := q.s.table.FindName(string(name)); cmd != nil && !q.hidden(cmd) {
		return cmd
	}
	return nil
}

func (q *request) describeAll(commands []*command.Command) {
	q.array(len(commands))
	for _, cmd := range commands {
		q.describe(cmd)
	}
}

// describe replies with the seven fields of 6.x, and with the three more that
// 7.0 has. The notes of key specifications are left out.
func (q *request) describe(cmd *command.Command) {
	fields := 7
	if q.since("7.0") {
		fields = 10
	}
	q.array(fields)
	q.bulk(cmd.Name)
	q.integer(int64(cmd.Arity))
	q.statuses("", cmd.Flags)
	q.integer(int64(cmd.FirstKey))
	q.integer(int64(cmd.LastKey))
	q.integer(int64(cmd.KeyStep))
	q.statuses("@", cmd.Categories)
	if fields == 7 {
		return
	}
	q.setHeader(len(cmd.Tips))
	for _, tip := range cmd.Tips {
		q.bulk(tip)
	}
	q.setHeader(len(cmd.Specs))
	for i := range cmd.Specs {
		q.describeSpec(&cmd.Specs[i])
	}
	if cmd.Subcommands == nil {
		q.setHeader(0)
		return
	}
	q.describeAll(cmd.Subcommands)
}

func (q *request) statuses(prefix string, words []string) {
	q.setHeader(len(words))
	for _, word := range words {
		q.simple(prefix + word)
	}
}

func (q *request) describeSpec(s *command.KeySpec) {
	q.mapHeader(3)
	q.bulk("flags")
	q.statuses("", s.Flags.Names())
	q.bulk("begin_search")
	switch {
	case s.Index > 0:
		q.describeSearch("index", "index", s.Index)
	case s.Keyword != "":
		q.describeSearch("keyword", "keyword", s.Keyword, "startfrom", s.From)
	default:
		q.describeSearch("unknown")
	}
	q.bulk("find_keys")
	switch s.Find {
	case command.FindRange:
		q.describeSearch("range", "lastkey", s.Last, "keystep", s.Step, "limit", s.Limit)
	case command.FindKeynum:
		q.describeSearch("keynum", "keynumidx", s.Keynum, "firstkey", s.First, "keystep", s.Step)
	default:
		q.describeSearch("unknown")
	}
}

// describeSearch replies with a way to search; the spec is names and values in
// turn.
func (q *request) describeSearch(kind string, spec ...any) {
	q.mapHeader(2)
	q.bulk("type")
	q.bulk(kind)
	q.bulk("spec")
	q.mapHeader(len(spec) / 2)
	for _, field := range spec {
		switch v := field.(type) {
		case int:
			q.integer(int64(v))
		case string:
			q.bulk(v)
		}
	}
}

// commandDocs is COMMAND DOCS without summaries, complexities, histories and
// arguments.
func (q *request) commandDocs(shown []*command.Command) {
	if len(q.args) > 2 {
		shown = nil
		for _, name := range q.args[2:] {
			if cmd := q.shownCommand(name); cmd != nil {
				shown = append(shown, cmd)
			}
		}
	}
	q.docs(shown)
}

func (q *request) docs(commands []*command.Command) {
	q.mapHeader(len(commands))
	for _, cmd := range commands {
		q.bulk(cmd.Name)
		fields := 2
		for _, there := range []bool{cmd.DocFlags != nil, cmd.DeprecatedSince != "", cmd.Subcommands != nil} {
			if there {
				fields++
			}
		}
		q.mapHeader(fields)
		q.bulk("since")
		q.bulk(cmd.Since)
		q.bulk("group")
		q.bulk(cmd.Group)
		if cmd.DocFlags != nil {
			q.bulk("doc_flags")
			q.statuses("", cmd.DocFlags)
		}
		if cmd.DeprecatedSince != "" {
			q.bulk("deprecated_since")
			q.bulk(cmd.DeprecatedSince)
		}
		if cmd.Subcommands != nil {
			q.bulk("subcommands")
			q.docs(cmd.Subcommands)
		}
	}
}

// commandList is COMMAND LIST, in the order of the names; the engine's is that
// of a hash table.
func (q *request) commandList(shown []*command.Command) {
	keep := func(*command.Command) bool { return true }
	switch {
	case len(q.args) == 2:
	case len(q.args) == 5 && equalFold(q.args[2], "filterby"):
		arg := strings.ToLower(string(q.args[4]))
		switch strings.ToLower(string(q.args[3])) {
		case "module":
			keep = func(*command.Command) bool { return false }
		case "aclcat":
			keep = func(cmd *command.Command) bool { return cmd.InCategory(arg) }
		case "pattern":
			keep = func(cmd *command.Command) bool { return acl.MatchGlob(arg, []byte(cmd.Name)) }
		default:
			q.err("ERR syntax error")
			return
		}
	default:
		q.err("ERR syntax error")
		return
	}
	var names []string
	for _, cmd := range shown {
		for _, c := range slices.Concat([]*command.Command{cmd}, cmd.Subcommands) {
			if keep(c) {
				names = append(names, c.Name)
			}
		}
	}
	q.strings(names)
}

func (q *request) commandKeys(args [][]byte, withFlags bool) {
	cmd, _ := q.s.table.Find(args)
	switch {
	case cmd == nil || q.hidden(cmd):
		q.err("ERR Invalid command specified")
		return
	case !cmd.HasKeys():
		q.err("ERR The command has no key arguments")
		return
	case !cmd.ArityOK(len(args)):
		q.err("ERR Invalid number of arguments specified for command")
		return
	}
	var positions []int
	var flags []command.KeyFlags
	for _, r := range cmd.KeyRanges(args) {
		for i := r.First; r.First != 0 && i <= r.Last; i += r.Step {
			positions, flags = append(positions, i), append(flags, r.Flags)
		}
	}
	if len(positions) == 0 && !cmd.HasFlag("no_mandatory_keys") {
		q.err("ERR Invalid arguments specified for command")
		return
	}
	q.array(len(positions))
	for i, at := range positions {
		if withFlags {
			q.array(2)
		}
		q.bulk(string(args[at]))
		if withFlags {
			q.statuses("", flags[i].Names())
		}
	}
}
