package acl

import (
	"strings"

	"github.com/entracache/entracache/fakeserver/internal/command"
)

// Flags are the words of ACL GETUSER's flags, in the engine's order. 6.x counts what the user may do among them.
func (u *User) Flags() []string { return u.flags(!u.rules.since("7.0")) }

func (u *User) flags(permissions bool) []string {
	first := &u.selectors[0]
	var flags []string
	add := func(flag string, is bool) {
		if is {
			flags = append(flags, flag)
		}
	}
	add("on", u.on)
	add("off", !u.on)
	if permissions {
		add("allkeys", first.allKeys)
		add("allchannels", first.allChannels && u.rules.since("6.2"))
		add("allcommands", first.unlimited)
	}
	add("nopass", u.noPass)
	add("skip-sanitize-payload", u.sanitize == sanitizeSkip)
	add("sanitize-payload", u.sanitize == sanitizeOn)
	return flags
}

// String describes the user by rules that would make it again, as ACL LIST does.
func (u *User) String() string {
	words := u.flags(false)
	for _, p := range u.passwords {
		words = append(words, "#"+p)
	}
	text := strings.Join(append(words, u.rules.describe(&u.selectors[0])), " ")
	for i := range u.selectors[1:] {
		text += " (" + u.rules.describe(&u.selectors[i+1]) + ")"
	}
	return text
}

// Permissions are the permissions of a user, or of one of the user's selectors, as ACL GETUSER shows them.
type Permissions struct {
	Commands string
	// Keys and Channels are rules ("~a*", "%R~b", "&c"); all keys are "~*", all channels "&*".
	Keys, Channels []string
}

// Permissions returns the user's own permissions and then those of the further selectors.
func (u *User) Permissions() []Permissions {
	var all []Permissions
	for i := range u.selectors {
		s := &u.selectors[i]
		all = append(all, Permissions{Commands: u.rules.describeCommands(s), Keys: s.describeKeys(), Channels: s.describeChannels()})
	}
	return all
}

func (r *Rules) describe(s *selector) string {
	words := s.describeKeys()
	if r.since("6.2") {
		if !s.allChannels {
			words = append(words, "resetchannels")
		}
		words = append(words, s.describeChannels()...)
	}
	return strings.Join(append(words, r.describeCommands(s)), " ")
}

func (s *selector) describeKeys() []string {
	if s.allKeys {
		return []string{"~*"}
	}
	keys := make([]string, len(s.patterns))
	for i := range s.patterns {
		keys[i] = s.patterns[i].String()
	}
	return keys
}

func (s *selector) describeChannels() []string {
	if s.allChannels {
		return []string{"&*"}
	}
	channels := make([]string, len(s.channels))
	for i, c := range s.channels {
		channels[i] = "&" + c
	}
	return channels
}

// describeCommands returns rules that lead to the commands that the selector allows. From 7.2 on they are those that were
// given; before, the engine looks at the outcome.
func (r *Rules) describeCommands(s *selector) string {
	start := "-@all"
	if s.future {
		start = "+@all"
	}
	words := []string{start}
	if r.since("7.2") {
		return strings.Join(append(words, s.commandRules...), " ")
	}
	reached := r.newSelector()
	reached.allowed.fill(r.table, s.future)
	for _, category := range r.bestCategories(s) {
		if s.future {
			words = append(words, "-@"+category)
		} else {
			words = append(words, "+@"+category)
		}
		reached.allowed.setAll(r.reach[category], !s.future)
	}
	return strings.Join(append(words, r.singleRules(s, &reached)...), " ")
}

// bestCategories chooses categories that come near to what the selector allows, or does not allow if it began with +@all:
// again and again the one with the fewest commands that differ, and among those the one with the most that fit, as long as
// more fit than differ.
func (r *Rules) bestCategories(s *selector) []string {
	left := s.allowed.clone()
	var chosen []string
	taken := map[string]bool{}
	for {
		best, fewest, most := "", 0, 0
		for _, category := range r.table.Categories() {
			if taken[category] {
				continue
			}
			fit, differ := 0, 0
			for _, c := range r.table.Every() {
				switch {
				case !r.members[category].has(c.ID):
				case left.has(c.ID) != s.future:
					fit++
				default:
					differ++
				}
			}
			if fit > differ && (best == "" || differ < fewest || differ == fewest && fit > most) {
				best, fewest, most = category, differ, fit
			}
		}
		if best == "" {
			return chosen
		}
		taken[best] = true
		chosen = append(chosen, best)
		left.setAll(r.reach[best], s.future)
	}
}

// singleRules are the rules about single commands that lead from what the categories reached to what the selector allows.
// The engine gives them in the order of a hash table; here it is that of the names.
func (r *Rules) singleRules(s, reached *selector) []string {
	var rules []string
	describe := func(c *command.Command) {
		allowed := s.allowed.has(c.ID)
		if allowed != reached.allowed.has(c.ID) {
			sign := "-"
			if allowed {
				sign = "+"
			}
			rules = append(rules, sign+c.Name)
			reached.allowed.setCommand(c, allowed)
		}
	}
	for _, c := range r.table.All() {
		describe(c)
		for _, sub := range c.Subcommands {
			describe(sub)
		}
		if s.firstArgs != nil && !s.allowed.has(c.ID) {
			for _, arg := range s.firstArgs[c.ID] {
				rules = append(rules, "+"+c.Name+"|"+arg)
			}
		}
	}
	return rules
}
