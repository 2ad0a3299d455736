package acl

import (
	"slices"

	"github.com/entracache/entracache/fakeserver/internal/command"
)

// Rules is the rule language of an engine level, with the commands and categories that its rules name. It never changes and
// is safe for concurrent use.
//
// The levels differ. 6.0 knows commands, first arguments, categories and key patterns. 6.2 adds patterns of channels. 7.0
// adds selectors, key patterns for reading or writing only, and subcommands that are commands of their own, which can be
// taken away too. 7.4 describes a user by the rules that were given, where the others describe the outcome.
type Rules struct {
	table       *command.Table
	allChannels bool

	// By category: the commands that are in it, and these with all the subcommands of its containers, which is what a rule
	// for the category sets.
	members, reach map[string]bits
	// exempt has the commands that no rule can forbid, or no one could become somebody else.
	exempt bits
}

// New returns the rules of the table's level. allChannels says what a new user or selector may do with channels before any
// rule: everything, or nothing (the engine's acl-pubsub-default, allchannels by default in 6.2, resetchannels from 7.0 on).
func New(t *command.Table, allChannels bool) *Rules {
	r := &Rules{table: t, allChannels: allChannels, members: map[string]bits{}, reach: map[string]bits{}, exempt: newBits(t)}
	for _, category := range t.Categories() {
		r.members[category], r.reach[category] = newBits(t), newBits(t)
	}
	for _, c := range t.Every() {
		for _, category := range c.Categories {
			r.members[category].set(c.ID, true)
			r.reach[category].setCommand(c, true)
		}
		// 6.0 knows the flag too but asks for AUTH by name: there HELLO takes a permission.
		if c.HasFlag("no_auth") && (r.since("6.2") || c.Name == "auth") {
			r.exempt.set(c.ID, true)
		}
	}
	return r
}

// WithAllChannels returns the same rules with another default for channels.
func (r *Rules) WithAllChannels(allChannels bool) *Rules {
	other := *r
	other.allChannels = allChannels
	return &other
}

// AllChannels returns the default for channels.
func (r *Rules) AllChannels() bool { return r.allChannels }

func (r *Rules) since(level string) bool { return r.table.Level() >= level }

// bits is a set of commands, by their IDs.
type bits []uint64

func newBits(t *command.Table) bits { return make(bits, (len(t.Every())+63)/64) }

func (b bits) has(id int) bool { return b[id/64]&(1<<(id%64)) != 0 }

func (b bits) set(id int, on bool) {
	if on {
		b[id/64] |= 1 << (id % 64)
	} else {
		b[id/64] &^= 1 << (id % 64)
	}
}

// setCommand sets a command with its subcommands.
func (b bits) setCommand(c *command.Command, on bool) {
	b.set(c.ID, on)
	for _, sub := range c.Subcommands {
		b.set(sub.ID, on)
	}
}

// setAll sets all that are in the mask.
func (b bits) setAll(mask bits, on bool) {
	for i, word := range mask {
		if on {
			b[i] |= word
		} else {
			b[i] &^= word
		}
	}
}

func (b bits) fill(t *command.Table, on bool) {
	for id := range t.Every() {
		b.set(id, on)
	}
}

func (b bits) clone() bits { return slices.Clone(b) }
