package acl

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeserver/internal/command"
)

// The strings of Azure's built-in access policies.
const (
	dataOwner       = "+@all allkeys"
	dataContributor = "+@all -@dangerous +cluster|info +cluster|nodes +cluster|slots allkeys"
	dataReader      = "+@read +@connection -client +client|caching +client|getname +client|getredir +client|id +client|info " +
		"+client|list +client|reply +client|setinfo +client|setname +client|tracking +client|trackinginfo +cluster|info " +
		"+cluster|nodes +cluster|slots allkeys"
	dataReaderLegacy = "+@read +@connection +cluster|info +cluster|nodes +cluster|slots allkeys"
)

func rulesOf(t testing.TB, level string) *Rules {
	t.Helper()
	table, err := command.ForLevel(level)
	require.NoError(t, err)
	// The default of the level.
	return New(table, level == "6.2")
}

func table60(t testing.TB) *command.Table {
	t.Helper()
	return rules60(t).table
}

func rules60(t testing.TB) *Rules {
	t.Helper()
	return rulesOf(t, "6.0")
}

func compile(t testing.TB, permissions string) *Set {
	t.Helper()
	set, err := rules60(t).Compile(permissions)
	require.NoError(t, err)
	return set
}

// check asks for a call written in one line. It fails for a command that the table does not have.
func check(t testing.TB, set *Set, call string) Verdict {
	t.Helper()
	var args [][]byte
	for _, word := range strings.Split(call, " ") {
		args = append(args, []byte(word))
	}
	cmd := table60(t).Lookup(args[0])
	require.NotNil(t, cmd, call)
	return set.Check(cmd, args)
}

// recordedPolicy is a policy and what a 6.0.20 server allowed and denied under it, as "command" or "command|first argument".
type recordedPolicy struct {
	Name        string   `json:"name"`
	Permissions string   `json:"permissions"`
	Allowed     []string `json:"allowed"`
	Denied      []string `json:"denied"`
}

func recordedPolicies(t *testing.T) []recordedPolicy {
	t.Helper()
	return policiesOf(t, "6.0.20")
}

func policiesOf(t *testing.T, release string) []recordedPolicy {
	t.Helper()
	data, err := os.ReadFile("testdata/policies_" + release + ".json")
	require.NoError(t, err)
	var file struct {
		Policies []recordedPolicy `json:"policies"`
	}
	require.NoError(t, json.Unmarshal(data, &file))
	return file.Policies
}

// TestPoliciesAgainstTheRecordedServer checks every recorded row; none is left out. Rows whose first argument 6.0 does not
// have as a subcommand (command|docs, cluster|shards, client|no-evict) stay in: 6.0 checks permissions before it looks at
// subcommands, and knows only first arguments there. "post" and "host:" are commands of 6.0, allowed by @read and @all; that
// the server closes such a connection is the business of the framing.
func TestPoliciesAgainstTheRecordedServer(t *testing.T) {
	policies := recordedPolicies(t)
	require.Len(t, policies, 2)
	for _, policy := range policies {
		t.Run(policy.Name, func(t *testing.T) {
			require.Len(t, append(policy.Allowed, policy.Denied...), 228)
			set := compile(t, policy.Permissions)
			// Arguments that make keys of whatever may be one: both policies allow all keys.
			call := func(row string) string { return strings.Replace(row, "|", " ", 1) + " 1 1 1" }
			for _, row := range policy.Allowed {
				assert.Equal(t, OK, check(t, set, call(row)), row)
			}
			for _, row := range policy.Denied {
				assert.Equal(t, DeniedCommand, check(t, set, call(row)), row)
			}
		})
	}
}

// TestRecordedPoliciesCoverTheTable shows that no command escapes the test above, but for two that nobody runs against a
// server that is still needed.
func TestRecordedPoliciesCoverTheTable(t *testing.T) {
	for _, policy := range recordedPolicies(t) {
		asked := map[string]bool{}
		for _, row := range append(policy.Allowed, policy.Denied...) {
			name, _, _ := strings.Cut(row, "|")
			asked[name] = true
		}
		var missing []string
		for _, c := range table60(t).All() {
			if !asked[c.Name] {
				missing = append(missing, c.Name)
			}
		}
		assert.Equal(t, []string{"debug", "shutdown"}, missing, policy.Name)
		set := compile(t, policy.Permissions)
		for _, name := range missing {
			// Both are @admin, so @dangerous, and not @read.
			assert.Equal(t, DeniedCommand, check(t, set, name+" x"), "%s: %s", policy.Name, name)
		}
	}
}

func TestDataOwnerMayDoEverything(t *testing.T) {
	set := compile(t, dataOwner)
	for _, c := range table60(t).All() {
		assert.Equal(t, OK, check(t, set, c.Name+" 1 1 1 1 1 1 1"), c.Name)
	}
}

// TestDataReader covers what the newer string of Data Reader changes: of CLIENT, the harmless first arguments alone.
func TestDataReader(t *testing.T) {
	newer, legacy := compile(t, dataReader), compile(t, dataReaderLegacy)
	for _, arg := range []string{
		"caching", "getname", "GETREDIR", "id", "Info", "list", "reply", "setinfo", "setname", "tracking", "trackinginfo",
	} {
		assert.Equal(t, OK, check(t, newer, "client "+arg), arg)
	}
	for _, call := range []string{"client kill", "CLIENT PAUSE 10", "client unblock 1", "client no-evict on", "client"} {
		assert.Equal(t, DeniedCommand, check(t, newer, call), call)
		assert.Equal(t, OK, check(t, legacy, call), call)
	}
	for _, c := range table60(t).All() {
		if c.Name != "client" {
			call := c.Name + " 1 1 1 1 1 1 1"
			assert.Equal(t, check(t, legacy, call), check(t, newer, call), c.Name)
		}
	}
}

// TestPoliciesOfLaterLevels checks every command and subcommand, but for the containers, against what servers said.
func TestPoliciesOfLaterLevels(t *testing.T) {
	for release, level := range map[string]string{"7.0.15": "7.0", "7.4.1": "7.4"} {
		table := rulesOf(t, level).table
		commands := 0
		for _, c := range table.Every() {
			if c.Subcommands == nil {
				commands++
			}
		}
		for _, policy := range policiesOf(t, release) {
			set, err := New(table, true).Compile(policy.Permissions)
			require.NoError(t, err)
			require.Len(t, slices.Concat(policy.Allowed, policy.Denied), commands)
			ask := func(name string) Verdict {
				c := table.FindName(name)
				require.NotNil(t, c, name)
				var args [][]byte
				for len(args) < max(c.Arity, -c.Arity) {
					args = append(args, []byte("1"))
				}
				return set.Check(c, args)
			}
			for _, name := range policy.Allowed {
				assert.Equal(t, OK, ask(name), "%s: %s: %s", release, policy.Name, name)
			}
			for _, name := range policy.Denied {
				assert.Equal(t, DeniedCommand, ask(name), "%s: %s: %s", release, policy.Name, name)
			}
		}
	}
}

// TestDataReaderNeedsASubcommandOf72: 7.0 has no CLIENT SETINFO, so the newer string does not load there.
func TestDataReaderNeedsASubcommandOf72(t *testing.T) {
	_, err := rulesOf(t, "7.0").Compile(dataReader)
	assert.EqualError(t, err, "Error in ACL SETUSER modifier '+client|setinfo': Unknown command or category name in ACL")
	_, err = rulesOf(t, "7.4").Compile(dataReader)
	assert.NoError(t, err)
}
