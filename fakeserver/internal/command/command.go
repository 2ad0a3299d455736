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

import "slices"

// Command is one command of a level. It is shared and must not be changed.
type Command struct {
	// ID counts the commands of one table from 0 without gaps, in the order of their names: an index for bit sets.
	ID int
	// Name is in lower case.
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

	rule keyRule
}

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
