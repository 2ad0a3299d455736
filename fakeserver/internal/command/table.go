package command

import (
	"fmt"
	"strings"
	"sync"
)

// Table holds the commands of one engine level. It never changes and is safe for concurrent use.
type Table struct {
	level      string
	categories []string
	commands   []*Command // those that stand alone and the containers
	every      []*Command // the subcommands too, by ID
	byName     map[string]*Command
}

// generatedLevel is one level as the generator writes it.
type generatedLevel struct {
	level      string
	categories []string
	commands   []Command
}

// longestName bounds the names that Lookup looks at; newTable refuses a table with a longer one.
const longestName = 32

var tables = sync.OnceValue(func() []*Table {
	all := make([]*Table, len(generatedLevels))
	for i, g := range generatedLevels {
		all[i] = newTable(g)
	}
	return all
})

// ForLevel returns the table of an engine level, such as "6.0". Every call returns the same table. The error names the
// levels that exist.
func ForLevel(level string) (*Table, error) {
	for _, t := range tables() {
		if t.level == level {
			return t, nil
		}
	}
	return nil, fmt.Errorf("no command table for engine level %q: expected one of %s", level, strings.Join(Levels(), ", "))
}

// Levels returns the engine levels that have a table, oldest first.
func Levels() []string {
	var names []string
	for _, g := range generatedLevels {
		names = append(names, g.level)
	}
	return names
}

func newTable(g generatedLevel) *Table {
	t := &Table{
		level:      g.level,
		categories: g.categories,
		every:      make([]*Command, len(g.commands)),
		byName:     make(map[string]*Command, len(g.commands)),
	}
	for i := range g.commands {
		c := &g.commands[i]
		if len(c.Name) > longestName {
			panic(fmt.Sprintf("command: the name %q is longer than longestName; raise that constant", c.Name))
		}
		c.keys = c.keySource()
		c.onlyKey, c.onlyFlags = c.onlyKeyOf()
		t.every[i] = c
		name, sub, isSub := strings.Cut(c.Name, "|")
		if !isSub {
			t.byName[c.Name] = c
			t.commands = append(t.commands, c)
			continue
		}
		c.Container = t.byName[name]
		if c.Container.subcommands == nil {
			c.Container.subcommands = map[string]*Command{}
		}
		c.Container.subcommands[sub] = c
		c.Container.Subcommands = append(c.Container.Subcommands, c)
	}
	return t
}

// Level returns the engine level of the table, such as "6.0".
func (t *Table) Level() string { return t.level }

// Lookup returns the command with that name in any mix of upper and lower case, or nil. Subcommands are not found by it. It
// does not allocate.
func (t *Table) Lookup(name []byte) *Command { return lookup(t.byName, name) }

func lookup(names map[string]*Command, name []byte) *Command {
	if len(name) > longestName {
		return nil
	}
	var lower [longestName]byte
	for i, b := range name {
		if 'A' <= b && b <= 'Z' {
			b += 'a' - 'A'
		}
		lower[i] = b
	}
	return names[string(lower[:len(name)])]
}

// Find returns the command that a call names, which for a container with an argument is one of its subcommands; args includes
// the command's name and is not empty. container is set if it is or ought to be a subcommand: for an unknown subcommand c is
// nil and container is not; for an unknown command both are nil. It does not allocate.
func (t *Table) Find(args [][]byte) (c, container *Command) {
	c = t.Lookup(args[0])
	if c == nil || c.subcommands == nil || len(args) == 1 {
		return c, nil
	}
	return lookup(c.subcommands, args[1]), c
}

// FindName returns the command or subcommand of a name as it is written in an ACL rule, "get" or "config|get", in any mix of
// upper and lower case, or nil.
func (t *Table) FindName(name string) *Command {
	first, sub, isSub := strings.Cut(name, "|")
	c := t.Lookup([]byte(first))
	if !isSub || c == nil {
		return c
	}
	return lookup(c.subcommands, []byte(sub))
}

// All returns the commands without the subcommands, in the order of their names, so that All()[c.ID] is c. The slice is
// shared and must not be changed.
func (t *Table) All() []*Command { return t.commands }

// Every returns the commands and then their subcommands, so that Every()[c.ID] is c. The slice is shared and must not be
// changed.
func (t *Table) Every() []*Command { return t.every }

// Categories returns the ACL categories of the level without "@", in the order in which ACL CAT lists them. The slice is
// shared and must not be changed.
func (t *Table) Categories() []string { return t.categories }
