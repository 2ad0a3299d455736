package acl

import (
	"slices"
	"strings"

	"github.com/entracache/entracache/fakeserver/internal/command"
)

// The engine's texts for refused rules, measured as replies of ACL SETUSER.
const (
	reasonUnknown    = "Unknown command or category name in ACL"
	reasonSyntax     = "Syntax error"
	reasonFullyAdded = "Adding a subcommand of a command already fully added is not allowed. Remove the command to start. " +
		"Example: -DEBUG +DEBUG|DIGEST"
	reasonAfterAllKeys = "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any " +
		"effect. Try 'resetkeys' to start with an empty list of patterns"
	reasonAfterAllChannels = "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have " +
		"any effect. Try 'resetchannels' to start with an empty list of channels"
	reasonSubFirstArg = "Allowing first-arg of a subcommand is not supported"
	reasonNoPassword  = "The password you are trying to remove from the user does not exist"
	reasonBadHash     = "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters"
)

// selector is a set of permissions that hold together: a user has one, and from 7.0 on any number more, of which one must
// allow all of a call. It is changed while rules are applied and never after that.
type selector struct {
	allowed bits
	// firstArgs holds, by command ID, the first arguments that a command without its bit may run with, in lower case. Nil if
	// no command has any.
	firstArgs [][]string
	// unlimited is set by +@all and unset by whatever takes a command away; future is set by +@all and unset by -@all alone.
	// They tell the same user apart in descriptions.
	unlimited, future bool
	// commandRules are the rules about commands since the last one about all of them, as 7.4 describes them.
	commandRules []string

	allKeys     bool
	patterns    []keyPattern
	allChannels bool
	channels    []string

	// Made for checks when the rules are done.
	open            bool // all keys and all channels
	channelPatterns []keyPattern
}

func (r *Rules) newSelector() selector {
	return selector{allowed: newBits(r.table), allChannels: r.allChannels}
}

func (s *selector) clone() selector {
	c := *s
	c.allowed = s.allowed.clone()
	c.firstArgs = slices.Clone(s.firstArgs)
	for i := range c.firstArgs {
		c.firstArgs[i] = slices.Clip(c.firstArgs[i])
	}
	c.commandRules = slices.Clone(s.commandRules)
	c.patterns = slices.Clone(s.patterns)
	c.channels = slices.Clone(s.channels)
	return c
}

// apply applies one rule about commands, keys or channels and returns why it is refused, or "".
func (r *Rules) apply(s *selector, rule string) (reason string) {
	word := lowerASCII(rule)
	switch word {
	case "":
		return ""
	case "allkeys", "~*":
		s.allKeys, s.patterns = true, nil
		return ""
	case "resetkeys":
		s.allKeys, s.patterns = false, nil
		return ""
	case "allcommands", "+@all":
		r.setAll(s, true)
		return ""
	case "nocommands", "-@all":
		r.setAll(s, false)
		return ""
	}
	if r.since("6.2") {
		switch word {
		case "allchannels", "&*":
			s.allChannels, s.channels = true, nil
			return ""
		case "resetchannels":
			s.allChannels, s.channels = false, nil
			return ""
		}
	}
	switch name := rule[1:]; {
	case rule[0] == '~':
		return s.addPattern(name, permitAll)
	case rule[0] == '%' && r.since("7.0"):
		return s.addLimitedPattern(name)
	case rule[0] == '&' && r.since("6.2"):
		return s.addChannel(name)
	case rule[0] == '+', rule[0] == '-':
		allow := rule[0] == '+'
		switch category, ok := strings.CutPrefix(name, "@"); {
		case ok:
			return r.setCategory(s, category, allow)
		case allow && strings.Contains(name, "|"):
			return r.addSubcommand(s, name)
		default:
			return r.setCommand(s, name, allow)
		}
	default:
		return reasonSyntax
	}
}

func (s *selector) addPattern(glob string, permits permission) string {
	if s.allKeys {
		return reasonAfterAllKeys
	}
	if hasSpace(glob) {
		return reasonSyntax
	}
	for i := range s.patterns {
		if s.patterns[i].glob == glob {
			s.patterns[i].permits |= permits
			return ""
		}
	}
	s.patterns = append(s.patterns, newKeyPattern(glob, permits))
	return ""
}

// addLimitedPattern is "%R~pattern", "%W~pattern" or "%RW~pattern"; the part after the percent sign is given. The engine also
// takes it without ~, for the empty pattern; so does this. Without a letter some releases take it too, and crash when they
// describe it (CVE-2024-51741); patched ones, Debian's 7.0.15 among them, refuse it.
func (s *selector) addLimitedPattern(rest string) string {
	if s.allKeys {
		return reasonAfterAllKeys
	}
	var permits permission
	for i := range len(rest) {
		switch b := rest[i]; {
		case toLower(b) == 'r' && permits&permitRead == 0:
			permits |= permitRead
		case toLower(b) == 'w' && permits&permitWrite == 0:
			permits |= permitWrite
		case b == '~' && permits != 0:
			return s.addPattern(rest[i+1:], permits)
		default:
			return reasonSyntax
		}
	}
	if permits == 0 {
		return reasonSyntax
	}
	return s.addPattern("", permits)
}

func (s *selector) addChannel(glob string) string {
	if s.allChannels {
		return reasonAfterAllChannels
	}
	if hasSpace(glob) {
		return reasonSyntax
	}
	if !slices.Contains(s.channels, glob) {
		s.channels = append(s.channels, glob)
	}
	return ""
}

func (r *Rules) setAll(s *selector, allow bool) {
	s.allowed.fill(r.table, allow)
	s.unlimited, s.future = allow, allow
	s.firstArgs, s.commandRules = nil, nil
}

func (r *Rules) setCategory(s *selector, category string, allow bool) string {
	category = lowerASCII(category)
	mask, ok := r.reach[category]
	if !ok {
		return reasonUnknown
	}
	s.note("@"+category, allow)
	s.allowed.setAll(mask, allow)
	if !allow {
		s.unlimited = false
	}
	for id := range s.firstArgs {
		if r.members[category].has(id) {
			s.firstArgs[id] = nil
		}
	}
	return ""
}

func (r *Rules) setCommand(s *selector, name string, allow bool) string {
	c := r.table.FindName(name)
	if c == nil {
		return reasonUnknown
	}
	s.note(c.Name, allow)
	s.setCommand(c, allow)
	return ""
}

// setCommand allows or forbids a whole command. Either way its first arguments are forgotten.
func (s *selector) setCommand(c *command.Command, allow bool) {
	s.allowed.setCommand(c, allow)
	if !allow {
		s.unlimited = false
	}
	// Subcommands, which have no first arguments, come after the commands in the order of IDs.
	if c.ID < len(s.firstArgs) {
		s.firstArgs[c.ID] = nil
	}
}

// addSubcommand is "+name|arg", without the plus: a subcommand where the level has them, otherwise the command with that
// first argument.
func (r *Rules) addSubcommand(s *selector, rule string) string {
	bar := strings.IndexByte(rule, '|')
	if r.since("7.0") {
		bar = strings.LastIndexByte(rule, '|')
	}
	name, arg := rule[:bar], rule[bar+1:]
	c := r.table.FindName(name)
	switch {
	case c == nil:
		return reasonUnknown
	case c.Container != nil:
		return reasonSubFirstArg
	case arg == "":
		return reasonSyntax
	case c.Subcommands != nil:
		return r.setCommand(s, rule, true)
	}
	if s.allowed.has(c.ID) && !r.since("7.0") {
		if r.since("6.2") {
			return ""
		}
		return reasonFullyAdded
	}
	if s.firstArgs == nil {
		s.firstArgs = make([][]string, len(r.table.All()))
	}
	arg = lowerASCII(arg)
	if !slices.Contains(s.firstArgs[c.ID], arg) {
		s.firstArgs[c.ID] = append(s.firstArgs[c.ID], arg)
	}
	s.note(lowerASCII(rule), true)
	return ""
}

// note keeps a rule about commands for descriptions: it takes the place of earlier ones about the same category or command,
// and one about a container that of those about its subcommands.
func (s *selector) note(subject string, allow bool) {
	s.commandRules = slices.DeleteFunc(s.commandRules, func(rule string) bool {
		rest, ok := strings.CutPrefix(rule[1:], subject)
		return ok && (rest == "" || rest[0] == '|')
	})
	if allow {
		s.commandRules = append(s.commandRules, "+"+subject)
	} else {
		s.commandRules = append(s.commandRules, "-"+subject)
	}
}

// hasSpace says whether there is white space or a zero byte, which no name and no pattern may hold.
func hasSpace(s string) bool { return strings.ContainsAny(s, " \t\n\v\f\r\x00") }

func lowerASCII(s string) string {
	b := []byte(s)
	for i := range b {
		b[i] = toLower(b[i])
	}
	return string(b)
}
