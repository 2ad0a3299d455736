package acl

import (
	"fmt"
	"slices"
	"strings"

	"github.com/entracache/entracache/fakeserver/internal/command"
)

// Grammar60 is the rule language of engine level 6.0: commands, first arguments, categories and key patterns; no channels,
// no selectors, no read and write patterns, and a first argument can be added but not taken away.
const Grammar60 = "6.0"

// RuleError says which rule of a permission string was refused and why, in the engine's words.
type RuleError struct {
	// Rule is the rule as it was written.
	Rule string
	// Reason is the engine's text for the refusal.
	Reason string
}

// Error returns the engine's text, without the "ERR " that comes before it on the wire. The rule is in it as it was written:
// who puts it on the wire replaces line ends.
func (e *RuleError) Error() string {
	return "Error in ACL SETUSER modifier '" + e.Rule + "': " + e.Reason
}

// The engine's texts for refused rules (measured on 6.0.20 as the reply of ACL SETUSER, except reasonFullyAdded, whose text
// is that of the source of 6.0.20).
const (
	reasonUnknown    = "Unknown command or category name in ACL"
	reasonSyntax     = "Syntax error"
	reasonFullyAdded = "Adding a subcommand of a command already fully added is not allowed. Remove the command to start. " +
		"Example: -DEBUG +DEBUG|DIGEST"
	reasonAfterAllKeys = "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any " +
		"effect. Try 'resetkeys' to start with an empty list of patterns"
)

// Compile applies the rules of a permission string from left to right to a user who may run no command and touch no key, and
// returns the resulting set, which is for commands of the table t. The rules are separated by spaces; white space at either
// end does not count. An empty string gives a set that allows AUTH alone.
//
// In grammar "6.0" the rules are
//
//	+name  -name        a command; -name also forgets the command's allowed first arguments, and so does +name
//	+name|arg           the command with that first argument, whatever it is; -name|arg does not exist
//	+@cat  -@cat        every command of a category; forgets the allowed first arguments of those commands
//	+@all  allcommands  every command          -@all  nocommands   none
//	~pattern            the keys that match    ~*  allkeys  every key    resetkeys  none
//
// Names, categories and the bare words may be written in upper or lower case. A refused rule is a *[RuleError]; nothing is
// compiled then. Another error means that the grammar is not known.
//
// No source: the documentation of Azure lists + - ~ and allkeys and is silent on the rest of Redis' rules. The words that set
// users up rather than permissions (on, off, nopass, resetpass, reset and everything with > < # !) are therefore refused with
// the text that the engine has for words it does not know, "Syntax error". Also no source: how Azure splits the string. Redis
// splits the lines of an ACL file at spaces after trimming them, and so does this function.
func Compile(t *command.Table, grammar, permissions string) (*Set, error) {
	if grammar != Grammar60 {
		return nil, fmt.Errorf("unknown ACL grammar %q: expected %q", grammar, Grammar60)
	}
	b := newBuilder(t)
	for rule := range strings.SplitSeq(strings.Trim(permissions, " \t\r\n"), " ") {
		if reason := b.apply(rule); reason != "" {
			return nil, &RuleError{Rule: rule, Reason: reason}
		}
	}
	return b.set(), nil
}

// builder is a set in the making.
type builder struct {
	table     *command.Table
	allowed   []bool
	firstArgs [][]string
	allKeys   bool
	patterns  []string
}

func newBuilder(t *command.Table) *builder {
	n := len(t.All())
	return &builder{table: t, allowed: make([]bool, n), firstArgs: make([][]string, n)}
}

// apply applies one rule of the 6.0 grammar and returns why it is refused, or "".
func (b *builder) apply(rule string) string {
	switch lowerASCII(rule) {
	case "":
		return ""
	case "allkeys", "~*":
		b.allKeys, b.patterns = true, nil
		return ""
	case "resetkeys":
		b.allKeys, b.patterns = false, nil
		return ""
	case "allcommands", "+@all":
		b.setAll(true)
		return ""
	case "nocommands", "-@all":
		b.setAll(false)
		return ""
	}
	switch name := rule[1:]; rule[0] {
	case '~':
		return b.addPattern(name)
	case '+', '-':
		allow := rule[0] == '+'
		if category, ok := strings.CutPrefix(name, "@"); ok {
			return b.setCategory(category, allow)
		}
		if allow && strings.Contains(name, "|") {
			return b.addFirstArg(name)
		}
		return b.setCommand(name, allow)
	default:
		return reasonSyntax
	}
}

func (b *builder) addPattern(pattern string) string {
	if b.allKeys {
		return reasonAfterAllKeys
	}
	if strings.ContainsAny(pattern, " \t\n\v\f\r\x00") {
		return reasonSyntax
	}
	if !slices.Contains(b.patterns, pattern) {
		b.patterns = append(b.patterns, pattern)
	}
	return ""
}

func (b *builder) setAll(allow bool) {
	for id := range b.allowed {
		b.setID(id, allow)
	}
}

func (b *builder) setCategory(category string, allow bool) string {
	category = lowerASCII(category)
	if !slices.Contains(b.table.Categories(), category) {
		return reasonUnknown
	}
	for id, c := range b.table.All() {
		if c.InCategory(category) {
			b.setID(id, allow)
		}
	}
	return ""
}

func (b *builder) setCommand(name string, allow bool) string {
	c := b.table.Lookup([]byte(name))
	if c == nil {
		return reasonUnknown
	}
	b.setID(c.ID, allow)
	return ""
}

func (b *builder) addFirstArg(rule string) string {
	name, arg, _ := strings.Cut(rule, "|")
	c := b.table.Lookup([]byte(name))
	switch {
	case c == nil:
		return reasonUnknown
	case arg == "":
		return reasonSyntax
	case b.allowed[c.ID]:
		return reasonFullyAdded
	}
	arg = lowerASCII(arg)
	if !slices.Contains(b.firstArgs[c.ID], arg) {
		b.firstArgs[c.ID] = append(b.firstArgs[c.ID], arg)
	}
	return ""
}

// setID allows or forbids a whole command. Either way its first arguments are forgotten.
func (b *builder) setID(id int, allow bool) {
	b.allowed[id] = allow
	b.firstArgs[id] = nil
}

func (b *builder) set() *Set {
	s := &Set{
		commands: b.table.All(),
		allowed:  make([]uint64, (len(b.allowed)+63)/64),
		allKeys:  b.allKeys,
	}
	for _, glob := range b.patterns {
		s.patterns = append(s.patterns, newKeyPattern(glob))
	}
	for id, allow := range b.allowed {
		// The engine never asks for the permission to run AUTH. The rules above must not see this: "+auth|x" is no error.
		if allow || s.commands[id].Name == "auth" {
			s.allowed[id/64] |= 1 << (id % 64)
		}
	}
	if slices.ContainsFunc(b.firstArgs, func(args []string) bool { return args != nil }) {
		s.firstArgs = b.firstArgs
	}
	return s
}

func lowerASCII(s string) string {
	b := []byte(s)
	for i := range b {
		b[i] = toLower(b[i])
	}
	return string(b)
}
