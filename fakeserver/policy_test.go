package fakeserver_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/entracache/entracache/fakeserver"
)

func TestPolicyNames(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"App", "a1b", "my policy", "my-policy 2", strings.Repeat("x", 63), "0-0", "a  b", "Data Owner"} {
		assert.NoError(t, fakeserver.CheckPolicyName(good), good)
	}
	for _, bad := range []string{"", "a", "ab", strings.Repeat("x", 64), " abc", "abc ", "-abc", "abc-", "a_b", "a.b", "äöü", "abc\n", "a\nb"} {
		assert.ErrorContains(t, fakeserver.CheckPolicyName(bad), "access policy name", "%q", bad)
	}
}

func TestCustomPolicies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	require.NoError(t, w.AddPolicy(fakeserver.Policy{Name: "App", Permissions: "+@read +set ~app:*"}))
	assert.ErrorContains(t, w.AddPolicy(fakeserver.Policy{Name: "APP", Permissions: "+get"}), "already")
	assert.ErrorContains(t, w.AddPolicy(fakeserver.Policy{Name: "x", Permissions: "+get"}), "3 to 63")
	assert.ErrorContains(t, w.AddPolicy(fakeserver.Policy{Name: "data owner", Permissions: "+get"}), "built in")
	assert.ErrorContains(t, w.AddPolicy(fakeserver.Policy{Name: "Bad", Permissions: "+nope"}), "'+nope'")
	assert.ErrorContains(t, w.UpdatePolicy(fakeserver.Policy{Name: "Other", Permissions: "+get"}), "none of that name")
	assert.ErrorContains(t, w.UpdatePolicy(fakeserver.Policy{Name: "App", Permissions: "+get )"}), "')'")
	assert.ErrorContains(t, w.AssignPolicy(oid, "Other"), `"Other"`)
	assert.Equal(t, append(fakeserver.BuiltInPolicies(), fakeserver.Policy{Name: "App", Permissions: "+@read +set ~app:*"}), w.Policies())

	// The policy of a live connection changes under it, and at EXEC.
	c := w.signedIn(fakeserver.DataOwner)
	require.NoError(t, w.AssignPolicy(oid, "app"))
	assert.Equal(t, "+OK", c.line("SET", "app:1", "x"))
	assert.Contains(t, c.line("SET", "other", "x"), "NOPERM")
	require.NoError(t, w.UpdatePolicy(fakeserver.Policy{Name: "App", Permissions: "+get +set +multi +exec allkeys"}))
	assert.Equal(t, "+OK", c.line("SET", "other", "x"))
	require.Equal(t, "+OK", c.line("MULTI"))
	require.Equal(t, "+QUEUED", c.line("GET", "other"))
	require.NoError(t, w.UpdatePolicy(fakeserver.Policy{Name: "App", Permissions: "+exec +get ~app:*"}))
	assert.Contains(t, c.do("EXEC"), "ACLs rules changed")
	assert.Equal(t, []fakeserver.Assignment{{Name: oid, ObjectID: oid, Policy: fakeserver.Policy{Name: "App", Permissions: "+exec +get ~app:*"}}}, w.Assignments())
	assert.Len(t, w.eventsOf(fakeserver.EventPolicyDefined), 3)

	// What was assigned as a value does not follow the policy of the same name.
	require.NoError(t, w.Assign(oid, fakeserver.Policy{Name: "App", Permissions: "+@all allkeys"}))
	require.NoError(t, w.UpdatePolicy(fakeserver.Policy{Name: "App", Permissions: ""}))
	assert.Equal(t, "+OK", c.line("SET", "other", "x"))

	require.NoError(t, w.AssignPolicy(oid, "App"))
	assert.ErrorContains(t, w.RemovePolicy("App"), oid)
	require.NoError(t, w.AssignPolicy(oid, "Data Reader"))
	require.NoError(t, w.RemovePolicy("App"))
	assert.ErrorContains(t, w.RemovePolicy("App"), "none of that name")
	assert.ErrorContains(t, w.RemovePolicy("Data Reader"), "built in")
	assert.Len(t, w.eventsOf(fakeserver.EventPolicyUndefined), 1)
	assert.Contains(t, c.line("SET", "app:1", "x"), "NOPERM")
	assert.Equal(t, fakeserver.BuiltInPolicies(), w.Policies())
}

// TestReassigningLeavesSubscribersAlone: 6.0 has no permissions for channels, so
// none can be taken away.
func TestReassigningLeavesSubscribersAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.signedIn(fakeserver.DataOwner)
	require.Contains(t, c.do("SUBSCRIBE", "ch"), "subscribe")
	require.NoError(t, w.Assign(oid, fakeserver.DataReader))
	c.quiet()
}
