// Package acl turns permission strings, such as "+@read ~app:*", into permission sets and asks them.
//
// [Rules] is the language of an engine level. [Rules.Compile] applies the rules of a string from left to right, as the
// engine's ACL SETUSER does to a user that it has just made (no command, no key). The result, a [Set], never changes: who
// changes a policy compiles a new set and swaps the pointer, so that a check needs no lock. [Set.Check] is asked for every
// command, so it allocates nothing and looks at keys only if the set does not allow all of them.
//
// A [User] is what ACL SETUSER makes: rules with passwords and switches around a set. It never changes either;
// [User.With] returns another one. A set knows nothing about signing in and nothing about blocked commands; those come
// before it.
package acl

import (
	"slices"

	"github.com/entracache/entracache/fakeserver/internal/command"
)

// Verdict is the answer of a check. Where selectors differ in why they refuse a call, the greatest verdict is the answer.
type Verdict uint8

const (
	// OK lets the command run.
	OK Verdict = iota
	// DeniedCommand refuses the command itself, or its first argument.
	DeniedCommand
	// DeniedKey refuses a key of a command that would be allowed on other keys.
	DeniedKey
	// DeniedChannel refuses a channel of a command that would be allowed on other channels.
	DeniedChannel
)

// String returns "ok", "denied command", "denied key" or "denied channel".
func (v Verdict) String() string {
	switch v {
	case OK:
		return "ok"
	case DeniedCommand:
		return "denied command"
	case DeniedKey:
		return "denied key"
	case DeniedChannel:
		return "denied channel"
	default:
		return "unknown verdict"
	}
}

// Set is a compiled permission string. It never changes and is safe for concurrent use.
type Set struct {
	// commands are those of the table that the set was compiled for, by ID.
	commands  []*command.Command
	selectors []selector // at least one
}

func (r *Rules) newSet(selectors ...selector) *Set {
	s := &Set{commands: r.table.Every(), selectors: make([]selector, len(selectors))}
	for i := range selectors {
		sel := &s.selectors[i]
		*sel = selectors[i].clone()
		// The rules must not see this: "+auth|x" is no error, and AUTH is not among the commands of a description.
		sel.allowed.setAll(r.exempt, true)
		if !slices.ContainsFunc(sel.firstArgs, func(args []string) bool { return args != nil }) {
			sel.firstArgs = nil
		}
		if !r.since("6.2") {
			sel.allChannels = true // there are no rules about channels
		}
		sel.open = sel.allKeys && sel.allChannels
		for _, glob := range sel.channels {
			sel.channelPatterns = append(sel.channelPatterns, newKeyPattern(glob, permitAll))
		}
	}
	return s
}

// Check says whether the command, which is the subcommand where the level has them, may run with these arguments; args
// includes the command's name. The order is that of the engine: the command first, then its keys, then its channels, so a
// call that is refused for several reasons is refused for the first of them. AUTH is always allowed, or no one could become
// somebody else. A call without keys is not key-checked: KEYS and SCAN show the names of all keys in every version.
//
// A command that is not of the table that the set was compiled for is refused. Check does not allocate.
func (s *Set) Check(cmd *command.Command, args [][]byte) Verdict {
	if cmd.ID >= len(s.commands) || s.commands[cmd.ID] != cmd {
		return DeniedCommand
	}
	first := &s.selectors[0]
	if first.open && first.allowed.has(cmd.ID) {
		return OK
	}
	if len(s.selectors) == 1 {
		verdict, _ := first.check(cmd, args)
		return verdict
	}
	verdict, _ := s.check(cmd, args)
	return verdict
}

// Explain is Check with the position in args of the key or channel that is refused; 0 for other verdicts.
func (s *Set) Explain(cmd *command.Command, args [][]byte) (verdict Verdict, position int) {
	if cmd.ID >= len(s.commands) || s.commands[cmd.ID] != cmd {
		return DeniedCommand, 0
	}
	return s.check(cmd, args)
}

func (s *Set) check(cmd *command.Command, args [][]byte) (verdict Verdict, position int) {
	verdict = DeniedCommand
	onlyKey, flags := cmd.OnlyKey(args)
	need := needed(flags)
	if onlyKey != 0 && cmd.Channels == command.ChannelsNone {
		return s.checkOnlyKey(cmd, args, onlyKey, need)
	}
	for i := range s.selectors {
		sel := &s.selectors[i]
		if !sel.allowed.has(cmd.ID) && !sel.firstArgAllowed(cmd.ID, args) {
			continue
		}
		if sel.allowsAllArgs(cmd) {
			return OK, 0
		}
		v, at := sel.checkArgs(cmd, args, onlyKey, need)
		if v == OK {
			return OK, 0
		}
		if v > verdict || v == verdict && at > position {
			verdict, position = v, at
		}
	}
	return verdict, position
}

// checkOnlyKey is check for calls that have one key and nothing else to look at, as most have.
func (s *Set) checkOnlyKey(cmd *command.Command, args [][]byte, position int, need permission) (verdict Verdict, at int) {
	verdict = DeniedCommand
	key := args[position]
	head := headOf(key)
	for i := range s.selectors {
		sel := &s.selectors[i]
		if !sel.allowed.has(cmd.ID) && !sel.firstArgAllowed(cmd.ID, args) {
			continue
		}
		if sel.allKeys {
			return OK, 0
		}
		for j := range sel.patterns {
			p := &sel.patterns[j]
			if p.mayMatch(head) && p.permits&need == need && p.matches(key) {
				return OK, 0
			}
		}
		verdict, at = DeniedKey, position
	}
	return verdict, at
}

func (s *selector) check(cmd *command.Command, args [][]byte) (verdict Verdict, position int) {
	if !s.allowed.has(cmd.ID) && !s.firstArgAllowed(cmd.ID, args) {
		return DeniedCommand, 0
	}
	if s.allowsAllArgs(cmd) {
		return OK, 0
	}
	onlyKey, flags := cmd.OnlyKey(args)
	return s.checkArgs(cmd, args, onlyKey, needed(flags))
}

// allowsAllArgs says whether nothing of a command that is allowed needs a look.
func (s *selector) allowsAllArgs(cmd *command.Command) bool {
	return s.allKeys && (s.allChannels || cmd.Channels == command.ChannelsNone)
}

// checkArgs checks the keys and the channels of a command that is allowed. What [command.Command.OnlyKey] returned is given,
// with the permission for it.
func (s *selector) checkArgs(cmd *command.Command, args [][]byte, onlyKey int, need permission) (verdict Verdict, position int) {
	if !s.allKeys {
		if onlyKey != 0 {
			if at := s.deniedOf(args, onlyKey, onlyKey, 1, need); at != 0 {
				return DeniedKey, at
			}
		} else if cmd.HasKeys() {
			if at := s.deniedKey(cmd, args); at != 0 {
				return DeniedKey, at
			}
		}
	}
	if !s.allChannels && cmd.Channels != command.ChannelsNone {
		if at := s.deniedChannel(cmd.Channels, args); at != 0 {
			return DeniedChannel, at
		}
	}
	return OK, 0
}

// deniedKey returns the position of the first key that no pattern allows, or 0.
func (s *selector) deniedKey(cmd *command.Command, args [][]byte) int {
	var ranges command.KeyRanges
	cmd.FindKeyRanges(args, &ranges)
	for i := range ranges {
		r := &ranges[i]
		if r.First == 0 {
			continue
		}
		if at := s.deniedOf(args, r.First, r.Last, r.Step, needed(r.Flags)); at != 0 {
			return at
		}
	}
	return 0
}

// deniedOf is deniedKey for the keys at first, first+step, … up to and including last.
func (s *selector) deniedOf(args [][]byte, first, last, step int, need permission) int {
keys:
	for at := first; at <= last; at += step {
		key := args[at]
		head := headOf(key)
		for i := range s.patterns {
			p := &s.patterns[i]
			if !p.mayMatch(head) || p.permits&need != need {
				continue
			}
			if p.kind == shortPrefix && len(key) >= len(p.text) || p.matches(key) {
				continue keys
			}
		}
		return at
	}
	return 0
}

// deniedChannel returns the position of the first channel that no pattern allows, or 0.
func (s *selector) deniedChannel(channels command.ChannelUse, args [][]byte) int {
	last := len(args) - 1
	if channels == command.ChannelsPublish {
		last = 1
	}
	for at := 1; at <= last; at++ {
		if !s.channelAllowed(args[at], channels == command.ChannelsPSubscribe) {
			return at
		}
	}
	return 0
}

// channelAllowed says whether one of the patterns matches a channel, or is equal to a pattern that somebody wants to
// subscribe to: whether all that one pattern matches is matched by another would be hard to tell.
func (s *selector) channelAllowed(channel []byte, isPattern bool) bool {
	head := headOf(channel)
	for i := range s.channelPatterns {
		p := &s.channelPatterns[i]
		if isPattern && p.glob == string(channel) || !isPattern && p.mayMatch(head) && p.matches(channel) {
			return true
		}
	}
	return false
}

func (s *selector) firstArgAllowed(id int, args [][]byte) bool {
	if id >= len(s.firstArgs) || len(args) < 2 {
		return false
	}
	for _, allowed := range s.firstArgs[id] {
		if equalFold(args[1], allowed) {
			return true
		}
	}
	return false
}

// ReadsAnyKey says whether a selector that allows the call also allows every key to be read. SORT asks this for the keys
// that its BY and GET patterns make up.
func (s *Set) ReadsAnyKey(cmd *command.Command, args [][]byte) bool {
	for i := range s.selectors {
		sel := &s.selectors[i]
		if v, _ := sel.check(cmd, args); v != OK {
			continue
		}
		if sel.allKeys || slices.ContainsFunc(sel.patterns, func(p keyPattern) bool { return p.glob == "*" && p.permits&permitRead != 0 }) {
			return true
		}
	}
	return false
}

// AllowsSubscription says whether a subscription may go on that is there already: to a channel that some selector's pattern
// matches, or to a pattern that is equal to one.
func (s *Set) AllowsSubscription(channel string, isPattern bool) bool {
	for i := range s.selectors {
		if s.selectors[i].allChannels || s.selectors[i].channelAllowed([]byte(channel), isPattern) {
			return true
		}
	}
	return false
}

// equalFold compares in ASCII, as the engine does.
func equalFold(arg []byte, lower string) bool {
	if len(arg) != len(lower) {
		return false
	}
	for i, b := range arg {
		if toLower(b) != lower[i] {
			return false
		}
	}
	return true
}

func toLower(b byte) byte {
	if 'A' <= b && b <= 'Z' {
		b += 'a' - 'A'
	}
	return b
}
