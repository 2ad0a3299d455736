// Package command is the command table of the fake cache: for each engine level, every command with its arity, flags, ACL
// categories and key positions.
//
// The facts of a level are one data file, levels/<level>.yaml, with its sources named at the top. The generator in gen turns
// all of them into table_gen.go, so that nothing is parsed at run time. A [Table] and its [Command]s are shared by every
// connection and never change.
//
// The package knows what a command is, not what it does and not who may run it: see the dispatcher and package acl.
package command

//go:generate go run ./gen

import (
	"slices"
	"strings"
)

// Command is one command of a level. It is shared and must not be changed.
type Command struct {
	// ID counts the commands of one table from 0 without gaps: an index for bit sets. First come the commands of
	// [Table.All] in the order of their names, then all subcommands in the order of theirs.
	ID int
	// Name is in lower case; that of a subcommand has its container before it, as in "config|get".
	Name string
	// Arity counts the command's name too. Positive: exactly that many arguments; negative: at least that many.
	Arity int
	// Flags are named and ordered as COMMAND shows them ("write", "readonly", "denyoom", … "movablekeys").
	Flags []string
	// Categories are the ACL categories without "@", in the order of [Table.Categories].
	Categories []string
	// FirstKey, LastKey and KeyStep are the key positions that COMMAND shows. FirstKey is 0 if there are none or if only
	// the arguments tell; a negative LastKey counts from the end, -1 being the last argument.
	FirstKey, LastKey, KeyStep int
	// Movable says that the key positions depend on the arguments, so that only Keys and KeyRanges know them.
	Movable bool
	// Write says that the command may change the data set (flag "write").
	Write bool
	// Channels says which arguments are channels that the ACL checks.
	Channels ChannelUse

	// Container is the command that a subcommand belongs to, nil otherwise. Subcommands are in the order of their names.
	// In levels 6.x there are none: the containers take their first argument themselves.
	Container   *Command
	Subcommands []*Command

	// The rest is known from level 7.0 on.

	// Specs say where the keys are and what happens to them.
	Specs []KeySpec
	// Tips are hints for clients, as COMMAND shows them.
	Tips []string
	// Group, Since, DocFlags and DeprecatedSince are what COMMAND DOCS tells.
	Group, Since    string
	DocFlags        []string
	DeprecatedSince string
	// Protected commands are refused unless the server's configuration allows them.
	Protected bool

	rule        keyRule
	subcommands map[string]*Command // by their own names, without the container
	keys        keySource
	onlyKey     int
	onlyFlags   KeyFlags
}

// SubName is the subcommand's own name, "get" of "config|get", or the name of a command that is none.
func (c *Command) SubName() string {
	if _, sub, isSub := strings.Cut(c.Name, "|"); isSub {
		return sub
	}
	return c.Name
}

// OnlyKey returns the position of the key in a call, and what happens to it, of a command that has one in a place that does
// not depend on the arguments, as most have; 0 for other commands. It is a shortcut for KeyRanges.
func (c *Command) OnlyKey(args [][]byte) (position int, flags KeyFlags) {
	if c.onlyKey == 0 || !c.ArityOK(len(args)) {
		return 0, 0
	}
	if c.rule == ruleSet {
		return c.onlyKey, setFlags(args)
	}
	return c.onlyKey, c.onlyFlags
}

// HasKeys says whether any call of the command can name keys.
func (c *Command) HasKeys() bool { return c.keys != noKeys }

// ArityOK says whether n arguments, the command's name included, are a number that the command takes.
func (c *Command) ArityOK(n int) bool {
	if c.Arity < 0 {
		return n >= -c.Arity
	}
	return n == c.Arity
}

// HasFlag says whether the command has the flag, named as in Flags.
func (c *Command) HasFlag(flag string) bool { return slices.Contains(c.Flags, flag) }

// InCategory says whether the command belongs to the ACL category, named as in Categories.
func (c *Command) InCategory(category string) bool { return slices.Contains(c.Categories, category) }
