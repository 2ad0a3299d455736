package acl

import (
	"strings"

	"github.com/entracache/entracache/fakeserver/internal/resp"
)

// RuleError says which rule of a permission string was refused and why, in the engine's words.
type RuleError struct {
	// Rule is the rule as it was written; a selector is one rule, with its parentheses.
	Rule string
	// Reason is the engine's text for the refusal.
	Reason string
}

// reasonUnmatched marks a selector that does not end; the engine has a sentence of its own for it.
const reasonUnmatched = "Unmatched parenthesis"

// Error returns the engine's text, without the "ERR " that comes before it on the wire. The rule is in it as it was written:
// who puts it on the wire replaces line ends.
func (e *RuleError) Error() string {
	if e.Reason == reasonUnmatched {
		return "Unmatched parenthesis in acl selector starting at '" + e.Rule + "'."
	}
	return "Error in ACL SETUSER modifier '" + e.Rule + "': " + e.Reason
}

// Compile applies the rules of a permission string from left to right to a user who may run no command and touch no key, and
// returns the resulting set, which is for commands of the rules' table. The rules are separated by spaces; white space at
// either end does not count. An empty string gives a set that allows AUTH alone, and what else the engine never forbids.
//
// The rules are
//
//	+name  -name        a command; -name also forgets the command's allowed first arguments, and so does +name
//	+name|arg           6.x: the command with that first argument, whatever it is; -name|arg does not exist
//	+name|sub -name|sub from 7.0 on: a subcommand; of other commands, +name|arg as in 6.x
//	+@cat  -@cat        every command of a category; forgets the allowed first arguments of those commands
//	+@all  allcommands  every command          -@all  nocommands   none
//	~pattern            the keys that match    ~*  allkeys  every key    resetkeys  none
//	%R~p %W~p %RW~p     from 7.0 on: the keys that match, for reading, for writing, for both
//	&pattern            from 6.2 on: the channels that match   &*  allchannels  every channel   resetchannels  none
//	(rules)             from 7.0 on: a selector, further permissions of which all must cover a call   clearselectors  none
//
// Names, categories and the bare words may be written in upper or lower case. A refused rule is a *[RuleError]; nothing is
// compiled then.
//
// No source: the documentation of Azure lists + - ~ and allkeys and is silent on the rest of Redis' rules. The words that set
// users up rather than permissions (on, off, nopass, resetpass, reset and everything with > < # !) are therefore refused with
// the text that the engine has for words it does not know, "Syntax error". Also no source: how Azure splits the string. Redis
// splits the lines of an ACL file at spaces after trimming them, and so does this function.
func (r *Rules) Compile(permissions string) (*Set, error) {
	rules := strings.Split(strings.Trim(permissions, " \t\r\n"), " ")
	rules, err := r.mergeSelectors(rules)
	if err != nil {
		return nil, err
	}
	selectors := []selector{r.newSelector()}
	for _, rule := range rules {
		var reason string
		if r.isSelectorRule(rule) {
			reason = r.applySelector(&selectors, rule)
		} else {
			reason = r.apply(&selectors[0], rule)
		}
		if reason != "" {
			return nil, &RuleError{Rule: rule, Reason: reason}
		}
	}
	return r.newSet(selectors...), nil
}

// mergeSelectors joins the rules of a selector that is spread over several: "(+get", "~a)".
func (r *Rules) mergeSelectors(rules []string) ([]string, error) {
	if !r.since("7.0") {
		return rules, nil
	}
	var merged, open []string
	for _, rule := range rules {
		// A second opening parenthesis begins the selector anew in 7.0; what came before it is lost.
		if strings.HasPrefix(rule, "(") && !strings.HasSuffix(rule, ")") && (open == nil || !r.since("7.2")) {
			open = []string{rule}
			continue
		}
		if open == nil {
			merged = append(merged, rule)
			continue
		}
		open = append(open, rule)
		if strings.HasSuffix(rule, ")") {
			merged, open = append(merged, strings.Join(open, " ")), nil
		}
	}
	if open != nil {
		return nil, &RuleError{Rule: open[0], Reason: reasonUnmatched}
	}
	return merged, nil
}

func (r *Rules) isSelectorRule(rule string) bool {
	return r.since("7.0") && (strings.HasPrefix(rule, "(") && strings.HasSuffix(rule, ")") || lowerASCII(rule) == "clearselectors")
}

// applySelector adds a selector, or takes all but the first away.
func (r *Rules) applySelector(selectors *[]selector, rule string) (reason string) {
	if rule[0] != '(' {
		*selectors = (*selectors)[:1:1]
		return ""
	}
	s := r.newSelector()
	// A selector whose quotes do not balance is empty to the engine.
	words, ok := resp.SplitArgs(rule[1 : len(rule)-1])
	if !ok {
		words = nil
	}
	for _, word := range words {
		if reason := r.apply(&s, word); reason != "" {
			return reason
		}
	}
	*selectors = append(*selectors, s)
	return ""
}
