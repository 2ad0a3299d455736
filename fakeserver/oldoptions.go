package fakeserver

import "slices"

// The data engine knows options that came to a command after the profile's
// level, beside those of the commands in arguments.go. A server of the level answers them with an error, which a library that
// sends them without asking for the version is to see here too.

// newOption is an option of a command, in lower case, and the level that first
// had it.
type newOption struct{ name, since string }

// newOptions are those of a command, from the argument of that index on.
type newOptions struct {
	from    int
	options []newOption
}

var optionsSince = map[string]newOptions{
	"zrange":   {4, []newOption{{"byscore", "6.2"}, {"bylex", "6.2"}, {"rev", "6.2"}, {"limit", "6.2"}}},
	"xtrim":    {2, []newOption{{"limit", "6.2"}}},
	"xpending": {3, []newOption{{"idle", "6.2"}}},
	"bitcount": {4, []newOption{{"byte", "7.0"}, {"bit", "7.0"}}},
	"bitpos":   {5, []newOption{{"byte", "7.0"}, {"bit", "7.0"}}},
}

// tooNew replies to a command with an option that the level does not have, and
// says whether it did.
func (q *request) tooNew() bool {
	args := q.args
	has := func(from int, name string) bool {
		return len(args) > from && slices.ContainsFunc(args[from:], func(arg []byte) bool { return equalFold(arg, name) })
	}
	known := optionsSince[q.cmd.Name]
	for _, o := range known.options {
		if !q.since(o.since) && has(known.from, o.name) {
			q.err("ERR syntax error")
			return true
		}
	}
	switch {
	case q.cmd.Name == "zadd" && !q.since("6.2"):
		return q.zaddTooNew()
	case q.cmd.Name == "xadd" && !q.since("6.2") && (equalFold(args[2], "nomkstream") || equalFold(args[2], "minid")):
		// It is taken for the ID.
		q.err("ERR Invalid stream ID specified as stream command argument")
		return true
	}
	return false
}

// zaddTooNew is tooNew for ZADD, where an unknown option is taken for a score.
func (q *request) zaddTooNew() bool {
	i := 2
	for i < len(q.args) && slices.ContainsFunc([]string{"nx", "xx", "ch", "incr"}, func(o string) bool { return equalFold(q.args[i], o) }) {
		i++
	}
	switch {
	case i == len(q.args), !equalFold(q.args[i], "gt") && !equalFold(q.args[i], "lt"):
		return false
	case (len(q.args)-i)%2 != 0:
		q.err("ERR syntax error")
	default:
		q.err("ERR value is not a valid float")
	}
	return true
}

// mayBeTooNew says whether tooNew is to be asked about the command.
func (p *profile) mayBeTooNew(name string) bool {
	_, known := optionsSince[name]
	return !p.since("7.0") && (known || name == "zadd" || name == "xadd")
}
