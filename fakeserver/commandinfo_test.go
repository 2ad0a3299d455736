package fakeserver_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeserver"
	"github.com/entracache/entracache/fakeserver/internal/command/redistest"
	"github.com/entracache/entracache/fakeserver/internal/resp"
)

// docsKept are the fields of COMMAND DOCS that the fake has; what it leaves out are sentences, and the arguments.
var docsKept = map[string]bool{"since": true, "group": true, "doc_flags": true, "deprecated_since": true, "subcommands": true}

// TestCommandDocsAgainstRealServer compares COMMAND DOCS of all commands and subcommands, field by field.
func TestCommandDocsAgainstRealServer(t *testing.T) {
	t.Parallel()
	real := newClient(t, dialing(t, "unix", redistest.Start(t).Options().Addr)())
	fake := dialPlain(t, open(t, fakeserver.ProfileOSS70))
	for _, proto := range []string{"2", "3"} {
		real.do("HELLO", proto)
		fake.do("HELLO", proto)
		theirs, ours := documented(t, real.do("COMMAND", "DOCS")), documented(t, fake.do("COMMAND", "DOCS"))
		assert.Equal(t, theirs, ours)
		assert.Greater(t, len(ours), 360*2)
	}
}

// documented flattens COMMAND DOCS: "config|get since" and so on, each with its value.
func documented(t *testing.T, reply string) map[string]string {
	t.Helper()
	v, _, err := resp.Parse([]byte(reply))
	require.NoError(t, err)
	found := map[string]string{}
	var walk func(commands resp.Value)
	walk = func(commands resp.Value) {
		for i := 0; i+1 < len(commands.Elems); i += 2 {
			name, fields := string(commands.Elems[i].Text), commands.Elems[i+1].Elems
			for j := 0; j+1 < len(fields); j += 2 {
				field, value := string(fields[j].Text), fields[j+1]
				switch {
				case !docsKept[field]:
				case field == "subcommands":
					walk(value)
				case value.Elems != nil:
					found[name+" "+field] = fmt.Sprintf("%c %s", value.Kind, words(value))
				default:
					found[name+" "+field] = string(value.Text)
				}
			}
		}
	}
	walk(v)
	return found
}

func words(v resp.Value) []string {
	var list []string
	for _, e := range v.Elems {
		list = append(list, string(e.Text))
	}
	return list
}

// TestContainersAgainstRealServer compares what COMMAND INFO says of each container command, whose subcommands come in the
// order of a hash table (of the others see TestCommandInfoAgainstRealServer), and COMMAND LIST by every category.
func TestContainersAgainstRealServer(t *testing.T) {
	t.Parallel()
	real := newClient(t, dialing(t, "unix", redistest.Start(t).Options().Addr)())
	fake := dialPlain(t, open(t, fakeserver.ProfileOSS70))
	for _, proto := range []string{"2", "3"} {
		real.do("HELLO", proto)
		fake.do("HELLO", proto)
		containers := 0
		for _, name := range bulks(t, fake.do("COMMAND", "LIST")) {
			theirs, ours := real.do("COMMAND", "INFO", name), fake.do("COMMAND", "INFO", name)
			theirRows, ourRows := subcommandRows(t, theirs), subcommandRows(t, ours)
			if len(theirRows) == 0 {
				continue
			}
			containers++
			assert.Equal(t, theirRows, ourRows, name)
		}
		assert.Equal(t, 15, containers)
	}
	for _, category := range bulks(t, real.do("ACL", "CAT")) {
		ask := []string{"COMMAND", "LIST", "FILTERBY", "ACLCAT", category}
		assert.ElementsMatch(t, bulks(t, real.do(ask...)), bulks(t, fake.do(ask...)), category)
	}
}

// subcommandRows gives the descriptions of the subcommands in a reply of COMMAND INFO by their names, without notes, and that
// of the container.
func subcommandRows(t *testing.T, reply string) map[string]string {
	t.Helper()
	v, _, err := resp.Parse([]byte(withoutNotes(reply)))
	require.NoError(t, err)
	row := v.Elems[0].Elems
	if len(row) != 10 || len(row[9].Elems) == 0 {
		return nil
	}
	rows := map[string]string{}
	for _, sub := range row[9].Elems {
		rows[string(sub.Elems[0].Text)] = string(sub.Append(nil, 3))
	}
	own := resp.Value{Kind: resp.KindArray, Elems: row[:9]}
	rows[""] = string(own.Append(nil, 3))
	return rows
}
