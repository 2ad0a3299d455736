// Package acl turns permission strings, such as "+@read ~app:*", into permission sets and asks them.
//
// [Compile] applies the rules of a string from left to right, as the engine's ACL SETUSER does to a user that it has just
// made (no command, no key), in the grammar of an engine level. The result, a [Set], never changes: who changes a policy
// compiles a new set and swaps the pointer, so that a check needs no lock. [Set.Check] is asked for every command, so it
// allocates nothing and looks at keys only if the set does not allow all of them.
//
// A set knows nothing about signing in and nothing about blocked commands; those come before it.
package acl

import "github.com/entracache/entracache/fakeserver/internal/command"

// Verdict is the answer of a check.
type Verdict uint8

const (
	// OK lets the command run.
	OK Verdict = iota
	// DeniedCommand refuses the command itself, or its first argument.
	DeniedCommand
	// DeniedKey refuses a key of a command that would be allowed on other keys.
	DeniedKey
)

// String returns "ok", "denied command" or "denied key".
func (v Verdict) String() string {
	switch v {
	case OK:
		return "ok"
	case DeniedCommand:
		return "denied command"
	case DeniedKey:
		return "denied key"
	default:
		return "unknown verdict"
	}
}

// Set is a compiled permission string. It never changes and is safe for concurrent use.
type Set struct {
	// commands are those of the table that the set was compiled for, by ID.
	commands []*command.Command
	// allowed has the bit of each command that may run with any arguments, by ID.
	allowed []uint64
	// firstArgs holds, by command ID, the first arguments that a command without its bit may run with, in lower case. Nil if
	// no command has any.
	firstArgs [][]string
	allKeys   bool
	patterns  []keyPattern
}

// Check says whether the command may run with these arguments; args includes the command's name. The order is that of the
// engine: the command first, then its keys, so a call that is refused for both is refused as a command. AUTH is always
// allowed, or no one could become somebody else. A call without keys is not key-checked: KEYS and SCAN show the names of all
// keys in every version.
//
// A command that is not of the table that the set was compiled for is refused. Check does not allocate.
func (s *Set) Check(cmd *command.Command, args [][]byte) Verdict {
	if cmd.ID >= len(s.commands) || s.commands[cmd.ID] != cmd {
		return DeniedCommand
	}
	if s.allowed[cmd.ID/64]&(1<<(cmd.ID%64)) == 0 && !s.firstArgAllowed(cmd.ID, args) {
		return DeniedCommand
	}
	if !s.allKeys && s.FirstDeniedKey(cmd, args) != 0 {
		return DeniedKey
	}
	return OK
}

// FirstDeniedKey returns the index in args of the first key that no pattern allows, or 0 if there is none (argument 0 is the
// command's name, never a key). It tells what to log after a DeniedKey.
func (s *Set) FirstDeniedKey(cmd *command.Command, args [][]byte) int {
	if s.allKeys {
		return 0
	}
	for _, r := range cmd.KeyRanges(args) {
		if r.First == 0 {
			continue
		}
		for i := r.First; i <= r.Last; i += r.Step {
			if !s.keyAllowed(args[i]) {
				return i
			}
		}
	}
	return 0
}

func (s *Set) keyAllowed(key []byte) bool {
	for i := range s.patterns {
		if s.patterns[i].matches(key) {
			return true
		}
	}
	return false
}

func (s *Set) firstArgAllowed(id int, args [][]byte) bool {
	if s.firstArgs == nil || len(args) < 2 {
		return false
	}
	for _, allowed := range s.firstArgs[id] {
		if equalFold(args[1], allowed) {
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
